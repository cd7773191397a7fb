import type { Item } from "../api/items";
import { EditIcon, TrashIcon } from "../ui/icons";
import { Timestamp } from "../ui/Timestamp";

interface Props {
  readonly items: readonly Item[];
  readonly busy: boolean;
  readonly editable: boolean;
  readonly deletable: boolean;
  readonly onOpen: (item: Item) => void;
  readonly onDelete: (item: Item) => void;
}

/** The roles are spelled out, because browsers drop them once CSS turns the rows into cards. */
export function ItemTable({ items, busy, editable, deletable, ...handlers }: Props) {
  return (
    <table className="items" role="table" aria-label="Items" aria-busy={busy} data-testid="items">
      <thead role="rowgroup">
        <tr role="row">
          <th role="columnheader" scope="col">Name</th>
          <th role="columnheader" scope="col">SKU</th>
          <th role="columnheader" scope="col" className="number">Quantity</th>
          <th role="columnheader" scope="col">Location</th>
          <th role="columnheader" scope="col">Last change</th>
          {editable && (
            <th role="columnheader" scope="col">
              <span className="visually-hidden">Actions</span>
            </th>
          )}
        </tr>
      </thead>
      <tbody role="rowgroup">
        {items.map((item) => (
          <Row key={item.id} item={item} editable={editable} deletable={deletable} {...handlers} />
        ))}
      </tbody>
    </table>
  );
}

type RowProps = Omit<Props, "items" | "busy"> & { readonly item: Item };

function Row({ item, editable, deletable, onOpen, onDelete }: RowProps) {
  return (
    <tr role="row" data-testid="item" data-id={item.id}>
      <th role="rowheader" scope="row">
        <button type="button" className="link" onClick={() => onOpen(item)}>
          {item.name}
        </button>
      </th>
      <td role="cell" className="sku">{item.sku}</td>
      <td role="cell" className="number" data-label="Quantity">
        {item.quantity === 0 ? <span className="badge badge-out">Out of stock</span> : quantity.format(item.quantity)}
      </td>
      <td role="cell" data-label="Location">{item.location === "" ? <span className="muted">—</span> : item.location}</td>
      <td role="cell" className="muted" data-label="Last change">
        <Timestamp value={item.updated_at} />
        <span className="by"> by {item.updated_by}</span>
      </td>
      {editable && (
        <td role="cell" className="row-actions">
          <button type="button" className="icon-button" aria-label={`Edit ${item.name}`} onClick={() => onOpen(item)}>
            <EditIcon />
          </button>
          {deletable && (
            <button
              type="button"
              className="icon-button icon-danger"
              aria-label={`Delete ${item.name}`}
              onClick={() => onDelete(item)}
            >
              <TrashIcon />
            </button>
          )}
        </td>
      )}
    </tr>
  );
}

const quantity = new Intl.NumberFormat("en");

export function TableSkeleton() {
  return (
    <div className="skeleton" role="status" aria-label="Loading items">
      {Array.from({ length: 8 }, (_, row) => (
        <div key={row} className="skeleton-row" />
      ))}
    </div>
  );
}
