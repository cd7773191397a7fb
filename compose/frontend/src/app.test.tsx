// @vitest-environment jsdom
import { focusManager, QueryClientProvider } from "@tanstack/react-query";
import { act, cleanup, fireEvent, render, screen } from "@testing-library/react";
import { afterEach, beforeEach, expect, it, vi } from "vitest";

import { createQueryClient } from "./api/queries";
import { App } from "./app";
import { SessionContext } from "./session/context";
import type { Session } from "./session/session";

const STATE = { kind: "signed-in" } as const;
const session = { subscribe: () => () => undefined, snapshot: () => STATE, accessToken: () => Promise.resolve("t") };
const send = vi.fn();
const json = (body: unknown, status = 200) =>
  new Response(JSON.stringify(body), { status, headers: { "Content-Type": status === 200 ? "application/json" : "application/problem+json" } });

function open() {
  render(
    <QueryClientProvider client={createQueryClient()}>
      <SessionContext value={session as unknown as Session}>
        <App config={{ productName: "Shop", issuer: "https://shop.example/", clientId: "c" }} />
      </SessionContext>
    </QueryClientProvider>,
  );
}

beforeEach(() => {
  vi.stubGlobal("fetch", send.mockReset());
});
afterEach(() => {
  cleanup();
  focusManager.setFocused(undefined);
  vi.unstubAllGlobals();
});

it("shows why it does not know who is signed in, and asks again", async () => {
  send.mockResolvedValueOnce(json({ detail: "An unexpected error" }, 500));
  send.mockResolvedValueOnce(json({ username: "olga", name: "Olga", roles: [] }));
  open();
  expect((await screen.findByTestId("error")).textContent).toContain("An unexpected error");
  fireEvent.click(screen.getByText("Try again"));
  expect((await screen.findByTestId("no-role")).textContent).toContain("olga");
  expect(screen.getByTestId("role").textContent).toBe("no role");
  expect(screen.queryByTestId("error")).toBeNull();
});

it("asks once who is signed in, and not on coming back", async () => {
  send.mockImplementation(() => Promise.resolve(json({ username: "olga", name: "Olga", roles: [] })));
  open();
  await screen.findByTestId("no-role");
  await act(async () => {
    focusManager.setFocused(false);
    focusManager.setFocused(true);
    await new Promise((resolve) => setTimeout(resolve));
  });
  expect(send).toHaveBeenCalledOnce();
});
