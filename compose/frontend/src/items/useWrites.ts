import { useMutation, useQueryClient } from "@tanstack/react-query";

import { ApiError } from "../api/http";
import type { Item, ItemFields, ItemsApi, Loaded } from "../api/items";
import { fetchItem, keys } from "../api/queries";

/** How a write ended that the server has answered: also that somebody else was faster is an end, with what is there now. */
export type Outcome =
  | { readonly kind: "done"; readonly item: Item }
  | { readonly kind: "changed"; readonly theirs: Loaded }
  | { readonly kind: "gone" };

interface Save {
  readonly fields: ItemFields;
  /** The version that was edited; undefined for a new item. */
  readonly target: Loaded | undefined;
}

export function useSave(api: ItemsApi, idempotencyKey: string) {
  return useWrite(api, async ({ fields, target }: Save) => {
    const { item } = target ? await api.update(target.item.id, fields, target.etag) : await api.create(fields, idempotencyKey);
    return item;
  }, ({ target }) => target?.item.id);
}

export function useRemove(api: ItemsApi) {
  return useWrite(api, async (item: Item) => {
    await api.remove(item);
    return item;
  }, ({ id }) => id);
}

/** A write after which lists are fetched anew. idOf: the item that others may have changed or deleted meanwhile, if there is one. */
function useWrite<T>(api: ItemsApi, write: (what: T) => Promise<Item>, idOf: (what: T) => string | undefined) {
  const client = useQueryClient();
  return useMutation({
    mutationFn: async (what: T): Promise<Outcome> => {
      const id = idOf(what);
      try {
        return await write(what).then(
          (item) => ({ kind: "done", item }),
          async (error: unknown) => {
            if (id === undefined || !hasStatus(error, 412)) throw error;
            return { kind: "changed", theirs: await fetchItem(client, api, id) };
          },
        );
      } catch (error) {
        if (id === undefined || !hasStatus(error, 404)) throw error;
        return { kind: "gone" };
      }
    },
    onSettled: () => void client.invalidateQueries({ queryKey: keys.lists }),
  });
}

function hasStatus(error: unknown, status: number): boolean {
  return error instanceof ApiError && error.status === status;
}
