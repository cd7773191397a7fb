import type { Loaded } from "../api/items";
import type { Draft } from "./draft";

/** An unsaved form on its way through the sign-in page. Nothing else of the app is ever stored, least of all a token. */
export interface KeptDraft {
  readonly draft: Draft;
  readonly base: Loaded | undefined;
}

const PREFIX = "draft:";

export function keepDraft(id: string, kept: KeptDraft): void {
  sessionStorage.setItem(PREFIX + id, JSON.stringify(kept));
}

export function keptDraft(id: string): KeptDraft | undefined {
  const found = sessionStorage.getItem(PREFIX + id);
  return found === null ? undefined : (JSON.parse(found) as KeptDraft);
}

export function forgetDraft(id: string): void {
  sessionStorage.removeItem(PREFIX + id);
}
