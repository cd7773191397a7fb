import type { Item } from "../api/items";
import { Timestamp } from "../ui/Timestamp";
import { FIELDS, LABELS } from "./merge";

/** What a viewer sees instead of the form. */
export function ItemDetails({ item }: { readonly item: Item }) {
  return (
    <dl className="details" data-testid="item-details">
      {FIELDS.map((field) => (
        <div key={field}>
          <dt>{LABELS[field]}</dt>
          <dd>{item[field] === "" ? "—" : item[field]}</dd>
        </div>
      ))}
      <div>
        <dt>Last change</dt>
        <dd>
          <Timestamp value={item.updated_at} /> by {item.updated_by}
        </dd>
      </div>
    </dl>
  );
}
