import type { ItemFields } from "../api/items";

export const FIELDS = ["name", "sku", "quantity", "location", "notes"] as const satisfies readonly (keyof ItemFields)[];
export type Field = (typeof FIELDS)[number];
export type Side = "mine" | "theirs";

export const LABELS: Readonly<Record<Field, string>> = {
  name: "Name",
  sku: "SKU",
  quantity: "Quantity",
  location: "Location",
  notes: "Notes",
};

export interface Difference {
  readonly field: Field;
  readonly mine: string | number;
  readonly theirs: string | number;
  /** The side that alone changed the field, or undefined when both did and only a person can tell. */
  readonly suggestion: Side | undefined;
}

/** Three-way: what mine and theirs disagree about, seen from the version both started from. */
export function differences(base: ItemFields, mine: ItemFields, theirs: ItemFields): Difference[] {
  return FIELDS.filter((field) => mine[field] !== theirs[field]).map((field) => ({
    field,
    mine: mine[field],
    theirs: theirs[field],
    suggestion: mine[field] === base[field] ? "theirs" : theirs[field] === base[field] ? "mine" : undefined,
  }));
}

export function merged(mine: ItemFields, theirs: ItemFields, choices: Partial<Record<Field, Side>>): ItemFields {
  const pick = <F extends Field>(field: F): ItemFields[F] => (choices[field] === "mine" ? mine[field] : theirs[field]);
  return {
    name: pick("name"),
    sku: pick("sku"),
    quantity: pick("quantity"),
    location: pick("location"),
    notes: pick("notes"),
  };
}
