import type { ItemChange } from "../api/items";
import { FIELDS, type Field } from "./merge";

export interface FieldChange {
  readonly field: Field;
  readonly before: string | number;
  readonly after: string | number;
}

export interface Step {
  readonly change: ItemChange;
  /** undefined: what the item was before is not recorded. */
  readonly fields: readonly FieldChange[] | undefined;
}

/** What each change did, by comparison with the one before. `changes`: the last one first. */
export function stepsOf(changes: readonly ItemChange[]): Step[] {
  return changes.map((change, index) => ({ change, fields: fieldsOf(change, changes[index + 1]) }));
}

function fieldsOf(change: ItemChange, before: ItemChange | undefined): FieldChange[] | undefined {
  if (change.action !== "updated") return [];
  // Items are older than their history, and a release from before it may have served in between.
  if (before?.version !== change.version - 1) return undefined;
  return FIELDS.filter((field) => change[field] !== before[field]).map((field) => {
    if (field !== "notes") return { field, before: before[field], after: change[field] };
    const [shortBefore, shortAfter] = changedPart(before.notes, change.notes);
    return { field, before: shortBefore, after: shortAfter };
  });
}

const CONTEXT = 24;
const SHORT = 120;

/** Of two long texts what differs, with a little of what is around it. */
export function changedPart(before: string, after: string): [string, string] {
  const [a, b] = [Array.from(before), Array.from(after)];
  const shorter = Math.min(a.length, b.length);
  if (Math.max(a.length, b.length) <= SHORT) return [before, after];
  let start = 0;
  while (start < shorter && a[start] === b[start]) start += 1;
  let end = 0;
  while (end < shorter - start && a.at(-1 - end) === b.at(-1 - end)) end += 1;
  const from = Math.max(0, start - CONTEXT);
  const part = (text: string[]) => {
    const until = text.length - Math.max(0, end - CONTEXT);
    return (from > 0 ? "…" : "") + text.slice(from, until).join("") + (until < text.length ? "…" : "");
  };
  return [part(a), part(b)];
}
