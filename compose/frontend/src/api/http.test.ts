// @vitest-environment jsdom
import { beforeEach, describe, expect, it, vi } from "vitest";

import { ApiError, Http, problemOf } from "./http";

const tokens = { accessToken: vi.fn(), renew: vi.fn() };
const json = (body: unknown, init: ResponseInit = {}) =>
  new Response(JSON.stringify(body), { ...init, headers: { "Content-Type": "application/json", ...(init.headers as Record<string, string> | undefined) } });

/** Answers one after the other and keeps what was sent. */
function server(...answers: (Response | Error)[]) {
  const sent: Request[] = [];
  const send = (path: RequestInfo | URL, init?: RequestInit) => {
    sent.push(new Request(new URL(path as string, location.href), { ...init, signal: null }));
    const answer = answers.shift() ?? new Error("no answer left");
    return answer instanceof Error ? Promise.reject(answer) : Promise.resolve(answer);
  };
  return { http: new Http(tokens, send), sent };
}

beforeEach(() => {
  vi.useFakeTimers({ shouldAdvanceTime: true, advanceTimeDelta: 200 });
  tokens.accessToken.mockResolvedValue("first");
  tokens.renew.mockResolvedValue("second");
});

describe("a request", () => {
  it("shows the token, and returns the body with its entity tag", async () => {
    const { http, sent } = server(json({ id: 1 }, { headers: { ETag: '"7"' } }));
    await expect(http.request("/items/1")).resolves.toEqual({ data: { id: 1 }, etag: '"7"' });
    expect(sent[0]?.headers.get("Authorization")).toBe("Bearer first");
  });

  it("renews the token once after a 401, also for a write, which the server has not carried out", async () => {
    const { http, sent } = server(json({}, { status: 401 }), json({ ok: true }));
    await http.request("/items", { method: "POST", body: {} });
    expect(sent.map((request) => request.headers.get("Authorization"))).toEqual(["Bearer first", "Bearer second"]);
  });

  it.each([new TypeError("network"), json({}, { status: 503 })])("tries a read once more after a passing failure", async (failure) => {
    const { http, sent } = server(failure, json({ ok: true }));
    await expect(http.request("/items")).resolves.toMatchObject({ data: { ok: true } });
    expect(sent).toHaveLength(2);
  });

  it("never repeats a write by itself", async () => {
    const { http, sent } = server(json({}, { status: 503 }), json({ ok: true }));
    await expect(http.request("/items", { method: "POST", body: {} })).rejects.toMatchObject({ status: 503 });
    expect(sent).toHaveLength(1);
  });

  it("returns nothing for 204", async () => {
    const { http } = server(new Response(null, { status: 204 }));
    await expect(http.request("/items/1", { method: "DELETE" })).resolves.toEqual({ data: undefined, etag: undefined });
  });
});

describe("a problem", () => {
  it("carries the detail, the request id and the fields", async () => {
    const error = await problemOf(
      json(
        { detail: "Not valid.", request_id: "r-1", errors: [{ field: "body.quantity", message: "too small" }] },
        { status: 422, headers: { "Content-Type": "application/problem+json" } },
      ),
    );
    expect(error).toBeInstanceOf(ApiError);
    expect(error).toMatchObject({ message: "Not valid.", status: 422, requestId: "r-1", fields: { quantity: "too small" } });
  });

  it("is told from the status when the proxy answers with a page", async () => {
    const page = new Response("<html>", { status: 502, headers: { "Content-Type": "text/html", "X-Request-ID": "r-2" } });
    expect(await problemOf(page)).toMatchObject({ message: "The service is not available right now.", requestId: "r-2" });
  });

  it("says how long to wait", async () => {
    const error = await problemOf(json({ detail: "slow down" }, { status: 429, headers: { "Retry-After": "5" } }));
    expect(error.message).toContain("5 seconds");
  });
});
