import { ErrorResponse, InMemoryWebStorage, UserManager, WebStorageStateStore } from "oidc-client-ts";

import type { Config } from "../config";

export type SessionState =
  | { readonly kind: "starting" }
  | { readonly kind: "signed-out"; readonly problem?: string }
  | { readonly kind: "signed-in" }
  /** The tokens ran out while the app was in use: what is on the screen stays, nothing can be saved. */
  | { readonly kind: "ended" };

export class SessionEnded extends Error {
  constructor() {
    super("Your session has ended. Sign in again to continue.");
  }
}

/** The part of UserManager that is used, so that tests can stand in for Keycloak. */
export type OidcClient = Pick<
  UserManager,
  "getUser" | "removeUser" | "signinRedirect" | "signinCallback" | "signinSilent" | "signoutRedirect" | "events"
>;

export function createOidcClient(config: Config): OidcClient {
  return new UserManager({
    authority: config.issuer,
    client_id: config.clientId,
    redirect_uri: `${location.origin}/`,
    post_logout_redirect_uri: `${location.origin}/`,
    response_type: "code",
    // A fragment is never sent to a server, so the code appears in no access log.
    response_mode: "fragment",
    scope: "openid profile",
    // Done by Session.renew alone.
    automaticSilentRenew: false,
    // Tokens live in memory only; sessionStorage holds the PKCE verifier and the state during the redirect.
    userStore: new WebStorageStateStore({ store: new InMemoryWebStorage() }),
    stateStore: new WebStorageStateStore({ store: sessionStorage }),
  });
}

/** Who is signed in, as one observable state. Knows nothing of React. */
export class Session {
  private state: SessionState = { kind: "starting" };
  private readonly listeners = new Set<() => void>();
  private renewal: Promise<string> | undefined;
  private readonly otherTabs = new BroadcastChannel("session");

  constructor(private readonly oidc: OidcClient) {
    // A failure here is met again, and shown, by the call that needs the token.
    oidc.events.addAccessTokenExpiring(() => void this.renew().catch(() => undefined));
    this.otherTabs.addEventListener("message", () => void this.forget());
  }

  readonly subscribe = (listener: () => void): (() => void) => {
    this.listeners.add(listener);
    return () => this.listeners.delete(listener);
  };

  readonly snapshot = (): SessionState => this.state;

  /** Called once at page load. Leaves the page, unless it was just come back to. */
  async start(): Promise<void> {
    try {
      if (isAnswer(location.hash)) await this.finishSignIn();
      // Tokens do not survive a reload, the single sign-on session does: ask for it without showing a form.
      else await this.oidc.signinRedirect({ prompt: "none", state: here() });
    } catch (error) {
      this.set({ kind: "signed-out", problem: unreachable(error) });
    }
  }

  async signIn(): Promise<void> {
    try {
      await this.oidc.signinRedirect({ state: here() });
    } catch (error) {
      this.set({ kind: "signed-out", problem: unreachable(error) });
    }
  }

  async signOut(): Promise<void> {
    this.otherTabs.postMessage("signed-out");
    try {
      await this.oidc.signoutRedirect();
    } catch (error) {
      await this.forget();
      this.set({
        kind: "signed-out",
        problem: `Signed out here, but the sign-in service could not be told (${messageOf(error)}). Close the browser to be sure.`,
      });
    }
  }

  /** Calls the listener with every token that replaces an earlier one. */
  onRenewal(listener: () => void): () => void {
    return this.oidc.events.addUserLoaded(listener);
  }

  async accessToken(): Promise<string> {
    const user = await this.oidc.getUser();
    if (!user) throw new SessionEnded();
    return user.expired ? this.renew() : user.access_token;
  }

  /** One renewal at a time: a refresh token that is used twice ends the session in Keycloak. */
  renew(): Promise<string> {
    this.renewal ??= this.useRefreshToken().finally(() => (this.renewal = undefined));
    return this.renewal;
  }

  private async useRefreshToken(): Promise<string> {
    const user = await this.oidc.getUser();
    // Without a refresh token signinSilent would fall back to a hidden frame, which the CSP forbids.
    const renewed = user?.refresh_token === undefined ? null : await this.oidc.signinSilent().catch(refusedAsNull);
    if (!renewed) {
      this.set({ kind: "ended" });
      throw new SessionEnded();
    }
    return renewed.access_token;
  }

  private async finishSignIn(): Promise<void> {
    try {
      const user = await this.oidc.signinCallback();
      history.replaceState(null, "", safePath(user?.state));
      this.set({ kind: "signed-in" });
    } catch (error) {
      const answer = error instanceof ErrorResponse ? error : undefined;
      history.replaceState(null, "", safePath(answer?.state));
      // login_required only tells that nobody is signed in yet.
      if (answer?.error === "login_required") this.set({ kind: "signed-out" });
      else this.set({ kind: "signed-out", problem: `Signing in did not succeed (${messageOf(error)}).` });
    }
  }

  private async forget(): Promise<void> {
    await this.oidc.removeUser();
    this.set({ kind: "signed-out" });
  }

  private set(state: SessionState): void {
    this.state = state;
    for (const listener of this.listeners) listener();
  }
}

function isAnswer(fragment: string): boolean {
  const parameters = new URLSearchParams(fragment.slice(1));
  return parameters.has("state") && (parameters.has("code") || parameters.has("error"));
}

function here(): string {
  return location.pathname + location.search;
}

/** Only a path of this site: the state went through another party. */
export function safePath(value: unknown): string {
  return typeof value === "string" && /^\/(?![/\\])/.test(value) ? value : "/";
}

function refusedAsNull(error: unknown): null {
  if (error instanceof ErrorResponse) return null;
  throw new Error(unreachable(error));
}

function unreachable(error: unknown): string {
  return `The sign-in service cannot be reached (${messageOf(error)}).`;
}

function messageOf(error: unknown): string {
  return error instanceof Error ? error.message : String(error);
}
