import { createContext, use, useSyncExternalStore } from "react";

import type { Session, SessionState } from "./session";

export const SessionContext = createContext<Session | null>(null);

export function useSession(): [SessionState, Session] {
  const session = use(SessionContext);
  if (!session) throw new Error("useSession outside of SessionContext");
  return [useSyncExternalStore(session.subscribe, session.snapshot), session];
}
