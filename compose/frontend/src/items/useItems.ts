import { useCallback, useEffect, useState } from "react";

import type { ItemPage, ItemsApi } from "../api/items";
import type { View } from "../routing";

export const PAGE_SIZE = 25;

export interface ItemsResult {
  /** The last page that arrived; it stays while the next one is on its way. */
  readonly page: ItemPage | undefined;
  readonly error: unknown;
  readonly busy: boolean;
  readonly refresh: () => void;
}

interface Settled {
  readonly query: string;
  readonly page: ItemPage | undefined;
  readonly error: unknown;
}

export function useItems(api: ItemsApi, { search, sort, page: pageNumber }: View): ItemsResult {
  const [settled, setSettled] = useState<Settled>({ query: "", page: undefined, error: undefined });
  const [generation, setGeneration] = useState(0);
  const query = `${sort} ${pageNumber} ${search}`;

  useEffect(() => {
    const controller = new AbortController();
    api.list({ search, sort, limit: PAGE_SIZE, offset: (pageNumber - 1) * PAGE_SIZE }, controller.signal).then(
      (page) => {
        if (!controller.signal.aborted) setSettled({ query, page, error: undefined });
      },
      (error: unknown) => {
        if (!controller.signal.aborted) setSettled((before) => ({ query, page: before.page, error }));
      },
    );
    return () => controller.abort();
  }, [api, search, sort, pageNumber, query, generation]);

  const refresh = useCallback(() => setGeneration((before) => before + 1), []);
  return { page: settled.page, error: settled.error, busy: settled.query !== query, refresh };
}
