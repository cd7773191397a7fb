// @vitest-environment jsdom
import { onlineManager, QueryClientProvider } from "@tanstack/react-query";
import { cleanup, render, screen } from "@testing-library/react";
import userEvent from "@testing-library/user-event";
import { afterEach, beforeEach, expect, it, vi } from "vitest";

import { ApiError } from "../api/http";
import type { Item, ItemFields, ItemsApi, Loaded } from "../api/items";
import { createQueryClient } from "../api/queries";
import { SessionEnded } from "../session/session";
import { ItemEditor } from "./ItemEditor";

const ITEM: Item = {
  id: "a",
  name: "Bolt",
  sku: "B-1",
  quantity: 10,
  location: "A1",
  notes: "",
  version: 1,
  created_at: "2026-01-01T00:00:00Z",
  created_by: "jonas",
  updated_at: "2026-01-01T00:00:00Z",
  updated_by: "jonas",
};
const at = (item: Item): Loaded => ({ item, etag: `"${item.version}"` });
const api = { get: vi.fn(), create: vi.fn(), update: vi.fn() };
const onSignIn = vi.fn();
const onDone = vi.fn<(message: string) => void>();

function open(loaded?: Loaded) {
  render(
    <QueryClientProvider client={createQueryClient()}>
      <ItemEditor
        api={api as unknown as ItemsApi}
        loaded={loaded}
        onDirty={() => undefined}
        onCancel={() => undefined}
        onDone={onDone}
        onSignIn={onSignIn}
      />
    </QueryClientProvider>,
  );
  return userEvent.setup();
}

async function changeQuantity(user: ReturnType<typeof userEvent.setup>, value: string) {
  await user.clear(screen.getByLabelText("Quantity"));
  await user.type(screen.getByLabelText("Quantity"), value);
  await user.click(screen.getByTestId("save"));
}

afterEach(() => {
  cleanup();
  onlineManager.setOnline(true);
});
beforeEach(() => {
  vi.resetAllMocks();
  sessionStorage.clear();
});

it("sends nothing while a field is wrong, and leads there", async () => {
  const user = open();
  await user.click(screen.getByTestId("save"));
  expect(api.create).not.toHaveBeenCalled();
  expect(screen.getByText("Enter a name.")).toBeTruthy();
  expect(document.activeElement).toBe(screen.getByLabelText("Name"));
});

it("repeats a failed addition under the same key", async () => {
  api.create.mockRejectedValueOnce(new ApiError("The server cannot be reached.", 0)).mockResolvedValue(at(ITEM));
  const user = open();
  await user.type(screen.getByLabelText("Name"), "Bolt");
  await user.type(screen.getByLabelText("SKU"), "B-1");
  await user.click(screen.getByTestId("save"));
  await user.click(await screen.findByTestId("save"));
  const keys = api.create.mock.calls.map((call) => (call as [ItemFields, string])[1]);
  expect(keys).toHaveLength(2);
  expect(keys[0]).toBe(keys[1]);
  expect(onDone).toHaveBeenCalledWith("Added Bolt.");
});

it("merges after a conflict, and shows the version that was compared with", async () => {
  const theirs = { ...ITEM, location: "B2", version: 2 };
  api.update.mockRejectedValueOnce(new ApiError("changed", 412)).mockResolvedValue(at({ ...theirs, version: 3 }));
  api.get.mockResolvedValue(at(theirs));
  const user = open(at(ITEM));
  await changeQuantity(user, "7");
  await user.click(await screen.findByTestId("save-merged"));
  expect(api.update).toHaveBeenLastCalledWith("a", expect.objectContaining({ quantity: 7, location: "B2" }), '"2"');
  expect(onDone).toHaveBeenCalledWith("Saved Bolt.");
});

it("asks where both changed the same field", async () => {
  api.update.mockRejectedValueOnce(new ApiError("changed", 412)).mockResolvedValue(at(ITEM));
  api.get.mockResolvedValue(at({ ...ITEM, quantity: 99, version: 2 }));
  const user = open(at(ITEM));
  await changeQuantity(user, "7");
  expect((await screen.findByTestId<HTMLButtonElement>("save-merged")).disabled).toBe(true);
  await user.click(screen.getByLabelText(/Yours/));
  await user.click(screen.getByTestId("save-merged"));
  expect(api.update).toHaveBeenLastCalledWith("a", expect.objectContaining({ quantity: 7 }), '"2"');
});

it("offers to add again what was deleted meanwhile", async () => {
  api.update.mockRejectedValue(new ApiError("There is no item a.", 404));
  api.create.mockResolvedValue(at(ITEM));
  const user = open(at(ITEM));
  await changeQuantity(user, "7");
  expect(await screen.findByTestId("deleted-meanwhile")).toBeTruthy();
  await user.click(screen.getByTestId("save"));
  expect(api.create).toHaveBeenCalledWith(expect.objectContaining({ quantity: 7 }), expect.any(String));
});

it("puts a taken SKU to its field", async () => {
  api.update.mockRejectedValue(new ApiError("The sku B-1 belongs to another item.", 409));
  const user = open(at(ITEM));
  await changeQuantity(user, "7");
  expect(screen.getByLabelText("SKU").getAttribute("aria-invalid")).toBe("true");
});

it("brings the unsaved form through a new sign-in, once", async () => {
  api.update.mockRejectedValue(new SessionEnded());
  const user = open(at(ITEM));
  await changeQuantity(user, "7");
  await user.click(await screen.findByRole("button", { name: /Sign in again/ }));
  expect(onSignIn).toHaveBeenCalledOnce();

  cleanup();
  open(at({ ...ITEM, location: "B2", version: 2 }));
  expect(screen.getByLabelText<HTMLInputElement>("Quantity").value).toBe("7");
  expect(sessionStorage).toHaveLength(0);
  // Still from the version that was read before, so that a change in between is a conflict.
  await user.click(screen.getByTestId("save"));
  expect(api.update).toHaveBeenLastCalledWith("a", expect.objectContaining({ quantity: 7 }), '"1"');
});

it("fails at once without a network, and does not save later unseen", async () => {
  onlineManager.setOnline(false);
  api.update.mockRejectedValue(new ApiError("The server cannot be reached.", 0));
  const user = open(at(ITEM));
  await changeQuantity(user, "7");
  expect((await screen.findByTestId("error")).textContent).toContain("cannot be reached");
});
