import { QueryClient, queryOptions } from "@tanstack/react-query";

import type { ItemsApi, Loaded } from "./items";

/** What is kept of the server, by what it is. A key is the beginning of all that belongs to it. */
export const keys = {
  me: ["me"],
  lists: ["items"],
  /** Every item that is open, with its history. */
  opened: ["item"],
  item: (id: string) => ["item", id, "current"],
  history: (id: string) => ["item", id, "history"],
} as const;

/**
 * What is shown is fetched anew when somebody comes back to the tab. Http repeats reads itself, so a failed one is final here. A write
 * without a network fails at once: it does not wait for one unseen.
 */
export function createQueryClient(): QueryClient {
  return new QueryClient({
    defaultOptions: { queries: { retry: false, refetchOnWindowFocus: "always" }, mutations: { networkMode: "always" } },
  });
}

/** One item. Not kept once nobody shows it, since a form has to begin with the newest version. */
export function itemQuery(api: ItemsApi, id: string) {
  return queryOptions({ queryKey: keys.item(id), queryFn: ({ signal }) => api.get(id, signal), gcTime: 0 });
}

/** The newest version of an item, also for the dialog that shows it. */
export async function fetchItem(client: QueryClient, api: ItemsApi, id: string): Promise<Loaded> {
  void client.invalidateQueries({ queryKey: keys.history(id) });
  // One that is under way may have been asked for before the change.
  await client.cancelQueries({ queryKey: keys.item(id) });
  return client.query(itemQuery(api, id));
}
