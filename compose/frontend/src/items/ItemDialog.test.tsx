// @vitest-environment jsdom
import { focusManager, QueryClientProvider, type QueryClient } from "@tanstack/react-query";
import { act, cleanup, fireEvent, render, screen, within } from "@testing-library/react";
import { afterEach, beforeEach, expect, it, vi } from "vitest";

import { ApiError } from "../api/http";
import type { Item, ItemChange, ItemsApi } from "../api/items";
import { createQueryClient } from "../api/queries";
import { ItemDialog } from "./ItemDialog";

const ITEM: Item = {
  id: "a",
  name: "Bolt",
  sku: "B-1",
  quantity: 10,
  location: "A1",
  notes: "",
  version: 2,
  created_at: "2026-01-01T00:00:00Z",
  created_by: "jonas",
  updated_at: "2026-01-02T00:00:00Z",
  updated_by: "olga",
};
const change = (version: number, username: string, more: Partial<ItemChange> = {}): ItemChange => ({
  version,
  action: version === 1 ? "created" : "updated",
  at: `2026-01-0${version}T12:00:00Z`,
  subject: `s-${username}`,
  username,
  name: "Bolt",
  sku: "B-1",
  quantity: 10,
  location: "A1",
  notes: "",
  ...more,
});
const api = { get: vi.fn(), history: vi.fn() };

function open(editable: boolean, client: QueryClient = createQueryClient()) {
  render(
    <QueryClientProvider client={client}>
      <ItemDialog
        api={api as unknown as ItemsApi}
        id="a"
        editable={editable}
        onClose={() => undefined}
        onDone={() => undefined}
        onSignIn={() => undefined}
      />
    </QueryClientProvider>,
  );
}

function openHistory() {
  const details = screen.getByTestId<HTMLDetailsElement>("history");
  details.open = true;
  fireEvent(details, new Event("toggle"));
}

async function comeBack() {
  await act(async () => {
    focusManager.setFocused(false);
    focusManager.setFocused(true);
    await new Promise((resolve) => setTimeout(resolve, 20));
  });
}

beforeEach(() => {
  // jsdom has no modal dialogs.
  HTMLDialogElement.prototype.showModal = function () {
    this.open = true;
  };
  HTMLDialogElement.prototype.close = vi.fn();
  sessionStorage.clear();
  api.get.mockReset().mockResolvedValue({ item: ITEM, etag: '"2"' });
  api.history.mockReset().mockResolvedValue([change(2, "olga", { quantity: 4711, location: "" }), change(1, "jonas")]);
});
afterEach(() => {
  cleanup();
  focusManager.setFocused(undefined);
});

it("fetches the history once it is opened, and says who changed what when", async () => {
  open(false);
  await screen.findByTestId("item-details");
  expect(api.history).not.toHaveBeenCalled();
  openHistory();
  const [last, first] = await screen.findAllByTestId("history-step");
  expect(last?.textContent).toContain("olga changed it Jan 2, 2026");
  const fields = within(last as HTMLElement).getAllByRole("definition").map((one) => one.textContent);
  expect(fields).toEqual(["from 10 →  to 4,711", "from A1 →  to empty"]);
  expect(first?.textContent).toContain("jonas added it Jan 1, 2026");
  expect(api.history).toHaveBeenCalledOnce();
});

it("shows older changes when asked, and does not claim to know what was before them", async () => {
  const changes = Array.from({ length: 30 }, (_, index) => change(40 - index, "olga", { at: ITEM.updated_at, quantity: index }));
  api.history.mockImplementation((_id: string, limit: number) => Promise.resolve(changes.slice(0, limit)));
  open(true);
  await screen.findByTestId("item-form");
  openHistory();
  expect(await screen.findAllByTestId("history-step")).toHaveLength(10);
  expect(screen.queryByText("What it was before is not recorded.")).toBeNull();
  fireEvent.click(screen.getByText("Show older changes"));
  expect(await screen.findByText("What it was before is not recorded.")).toBeTruthy();
  expect(screen.getAllByTestId("history-step")).toHaveLength(30);
  expect(screen.queryByText("Show older changes")).toBeNull();
});

it("shows why there is no history, beside the item", async () => {
  api.history.mockRejectedValue(new ApiError("The service is not available right now.", 503, "r-1"));
  open(false);
  await screen.findByTestId("item-details");
  openHistory();
  expect((await screen.findByTestId("error")).textContent).toContain("r-1");
  expect(screen.getByTestId("item-details")).toBeTruthy();
});

it("a viewer sees the newest version on coming back", async () => {
  open(false);
  await screen.findByTestId("item-details");
  api.get.mockResolvedValue({ item: { ...ITEM, location: "B2", version: 3 }, etag: '"3"' });
  await comeBack();
  expect((await screen.findByTestId("item-details")).textContent).toContain("B2");
});

it("a form keeps what was typed when its item has changed, and says so", async () => {
  open(true);
  fireEvent.change(await screen.findByLabelText("Quantity"), { target: { value: "7" } });
  api.get.mockResolvedValue({ item: { ...ITEM, quantity: 99, version: 3 }, etag: '"3"' });
  await comeBack();
  expect(await screen.findByTestId("changed-meanwhile")).toBeTruthy();
  expect(screen.getByLabelText<HTMLInputElement>("Quantity").value).toBe("7");
});

it("a form stays when its item is gone", async () => {
  open(true);
  fireEvent.change(await screen.findByLabelText("Quantity"), { target: { value: "7" } });
  api.get.mockRejectedValue(new ApiError("There is no item a.", 404));
  await comeBack();
  expect(api.get).toHaveBeenCalledTimes(2);
  expect(screen.queryByTestId("error")).toBeNull();
  expect(screen.getByLabelText<HTMLInputElement>("Quantity").value).toBe("7");
});

it("a viewer is told when the item is gone", async () => {
  open(false);
  await screen.findByTestId("item-details");
  api.get.mockRejectedValue(new ApiError("There is no item a.", 404));
  await comeBack();
  expect((await screen.findByTestId("error")).textContent).toContain("There is no item a.");
  expect(screen.queryByTestId("item-details")).toBeNull();
});

it("begins with the newest version when it is opened again", async () => {
  const client = createQueryClient();
  open(true, client);
  await screen.findByTestId("item-form");
  cleanup();
  // What nobody shows is dropped in a timer of its own.
  await act(() => new Promise((resolve) => setTimeout(resolve)));
  api.get.mockResolvedValue({ item: { ...ITEM, quantity: 99, version: 3 }, etag: '"3"' });
  open(true, client);
  expect((await screen.findByLabelText<HTMLInputElement>("Quantity")).value).toBe("99");
});
