import { useQuery } from "@tanstack/react-query";
import { useMemo } from "react";

import { Http } from "./api/http";
import { ItemsApi } from "./api/items";
import { keys } from "./api/queries";
import type { Config } from "./config";
import { InventoryPage } from "./items/InventoryPage";
import { useSession } from "./session/context";
import { roleOf } from "./session/permissions";
import type { Session } from "./session/session";
import { SignedOut } from "./session/SignedOut";
import { ErrorNotice } from "./ui/ErrorNotice";
import { BoxIcon } from "./ui/icons";
import { Toast, useToast } from "./ui/Toast";

export function App({ config }: { readonly config: Config }) {
  const [state, session] = useSession();
  if (state.kind === "starting") {
    return (
      <main className="welcome">
        <p className="starting" role="status">
          Signing in…
        </p>
      </main>
    );
  }
  if (state.kind === "signed-out") {
    return <SignedOut productName={config.productName} problem={state.problem} onSignIn={() => void session.signIn()} />;
  }
  return <SignedIn productName={config.productName} session={session} ended={state.kind === "ended"} />;
}

interface SignedInProps {
  readonly productName: string;
  readonly session: Session;
  readonly ended: boolean;
}

function SignedIn({ productName, session, ended }: SignedInProps) {
  const api = useMemo(() => new ItemsApi(new Http(session)), [session]);
  // It stands in the token: nothing of it changes while somebody is elsewhere.
  const account = useQuery({ queryKey: keys.me, queryFn: ({ signal }) => api.me(signal), refetchOnWindowFocus: false });
  const me = account.data;
  const [notice, announce] = useToast();
  const role = me && roleOf(me.roles);

  return (
    <>
      <a className="skip-link" href="#main">
        Skip to content
      </a>
      <header className="site-head">
        <span className="brand">
          <span className="mark">
            <BoxIcon />
          </span>
          {productName}
        </span>
        <span className="who" data-testid="user">
          {me && (
            <>
              <span className="who-name">{me.name || me.username}</span>
              <span className="badge" data-testid="role">
                {role ?? "no role"}
              </span>
            </>
          )}
        </span>
        <button type="button" className="button button-quiet" data-testid="sign-out" onClick={() => void session.signOut()}>
          Sign out
        </button>
      </header>
      {ended && (
        <div className="banner" role="alert" data-testid="session-ended">
          <span>Your session has ended. What you see is still here, but nothing can be saved.</span>
          <button type="button" className="button" onClick={() => void session.signIn()}>
            Sign in again
          </button>
        </div>
      )}
      <main id="main" tabIndex={-1}>
        {account.isError && !ended && <ErrorNotice error={account.error} onRetry={() => void account.refetch()} />}
        {me && !role && (
          <p className="notice notice-warning" data-testid="no-role">
            You are signed in as {me.username}, but no role has been granted to you yet. Ask an administrator for one.
          </p>
        )}
        {role && <InventoryPage api={api} role={role} session={session} announce={announce} />}
      </main>
      <Toast notice={notice} />
    </>
  );
}
