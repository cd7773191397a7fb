// @vitest-environment jsdom
import { cleanup, render, screen } from "@testing-library/react";
import { afterEach, beforeEach, expect, it, vi } from "vitest";

import { BrowserErrors } from "../api/browserErrors";
import { ApiError } from "../api/http";
import { SessionEnded } from "../session/session";
import { ErrorBoundary } from "./ErrorBoundary";

const request = vi.fn();
const bodies = () => request.mock.calls.map((call) => (call[1] as { body: { message: string; path: string; stack: string } }).body);

function Broken(): never {
  throw new TypeError("x is undefined");
}

afterEach(cleanup);
beforeEach(() => {
  request.mockReset().mockResolvedValue({});
  history.replaceState(null, "", "/items?q=secret");
});

it("shows a notice in place of what cannot be drawn, and reports it", () => {
  vi.spyOn(console, "error").mockImplementation(() => undefined);
  const errors = new BrowserErrors({ request });
  render(
    <ErrorBoundary onError={(error) => errors.report(error)}>
      <Broken />
    </ErrorBoundary>,
  );
  expect(screen.getByTestId("page-failed").textContent).toContain("could not be shown");
  expect(bodies()).toMatchObject([{ message: "TypeError: x is undefined", path: "/items" }]);
});

it("reports what nobody caught until it is told to stop", () => {
  const stop = new BrowserErrors({ request }).watch();
  window.dispatchEvent(new ErrorEvent("error", { error: new Error("one") }));
  const rejection = Object.assign(new Event("unhandledrejection"), { reason: "two" });
  window.dispatchEvent(rejection);
  stop();
  window.dispatchEvent(Object.assign(new Event("unhandledrejection"), { reason: "three" }));
  expect(bodies().map(({ message }) => message)).toEqual(["Error: one", "Error: two"]);
});

it("reports each error once, five at most, and cuts them", () => {
  const errors = new BrowserErrors({ request });
  errors.report(new Error("same"));
  errors.report(new Error("same"));
  expect(request).toHaveBeenCalledOnce();
  for (let number = 0; number < 20; number += 1) errors.report(new Error(`${number}${"😀".repeat(600)}`));
  expect(request).toHaveBeenCalledTimes(5);
  expect(Array.from(bodies()[1]?.message ?? "")).toHaveLength(500);
});

it("leaves out what its user is shown anyway", () => {
  const errors = new BrowserErrors({ request });
  for (const known of [new ApiError("no", 503), new SessionEnded(), new DOMException("", "AbortError")]) errors.report(known);
  expect(request).not.toHaveBeenCalled();
});

it("does not report that a report failed", async () => {
  request.mockRejectedValue(new Error("away"));
  new BrowserErrors({ request }).report(new Error("one"));
  await Promise.resolve();
  expect(request).toHaveBeenCalledOnce();
});
