// @vitest-environment jsdom
import { QueryClientProvider } from "@tanstack/react-query";
import { cleanup, fireEvent, render, screen } from "@testing-library/react";
import { afterEach, beforeEach, expect, it, vi } from "vitest";

import { ApiError } from "../api/http";
import type { Item, ItemsApi } from "../api/items";
import { createQueryClient } from "../api/queries";
import { DeleteDialog } from "./DeleteDialog";

const ITEM: Item = {
  id: "a",
  name: "Bolt",
  sku: "B-1",
  quantity: 10,
  location: "",
  notes: "",
  version: 1,
  created_at: "2026-01-01T00:00:00Z",
  created_by: "jonas",
  updated_at: "2026-01-01T00:00:00Z",
  updated_by: "jonas",
};
const api = { get: vi.fn(), remove: vi.fn() };
const onDeleted = vi.fn<(name: string) => void>();

function open() {
  render(
    <QueryClientProvider client={createQueryClient()}>
      <DeleteDialog api={api as unknown as ItemsApi} item={ITEM} onClose={() => undefined} onDeleted={onDeleted} />
    </QueryClientProvider>,
  );
  fireEvent.click(screen.getByTestId("confirm-delete"));
}

beforeEach(() => {
  // jsdom has no modal dialogs.
  HTMLDialogElement.prototype.showModal = function () {
    this.open = true;
  };
  HTMLDialogElement.prototype.close = vi.fn();
  api.get.mockReset();
  api.remove.mockReset();
  onDeleted.mockReset();
});
afterEach(cleanup);

it("shows what has changed, and deletes that version alone", async () => {
  const newer = { ...ITEM, quantity: 4711, version: 2, updated_by: "olga" };
  api.remove.mockRejectedValueOnce(new ApiError("changed", 412)).mockResolvedValue(undefined);
  api.get.mockResolvedValue({ item: newer, etag: '"2"' });
  open();
  expect((await screen.findByRole("alert")).textContent).toContain("olga changed it");
  expect(screen.getByTestId("delete-dialog").textContent).toContain("4711");
  expect(onDeleted).not.toHaveBeenCalled();
  fireEvent.click(screen.getByTestId("confirm-delete"));
  await vi.waitFor(() => expect(onDeleted).toHaveBeenCalledWith("Bolt"));
  expect(api.remove).toHaveBeenLastCalledWith(newer);
});

it("is done when somebody else has deleted it", async () => {
  api.remove.mockRejectedValue(new ApiError("There is no item a.", 404));
  open();
  await vi.waitFor(() => expect(onDeleted).toHaveBeenCalledWith("Bolt"));
});

it("shows why it was not deleted", async () => {
  api.remove.mockRejectedValue(new ApiError("This needs the role 'admin'.", 403));
  open();
  expect((await screen.findByTestId("error")).textContent).toContain("admin");
  expect(onDeleted).not.toHaveBeenCalled();
});
