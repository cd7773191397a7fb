import { useState } from "react";

import type { Item, ItemsApi } from "../api/items";
import { Dialog } from "../ui/Dialog";
import { ErrorNotice } from "../ui/ErrorNotice";
import { Timestamp } from "../ui/Timestamp";
import { useRemove } from "./useWrites";

interface Props {
  readonly api: ItemsApi;
  readonly item: Item;
  readonly onClose: () => void;
  readonly onDeleted: (name: string) => void;
}

export function DeleteDialog({ api, item, onClose, onDeleted }: Props) {
  const [current, setCurrent] = useState(item);
  const [changed, setChanged] = useState(false);
  const removal = useRemove(api);

  const remove = () => {
    if (removal.isPending) return;
    removal.mutateAsync(current).then(
      (outcome) => {
        if (outcome.kind !== "changed") {
          onDeleted(current.name);
          return;
        }
        setChanged(true);
        setCurrent(outcome.theirs.item);
      },
      // Shown below.
      () => undefined,
    );
  };

  return (
    <Dialog title="Delete item" onClose={onClose} testId="delete-dialog">
      <div className="dialog-body">
        <p>
          Delete <strong>{current.name}</strong> ({current.sku}) with a quantity of {current.quantity}? This cannot be undone.
        </p>
        {changed && (
          <p className="notice notice-warning" role="alert">
            {current.updated_by} changed it <Timestamp value={current.updated_at} />. Check it, then delete it again.
          </p>
        )}
        {removal.isError && <ErrorNotice error={removal.error} />}
      </div>
      <footer className="dialog-actions">
        <button type="button" className="button" onClick={onClose} autoFocus>
          Keep it
        </button>
        <button type="button" className="button button-danger" aria-disabled={removal.isPending} data-testid="confirm-delete" onClick={remove}>
          {removal.isPending ? "Deleting…" : "Delete"}
        </button>
      </footer>
    </Dialog>
  );
}
