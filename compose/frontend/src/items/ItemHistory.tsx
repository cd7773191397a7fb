import { keepPreviousData, useQuery } from "@tanstack/react-query";
import { useState } from "react";

import type { ItemChange, ItemsApi } from "../api/items";
import { keys } from "../api/queries";
import { ErrorNotice } from "../ui/ErrorNotice";
import { Timestamp } from "../ui/Timestamp";
import { stepsOf, type FieldChange, type Step } from "./history";
import { LABELS } from "./merge";

const FIRST = 10;
/** The server tells 100 at most; the last of them is only compared with. */
const MOST = 99;
const DID: Readonly<Record<ItemChange["action"], string>> = { created: "added", updated: "changed", deleted: "deleted" };

interface Props {
  readonly api: ItemsApi;
  readonly id: string;
}

/** Who changed the item, when and what. Fetched once somebody opens it. */
export function ItemHistory({ api, id }: Props) {
  const [open, setOpen] = useState(false);
  return (
    <details className="history" data-testid="history" onToggle={(event) => setOpen(event.currentTarget.open)}>
      <summary>History</summary>
      {open && <Changes api={api} id={id} />}
    </details>
  );
}

function Changes({ api, id }: Props) {
  const [shown, setShown] = useState(FIRST);
  const query = useQuery({
    queryKey: [...keys.history(id), shown],
    queryFn: ({ signal }) => api.history(id, shown + 1, signal),
    placeholderData: keepPreviousData,
  });
  if (query.isError) return <ErrorNotice error={query.error} onRetry={() => void query.refetch()} />;
  if (!query.data) return <p role="status">Loading…</p>;
  const asked = query.isPlaceholderData ? FIRST : shown;
  const steps = stepsOf(query.data).slice(0, asked);
  const more = query.data.length > asked;
  return (
    <>
      {steps.length === 0 && <p className="muted">No change has been recorded.</p>}
      <ol className="history-steps" aria-label="Changes, the last one first" aria-busy={query.isPlaceholderData}>
        {steps.map((step) => (
          <Change key={`${step.change.version} ${step.change.action}`} step={step} />
        ))}
      </ol>
      {more && asked < MOST && (
        <button type="button" className="button" aria-disabled={query.isPlaceholderData} onClick={() => setShown(MOST)}>
          Show older changes
        </button>
      )}
      {more && asked >= MOST && <p className="muted">Older changes are not shown.</p>}
    </>
  );
}

function Change({ step: { change, fields } }: { readonly step: Step }) {
  return (
    <li data-testid="history-step">
      <p className="history-who">
        <span>
          <strong>{change.username}</strong> {DID[change.action]} it{" "}
        </span>
        <span className="history-time">
          <Timestamp value={change.at} exact />
        </span>
      </p>
      {fields === undefined && <p className="muted">What it was before is not recorded.</p>}
      {change.action === "updated" && fields?.length === 0 && <p className="muted">Saved as it was.</p>}
      {fields && fields.length > 0 && (
        <dl className="history-fields">
          {fields.map((field) => (
            <FieldStep key={field.field} {...field} />
          ))}
        </dl>
      )}
    </li>
  );
}

function FieldStep({ field, before, after }: FieldChange) {
  return (
    <div>
      <dt>{LABELS[field]}</dt>
      <dd>
        <span className="visually-hidden">from </span>
        <del>
          <Value value={before} />
        </del>
        <span aria-hidden="true"> → </span>
        <span className="visually-hidden"> to </span>
        <ins>
          <Value value={after} />
        </ins>
      </dd>
    </div>
  );
}

const quantity = new Intl.NumberFormat("en");

/** bdi: a name in Hebrew or Arabic does not turn the arrow around. */
function Value({ value }: { readonly value: string | number }) {
  if (value === "") return <em>empty</em>;
  return <bdi>{typeof value === "number" ? quantity.format(value) : value}</bdi>;
}
