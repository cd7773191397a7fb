import { useEffect, useState } from "react";

import type { ItemChanged } from "../api/live";
import type { ItemsApi, Loaded } from "../api/items";
import { Dialog } from "../ui/Dialog";
import { ErrorNotice } from "../ui/ErrorNotice";
import { ItemDetails } from "./ItemDetails";
import { ItemEditor } from "./ItemEditor";

interface Props {
  readonly api: ItemsApi;
  readonly id: string;
  readonly editable: boolean;
  readonly lastChange: ItemChanged | undefined;
  readonly onClose: () => void;
  readonly onDone: (message: string) => void;
  readonly onSignIn: () => void;
}

/** One item by its link: loads it, then shows it or lets it be edited. */
export function ItemDialog({ api, id, editable, lastChange, onClose, onDone, onSignIn }: Props) {
  const isNew = id === "new";
  const [loaded, setLoaded] = useState<Loaded>();
  const [error, setError] = useState<unknown>();
  const [attempt, setAttempt] = useState(0);
  const changedVersion = lastChange?.id === id && lastChange.action === "updated" ? lastChange.version : 0;
  const reloadFor = editable ? 0 : changedVersion;

  useEffect(() => {
    if (isNew) return;
    const controller = new AbortController();
    api.get(id, controller.signal).then(
      (found) => {
        setLoaded(found);
        setError(undefined);
      },
      (failure: unknown) => {
        if (!controller.signal.aborted) setError(failure);
      },
    );
    return () => controller.abort();
  }, [api, id, isNew, attempt, reloadFor]);

  const [dirty, setDirty] = useState(false);
  const mayClose = () => !dirty || confirm("Discard what you have changed?");

  const title = isNew ? "Add item" : (loaded?.item.name ?? "Item");
  return (
    <Dialog title={title} onClose={onClose} mayClose={mayClose} testId="item-dialog" wide>
      {error !== undefined && <ErrorNotice error={error} onRetry={() => setAttempt(attempt + 1)} />}
      {error === undefined && !isNew && !loaded && (
        <p className="dialog-body" role="status">
          Loading…
        </p>
      )}
      {error === undefined && !editable && loaded && <ItemDetails item={loaded.item} />}
      {editable && (isNew || loaded) && error === undefined && (
        <ItemEditor
          api={api}
          loaded={loaded}
          changedVersion={changedVersion}
          onDirty={setDirty}
          onCancel={() => {
            if (mayClose()) onClose();
          }}
          onDone={onDone}
          onSignIn={onSignIn}
        />
      )}
      {isNew && !editable && <p className="dialog-body">Your role does not allow adding items.</p>}
    </Dialog>
  );
}
