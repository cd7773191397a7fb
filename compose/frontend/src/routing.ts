import { useSyncExternalStore } from "react";

export const SORTS = {
  name: "Name",
  "-updated_at": "Latest change",
  quantity: "Quantity, low first",
  location: "Location",
} as const;
export type Sort = keyof typeof SORTS;

/** The whole state of the screen that a link can carry. */
export interface View {
  readonly search: string;
  readonly sort: Sort;
  readonly page: number;
  /** The id of the open item, or "new". */
  readonly item: string | undefined;
}

export function readView(query: string): View {
  const parameters = new URLSearchParams(query);
  const page = Number(parameters.get("page"));
  const sort = parameters.get("sort") ?? "";
  return {
    sort: Object.hasOwn(SORTS, sort) ? (sort as Sort) : "name",
    search: parameters.get("q") ?? "",
    page: Number.isSafeInteger(page) && page > 0 ? page : 1,
    item: parameters.get("item") ?? undefined,
  };
}

export function viewUrl(view: View): string {
  const parameters = new URLSearchParams();
  if (view.search !== "") parameters.set("q", view.search);
  if (view.sort !== "name") parameters.set("sort", view.sort);
  if (view.page > 1) parameters.set("page", String(view.page));
  if (view.item !== undefined) parameters.set("item", view.item);
  const query = parameters.toString();
  return query === "" ? "/" : `/?${query}`;
}

/** "replace" where the back button should not stop, such as between two letters of a search. */
export function go(change: Partial<View>, how: "push" | "replace" = "push"): void {
  const url = viewUrl({ ...readView(location.search), ...change });
  if (url === location.pathname + location.search) return;
  if (how === "push") history.pushState(null, "", url);
  else history.replaceState(null, "", url);
  window.dispatchEvent(new PopStateEvent("popstate"));
}

export function useView(): View {
  return readView(useSyncExternalStore(subscribe, () => location.search));
}

function subscribe(listener: () => void): () => void {
  window.addEventListener("popstate", listener);
  return () => window.removeEventListener("popstate", listener);
}
