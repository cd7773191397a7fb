// @vitest-environment jsdom
import { ErrorResponse, type User } from "oidc-client-ts";
import { beforeEach, describe, expect, it, vi } from "vitest";

import { safePath, Session, SessionEnded, type OidcClient } from "./session";

function oidc() {
  return {
    getUser: vi.fn<OidcClient["getUser"]>().mockResolvedValue(null),
    removeUser: vi.fn<OidcClient["removeUser"]>().mockResolvedValue(),
    signinRedirect: vi.fn<OidcClient["signinRedirect"]>().mockResolvedValue(),
    signinCallback: vi.fn<OidcClient["signinCallback"]>(),
    signinSilent: vi.fn<OidcClient["signinSilent"]>(),
    signoutRedirect: vi.fn<OidcClient["signoutRedirect"]>().mockResolvedValue(),
    events: { addAccessTokenExpiring: vi.fn(), addUserLoaded: vi.fn() } as unknown as OidcClient["events"],
  };
}

const user = (fields: Partial<User>) => fields as User;
const refusal = (error: string) => new ErrorResponse({ error, userState: "/?q=bolt" });

beforeEach(() => history.replaceState(null, "", "/?q=bolt"));

describe("at page load", () => {
  it("asks for the single sign-on session without a form, and remembers the page", async () => {
    const client = oidc();
    await new Session(client).start();
    expect(client.signinRedirect).toHaveBeenCalledWith({ prompt: "none", state: "/?q=bolt" });
  });

  it("comes back to the page that was asked for", async () => {
    history.replaceState(null, "", "/#state=s&code=c");
    const client = oidc();
    client.signinCallback.mockResolvedValue(user({ state: "/?q=bolt" }));
    const session = new Session(client);
    await session.start();
    expect(session.snapshot()).toEqual({ kind: "signed-in" });
    expect(location.href).toBe("https://shop.example/?q=bolt");
  });

  it("shows the way in when nobody is signed in", async () => {
    history.replaceState(null, "", "/#state=s&error=login_required");
    const client = oidc();
    client.signinCallback.mockRejectedValue(refusal("login_required"));
    const session = new Session(client);
    await session.start();
    expect(session.snapshot()).toEqual({ kind: "signed-out" });
    expect(location.search).toBe("?q=bolt");
    expect(client.signinRedirect).not.toHaveBeenCalled();
  });

  it("says when the sign-in service cannot be reached", async () => {
    const client = oidc();
    client.signinRedirect.mockRejectedValue(new Error("502"));
    const session = new Session(client);
    await session.start();
    expect(session.snapshot()).toMatchObject({ kind: "signed-out", problem: expect.stringContaining("502") as string });
  });
});

describe("renewal", () => {
  it("uses a refresh token once, however many calls need it", async () => {
    const client = oidc();
    client.getUser.mockResolvedValue(user({ expired: true, refresh_token: "r" }));
    client.signinSilent.mockResolvedValue(user({ access_token: "new" }));
    const session = new Session(client);
    await expect(Promise.all([session.accessToken(), session.accessToken()])).resolves.toEqual(["new", "new"]);
    expect(client.signinSilent).toHaveBeenCalledTimes(1);
  });

  it("ends the session when it is refused", async () => {
    const client = oidc();
    client.getUser.mockResolvedValue(user({ expired: true, refresh_token: "r" }));
    client.signinSilent.mockRejectedValue(refusal("invalid_grant"));
    const session = new Session(client);
    await expect(session.accessToken()).rejects.toBeInstanceOf(SessionEnded);
    expect(session.snapshot()).toEqual({ kind: "ended" });
  });

  it("does not end the session for a network failure", async () => {
    const client = oidc();
    client.getUser.mockResolvedValue(user({ expired: true, refresh_token: "r" }));
    client.signinSilent.mockRejectedValue(new TypeError("network"));
    const session = new Session(client);
    await expect(session.accessToken()).rejects.toThrow("network");
    expect(session.snapshot()).toEqual({ kind: "starting" });
  });
});

it("goes nowhere but to this site after signing in", () => {
  expect(safePath("/?page=2")).toBe("/?page=2");
  for (const value of ["https://evil.example/", "//evil.example", "/\\evil.example", undefined, 7]) {
    expect(safePath(value)).toBe("/");
  }
});
