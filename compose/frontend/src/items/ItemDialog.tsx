import { useQuery } from "@tanstack/react-query";
import { useState } from "react";

import type { ItemsApi } from "../api/items";
import { itemQuery } from "../api/queries";
import { Dialog } from "../ui/Dialog";
import { ErrorNotice } from "../ui/ErrorNotice";
import { ItemDetails } from "./ItemDetails";
import { ItemEditor } from "./ItemEditor";
import { ItemHistory } from "./ItemHistory";

interface Props {
  readonly api: ItemsApi;
  readonly id: string;
  readonly editable: boolean;
  readonly onClose: () => void;
  readonly onDone: (message: string) => void;
  readonly onSignIn: () => void;
}

/** One item by its link: loads it, then shows it or lets it be edited. What the live channel tells, useItems fetches. */
export function ItemDialog({ api, id, editable, onClose, onDone, onSignIn }: Props) {
  const isNew = id === "new";
  const query = useQuery({ ...itemQuery(api, id), enabled: !isNew });
  const loaded = query.data;
  // A form stays, whatever becomes of its item: saving tells. A viewer has nothing to lose.
  const failed = query.isError && !(editable && loaded);

  const [dirty, setDirty] = useState(false);
  const mayClose = () => !dirty || confirm("Discard what you have changed?");

  const title = isNew ? "Add item" : (loaded?.item.name ?? "Item");
  return (
    <Dialog title={title} onClose={onClose} mayClose={mayClose} testId="item-dialog" wide>
      {failed && <ErrorNotice error={query.error} onRetry={() => void query.refetch()} />}
      {!failed && !isNew && !loaded && (
        <p className="dialog-body" role="status">
          Loading…
        </p>
      )}
      {!failed && !editable && loaded && <ItemDetails item={loaded.item} />}
      {editable && (isNew || loaded) && (
        <ItemEditor
          api={api}
          loaded={loaded}
          onDirty={setDirty}
          onCancel={() => {
            if (mayClose()) onClose();
          }}
          onDone={onDone}
          onSignIn={onSignIn}
        />
      )}
      {loaded && !failed && <ItemHistory api={api} id={id} />}
      {isNew && !editable && <p className="dialog-body">Your role does not allow adding items.</p>}
    </Dialog>
  );
}
