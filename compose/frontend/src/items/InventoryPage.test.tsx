// @vitest-environment jsdom
import { QueryClientProvider } from "@tanstack/react-query";
import { act, cleanup, render, screen } from "@testing-library/react";
import { afterEach, beforeEach, expect, it, vi } from "vitest";

import type { Item, ItemsApi } from "../api/items";
import { createQueryClient } from "../api/queries";
import { go } from "../routing";
import type { Session } from "../session/session";
import { InventoryPage } from "./InventoryPage";

const item = (id: string, quantity: number): Item => ({
  id,
  name: `Bolt ${id}`,
  sku: id,
  quantity,
  location: "",
  notes: "",
  version: 1,
  created_at: "2026-01-01T00:00:00Z",
  created_by: "olga",
  updated_at: "2026-01-01T00:00:00Z",
  updated_by: "olga",
});
const api = { list: vi.fn(), get: vi.fn(), history: vi.fn() };
const session = { accessToken: () => Promise.resolve("t"), onRenewal: () => () => undefined };
let channel: EventTarget;

/** The server's end of the channel. */
class Socket extends EventTarget {
  static OPEN = 1;
  readyState = 1;
  send = vi.fn();
  close = vi.fn();
  constructor() {
    super();
    // eslint-disable-next-line @typescript-eslint/no-this-alias
    channel = this;
  }
}

async function tell(message: object) {
  await act(async () => {
    channel.dispatchEvent(new MessageEvent("message", { data: JSON.stringify(message) }));
    await Promise.resolve();
  });
}
const changed = (id: string, action = "updated") => tell({ type: "item", action, id, version: 2 });
const pass = (ms: number) => act(() => vi.advanceTimersByTimeAsync(ms));

async function open() {
  render(
    <QueryClientProvider client={createQueryClient()}>
      <InventoryPage api={api as unknown as ItemsApi} role="editor" session={session as unknown as Session} announce={() => undefined} />
    </QueryClientProvider>,
  );
  await pass(0);
  await tell({ type: "ready" });
  expect(screen.getAllByTestId("item")).toHaveLength(2);
  expect(api.list).toHaveBeenCalledOnce();
}

beforeEach(() => {
  vi.useFakeTimers();
  vi.stubGlobal("WebSocket", Socket);
  history.replaceState(null, "", "/");
  // jsdom has no modal dialogs.
  HTMLDialogElement.prototype.showModal = vi.fn();
  HTMLDialogElement.prototype.close = vi.fn();
  api.list.mockReset().mockResolvedValue({ items: [item("a", 1), item("b", 2)], total: 2, limit: 25, offset: 0 });
  api.get.mockReset().mockImplementation((id: string) => Promise.resolve({ item: item(id, 4711), etag: '"2"' }));
});
afterEach(() => {
  cleanup();
  vi.useRealTimers();
  vi.unstubAllGlobals();
});

it("fetches the list once for many changes at a time, and not at once", async () => {
  await open();
  for (let number = 0; number < 30; number += 1) await changed(`new-${number}`, "created");
  expect(api.list).toHaveBeenCalledOnce();
  await pass(5_000);
  expect(api.list).toHaveBeenCalledTimes(2);
});

it("fetches a changed item that is shown by itself, without the list", async () => {
  await open();
  await changed("b");
  await changed("b");
  await pass(5_000);
  expect(api.get.mock.calls.map((call) => call[0] as string)).toEqual(["b"]);
  expect(screen.getAllByTestId("item")[1]?.textContent).toContain("4,711");
  expect(api.list).toHaveBeenCalledOnce();
});

it("fetches a changed item once for the list and the dialog that show it", async () => {
  await open();
  await act(async () => {
    go({ item: "b" });
    await vi.advanceTimersByTimeAsync(0);
  });
  expect(screen.getByTestId("item-form")).toBeTruthy();
  expect(screen.queryByTestId("changed-meanwhile")).toBeNull();
  api.get.mockClear().mockResolvedValue({ item: { ...item("b", 4711), version: 2 }, etag: '"2"' });
  await changed("b");
  await pass(5_000);
  expect(api.get).toHaveBeenCalledOnce();
  expect(screen.getByTestId("changed-meanwhile")).toBeTruthy();
  expect(screen.getAllByTestId("item")[1]?.textContent).toContain("4,711");
});

it("fetches nothing while nobody looks, and once when somebody does again", async () => {
  await open();
  const seen = vi.spyOn(document, "visibilityState", "get").mockReturnValue("hidden");
  await changed("new", "created");
  await pass(60_000);
  expect(api.list).toHaveBeenCalledOnce();
  seen.mockReturnValue("visible");
  await act(async () => {
    document.dispatchEvent(new Event("visibilitychange"));
    window.dispatchEvent(new Event("visibilitychange"));
    await vi.advanceTimersByTimeAsync(5_000);
  });
  expect(api.list).toHaveBeenCalledTimes(2);
});
