export interface ItemChanged {
  readonly type: "item";
  readonly id: string;
  readonly version: number;
  readonly action: "created" | "updated" | "deleted";
}

export type LiveMessage = ItemChanged | { readonly type: "ready" | "resync" };

export interface LiveHandlers {
  /** undefined: messages may have been missed, so anything may have changed. */
  onChange(change: ItemChanged | undefined): void;
  onStatus(connected: boolean): void;
}

const FIRST_WAIT_MS = 1_000;
const LONGEST_WAIT_MS = 60_000;

/** Exponential with full jitter, so that a restarted backend is not met by every browser at once. */
export function waitBefore(attempt: number, random = Math.random): number {
  return random() * Math.min(LONGEST_WAIT_MS, FIRST_WAIT_MS * 2 ** attempt);
}

export function parseMessage(data: unknown): LiveMessage | undefined {
  try {
    const message = JSON.parse(String(data)) as LiveMessage | null;
    return message && ["item", "ready", "resync"].includes(message.type) ? message : undefined;
  } catch {
    return undefined;
  }
}

/** Tells of changed items for as long as it is open. The app works without it, so every failure only means a later try. */
export class LiveChannel {
  private socket: WebSocket | undefined;
  private timer: ReturnType<typeof setTimeout> | undefined;
  private attempt = 0;
  private closed = false;

  constructor(
    private readonly token: () => Promise<string>,
    private readonly handlers: LiveHandlers,
  ) {
    this.connect();
  }

  /** The server ends the channel with the token it knows, so it is given each newer one. */
  renew(): void {
    if (this.socket?.readyState === WebSocket.OPEN) void this.authenticate(this.socket);
  }

  close(): void {
    this.closed = true;
    clearTimeout(this.timer);
    this.socket?.close();
  }

  private connect(): void {
    const url = new URL("/api/v1/ws", location.href);
    url.protocol = url.protocol.replace("http", "ws");
    const socket = new WebSocket(url);
    this.socket = socket;
    socket.addEventListener("open", () => void this.authenticate(socket));
    socket.addEventListener("message", (event) => this.receive(event.data));
    socket.addEventListener("close", () => this.retry());
  }

  /** The token goes into the first message: a URL would end up in logs. */
  private async authenticate(socket: WebSocket): Promise<void> {
    try {
      socket.send(JSON.stringify({ type: "auth", token: await this.token() }));
    } catch {
      socket.close();
    }
  }

  private receive(data: unknown): void {
    const message = parseMessage(data);
    if (message?.type === "ready") {
      this.handlers.onStatus(true);
      // Whatever happened while there was no connection.
      if (this.attempt > 0) this.handlers.onChange(undefined);
      this.attempt = 0;
    } else if (message) {
      this.handlers.onChange(message.type === "item" ? message : undefined);
    }
  }

  private retry(): void {
    if (this.closed) return;
    this.handlers.onStatus(false);
    this.timer = setTimeout(() => this.connect(), waitBefore(this.attempt++));
  }
}
