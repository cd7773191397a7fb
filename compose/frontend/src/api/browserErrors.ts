import { SessionEnded } from "../session/session";
import { ApiError, type Http } from "./http";

const MOST = 5;
const LONGEST = { message: 500, stack: 4_000, path: 200 };

/** Tells the backend's log what went wrong in this page: each error once, and no more than five until it is loaded again. */
export class BrowserErrors {
  private readonly reported = new Set<string>();

  constructor(private readonly http: Pick<Http, "request">) {}

  report(error: unknown): void {
    // These are shown to their user, and the server knows of them.
    if (error instanceof ApiError || error instanceof SessionEnded || isAborted(error)) return;
    const found = error instanceof Error ? error : new Error(String(error));
    const message = cut(`${found.name}: ${found.message}`, LONGEST.message);
    if (this.reported.has(message) || this.reported.size >= MOST) return;
    this.reported.add(message);
    // Without the query: it holds what people search for.
    const body = { message, path: cut(location.pathname, LONGEST.path), stack: cut(found.stack ?? "", LONGEST.stack) };
    this.http.request("/browser-errors", { method: "POST", body }).catch(() => undefined);
  }

  /** Whatever nobody has caught. Returns the end of it. */
  watch(): () => void {
    const onError = (event: ErrorEvent) => this.report(event.error ?? event.message);
    const onRejection = (event: PromiseRejectionEvent) => this.report(event.reason);
    window.addEventListener("error", onError);
    window.addEventListener("unhandledrejection", onRejection);
    return () => {
      window.removeEventListener("error", onError);
      window.removeEventListener("unhandledrejection", onRejection);
    };
  }
}

function isAborted(error: unknown): boolean {
  return error instanceof DOMException && error.name === "AbortError";
}

/** By code points, as the backend counts: half a character would have no encoding. */
function cut(text: string, length: number): string {
  return Array.from(text).slice(0, length).join("");
}
