import type { ItemChanged } from "../api/live";

const FIRST_MS = 300;
/** Every browser hears of a change in the same instant: spread over this time, their requests do not arrive in one. */
const SPREAD_MS = 2_000;
const SINGLY = 3;

interface Fetches {
  /** Whether the page that is shown has this item. */
  shows(id: string): boolean;
  item(id: string): void;
  list(): void;
}

/** Gathers what the live channel tells, and then fetches as little as brings the shown page up to date. */
export class Refresh {
  private readonly items = new Set<string>();
  private everything = false;
  private timer: ReturnType<typeof setTimeout> | undefined;

  constructor(
    private readonly fetches: Fetches,
    private readonly random = Math.random,
  ) {}

  /** undefined: anything may have changed. */
  note(change: ItemChanged | undefined): void {
    if (change?.action === "updated" && this.fetches.shows(change.id)) this.items.add(change.id);
    else this.everything = true;
    this.timer ??= setTimeout(() => this.run(), FIRST_MS + this.random() * SPREAD_MS);
  }

  close(): void {
    clearTimeout(this.timer);
  }

  private run(): void {
    this.timer = undefined;
    const items = [...this.items];
    const everything = this.everything || items.length > SINGLY;
    this.items.clear();
    this.everything = false;
    // Whoever comes back to the tab fetches the list anyway.
    if (document.visibilityState !== "visible") return;
    if (everything) this.fetches.list();
    else items.forEach((id) => this.fetches.item(id));
  }
}
