import { QueryClient } from "@tanstack/react-query";

/** What is shown is fetched anew when somebody comes back to the tab. Http repeats reads itself, so a failed one is final here. */
export function createQueryClient(): QueryClient {
  return new QueryClient({ defaultOptions: { queries: { retry: false, refetchOnWindowFocus: "always" } } });
}
