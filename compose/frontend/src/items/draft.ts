import type { ItemFields } from "../api/items";
import type { Field } from "./merge";

/** What stands in the form: the quantity is text until it is known to be a number. */
export type Draft = Readonly<Record<Field, string>>;
export type FieldErrors = Readonly<Partial<Record<Field, string>>>;

export const EMPTY: Draft = { name: "", sku: "", quantity: "0", location: "", notes: "" };
export const MAX_LENGTH = { name: 200, sku: 64, location: 200, notes: 4000 } as const;
const MAX_QUANTITY = 2_147_483_647;
const SKU = /^[A-Za-z0-9][A-Za-z0-9._/-]*$/;

export function draftOf(fields: ItemFields): Draft {
  const { name, sku, quantity, location, notes } = fields;
  return { name, sku, quantity: String(quantity), location, notes };
}

export function sameDraft(a: Draft, b: Draft): boolean {
  return (Object.keys(EMPTY) as Field[]).every((field) => a[field] === b[field]);
}

/** The same rules as the server's, so that a slip is told before anything is sent. */
export function validate(draft: Draft): { fields: ItemFields } | { errors: FieldErrors } {
  const errors: Partial<Record<Field, string>> = {};
  const name = draft.name.trim();
  const sku = draft.sku.trim();
  const quantity = /^\d+$/.test(draft.quantity.trim()) ? Number(draft.quantity) : NaN;
  if (name === "") errors.name = "Enter a name.";
  if (sku === "") errors.sku = "Enter a SKU.";
  else if (!SKU.test(sku)) errors.sku = "Use letters, digits, dots, dashes, slashes and underscores; start with a letter or digit.";
  if (Number.isNaN(quantity)) errors.quantity = "Enter a whole number, 0 or more.";
  else if (quantity > MAX_QUANTITY) errors.quantity = `Enter at most ${MAX_QUANTITY}.`;
  if (Object.keys(errors).length > 0) return { errors };
  return { fields: { name, sku, quantity, location: draft.location.trim(), notes: draft.notes } };
}
