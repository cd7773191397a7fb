// @vitest-environment jsdom
import { beforeEach, expect, it, vi } from "vitest";
import type { Metric } from "web-vitals";

import { WebVitals } from "./webVitals";

type Listener = (metric: Metric) => void;
const listeners = vi.hoisted(() => new Map<string, Listener>());
vi.mock("web-vitals", () => {
  const register = (name: string) => (listener: Listener) => void listeners.set(name, listener);
  return { onCLS: register("CLS"), onINP: register("INP"), onLCP: register("LCP"), onTTFB: register("TTFB") };
});

const request = vi.fn();
const measured = (name: string, value: number) => listeners.get(name)?.({ name, value } as Metric);

function leave(state: DocumentVisibilityState = "hidden") {
  vi.spyOn(document, "visibilityState", "get").mockReturnValue(state);
  document.dispatchEvent(new Event("visibilitychange"));
}

beforeEach(() => {
  listeners.clear();
  request.mockReset().mockResolvedValue(undefined);
});

it("sends what was measured once, in seconds, when the page is left", () => {
  new WebVitals({ request }, true).watch();
  leave();
  expect(request).not.toHaveBeenCalled();
  measured("LCP", 1234);
  measured("INP", 80);
  measured("TTFB", 120);
  measured("CLS", 0.02);
  leave("visible");
  expect(request).not.toHaveBeenCalled();
  leave();
  leave();
  const body = { lcp: 1.234, inp: 0.08, ttfb: 0.12, cls: 0.02 };
  expect(request.mock.calls).toEqual([["/web-vitals", { method: "POST", body, keepalive: true }]]);
});

it("measures nothing in a page that is not sampled", () => {
  new WebVitals({ request }, false).watch();
  expect(listeners.size).toBe(0);
});

it("bothers nobody with a report that cannot be sent", async () => {
  request.mockRejectedValue(new Error("no session"));
  new WebVitals({ request }, true).watch();
  measured("TTFB", 120);
  leave();
  await Promise.resolve();
  expect(request).toHaveBeenCalledOnce();
});
