import { keepPreviousData, useQuery, useQueryClient } from "@tanstack/react-query";
import { useEffect, useEffectEvent, useRef } from "react";

import type { ItemPage, ItemsApi } from "../api/items";
import type { ItemChanged } from "../api/live";
import { fetchItem, keys } from "../api/queries";
import type { View } from "../routing";
import { Refresh } from "./refresh";

export const PAGE_SIZE = 25;

export interface ItemsResult {
  /** The last page that arrived; it stays while the next one is on its way. */
  readonly page: ItemPage | undefined;
  readonly error: unknown;
  readonly busy: boolean;
  readonly refresh: () => void;
  /** What the live channel has told: it is fetched soon. */
  readonly changed: (change: ItemChanged | undefined) => void;
}

export function useItems(api: ItemsApi, { search, sort, page: pageNumber }: View): ItemsResult {
  const client = useQueryClient();
  const key = [...keys.lists, { search, sort, pageNumber }] as const;
  const query = useQuery({
    queryKey: key,
    queryFn: ({ signal }) => api.list({ search, sort, limit: PAGE_SIZE, offset: (pageNumber - 1) * PAGE_SIZE }, signal),
    placeholderData: keepPreviousData,
  });

  const refresh = () => void client.invalidateQueries({ queryKey: keys.lists });
  const shows = useEffectEvent((id: string) => query.data?.items.some((item) => item.id === id) ?? false);
  const fetchAll = useEffectEvent(() => {
    refresh();
    void client.invalidateQueries({ queryKey: keys.opened });
  });
  const fetchOne = useEffectEvent((id: string) => {
    fetchItem(client, api, id).then(
      ({ item }) =>
        client.setQueryData<ItemPage>(key, (page) => page && { ...page, items: page.items.map((one) => (one.id === id ? item : one)) }),
      // Such as deleted meanwhile: the list knows.
      refresh,
    );
  });

  const gathering = useRef<Refresh>(undefined);
  useEffect(() => {
    const gathered = new Refresh({ shows: (id) => shows(id), item: (id) => fetchOne(id), list: () => fetchAll() });
    gathering.current = gathered;
    return () => gathered.close();
  }, []);

  return {
    page: query.data,
    error: query.error ?? undefined,
    busy: query.isPending || query.isPlaceholderData,
    refresh,
    changed: (change) => gathering.current?.note(change),
  };
}
