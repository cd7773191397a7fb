import { useState } from "react";

import { ApiError } from "../api/http";
import type { Item, ItemsApi } from "../api/items";
import { Dialog } from "../ui/Dialog";
import { ErrorNotice } from "../ui/ErrorNotice";
import { Timestamp } from "../ui/Timestamp";

interface Props {
  readonly api: ItemsApi;
  readonly item: Item;
  readonly onClose: () => void;
  readonly onDeleted: (name: string) => void;
}

export function DeleteDialog({ api, item, onClose, onDeleted }: Props) {
  const [current, setCurrent] = useState(item);
  const [changed, setChanged] = useState(false);
  const [busy, setBusy] = useState(false);
  const [error, setError] = useState<unknown>();

  const remove = async () => {
    if (busy) return;
    setBusy(true);
    setError(undefined);
    try {
      await api.remove(current);
      onDeleted(current.name);
    } catch (failure) {
      const status = failure instanceof ApiError ? failure.status : undefined;
      if (status === 404) onDeleted(current.name);
      else if (status === 412) await showChange();
      else setError(failure);
    } finally {
      setBusy(false);
    }
  };

  const showChange = async () => {
    setChanged(true);
    await api.get(current.id).then(({ item: latest }) => setCurrent(latest), setError);
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
        {error !== undefined && <ErrorNotice error={error} />}
      </div>
      <footer className="dialog-actions">
        <button type="button" className="button" onClick={onClose} autoFocus>
          Keep it
        </button>
        <button type="button" className="button button-danger" aria-disabled={busy} data-testid="confirm-delete" onClick={remove}>
          {busy ? "Deleting…" : "Delete"}
        </button>
      </footer>
    </Dialog>
  );
}
