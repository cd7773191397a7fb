import type { components } from "./schema";

/** How a failed call is shown: what happened, and the id that finds it in the logs. */
export class ApiError extends Error {
  constructor(
    message: string,
    readonly status: number,
    readonly requestId?: string,
    readonly fields: Readonly<Record<string, string>> = {},
  ) {
    super(message);
  }
}

export interface TokenSource {
  accessToken(): Promise<string>;
  renew(): Promise<string>;
}

export interface RequestOptions {
  readonly method?: "GET" | "POST" | "PUT" | "DELETE";
  readonly body?: unknown;
  readonly ifMatch?: string;
  readonly idempotencyKey?: string;
  readonly signal?: AbortSignal;
  /** Sent although the page is left meanwhile. */
  readonly keepalive?: boolean;
}

export interface Answer<T> {
  readonly data: T;
  readonly etag: string | undefined;
}

const TIMEOUT_MS = 15_000;
const RETRY_AFTER_MS = 600;
const PASSING = new Set([0, 502, 503, 504]);

export class Http {
  constructor(
    private readonly tokens: TokenSource,
    private readonly send: typeof fetch = (...args) => fetch(...args),
  ) {}

  /** Reads are tried once more after a passing failure, since one backend may just be replaced; writes never are. */
  async request<T>(path: string, options: RequestOptions = {}): Promise<Answer<T>> {
    try {
      return await this.authorized<T>(path, options);
    } catch (error) {
      const read = (options.method ?? "GET") === "GET";
      if (!read || !(error instanceof ApiError) || !PASSING.has(error.status)) throw error;
      await pause(RETRY_AFTER_MS, options.signal);
      return this.authorized<T>(path, options);
    }
  }

  private async authorized<T>(path: string, options: RequestOptions): Promise<Answer<T>> {
    let response = await this.once(path, options, await this.tokens.accessToken());
    if (response.status === 401) response = await this.once(path, options, await this.tokens.renew());
    if (!response.ok) throw await problemOf(response);
    const data = (response.status === 204 ? undefined : await response.json()) as T;
    return { data, etag: response.headers.get("ETag") ?? undefined };
  }

  private async once(path: string, options: RequestOptions, token: string): Promise<Response> {
    const headers = new Headers({ Authorization: `Bearer ${token}`, Accept: "application/json" });
    if (options.ifMatch !== undefined) headers.set("If-Match", options.ifMatch);
    if (options.idempotencyKey !== undefined) headers.set("Idempotency-Key", options.idempotencyKey);
    if (options.body !== undefined) headers.set("Content-Type", "application/json");
    const deadline = AbortSignal.timeout(TIMEOUT_MS);
    try {
      return await this.send(`/api/v1${path}`, {
        method: options.method ?? "GET",
        headers,
        body: options.body === undefined ? null : JSON.stringify(options.body),
        signal: options.signal ? AbortSignal.any([options.signal, deadline]) : deadline,
        cache: "no-store",
        keepalive: options.keepalive ?? false,
      });
    } catch (error) {
      if (options.signal?.aborted) throw error;
      throw new ApiError(deadline.aborted ? "The server took too long to answer." : "The server cannot be reached.", 0);
    }
  }
}

/** A proxy in between may answer with less of it. */
type Problem = Partial<components["schemas"]["Problem"]>;

/** RFC 9457 where the backend answers; the proxy in front of it may answer with a page of its own. */
export async function problemOf(response: Response): Promise<ApiError> {
  const isJson = /[/+]json\b/.test(response.headers.get("Content-Type") ?? "");
  const problem = isJson ? ((await response.json().catch(() => ({}))) as Problem) : {};
  const requestId = problem.request_id ?? response.headers.get("X-Request-ID") ?? undefined;
  const fields = (problem.errors ?? []).map(({ field, message }) => [field.split(".").at(-1) ?? field, message] as const);
  return new ApiError(describe(response, problem), response.status, requestId, Object.fromEntries(fields));
}

function describe(response: Response, problem: Problem): string {
  if (response.status === 429) {
    const wait = response.headers.get("Retry-After");
    return wait ? `Too many requests. Try again in ${wait} seconds.` : "Too many requests. Try again in a moment.";
  }
  if (problem.detail ?? problem.title) return (problem.detail ?? problem.title) as string;
  return PASSING.has(response.status)
    ? "The service is not available right now."
    : `The server answered ${response.status}.`;
}

function pause(ms: number, signal?: AbortSignal): Promise<void> {
  return new Promise((resolve, reject) => {
    const timer = setTimeout(resolve, ms);
    signal?.addEventListener("abort", () => {
      clearTimeout(timer);
      reject(signal.reason as Error);
    });
  });
}
