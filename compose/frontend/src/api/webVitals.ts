import { onCLS, onINP, onLCP, onTTFB, type Metric } from "web-vitals";

import type { components } from "./schema";
import type { Http } from "./http";

/** One page load in ten is measured: enough for a distribution, and hardly a request more. */
const SHARE = 0.1;

type Vitals = components["schemas"]["WebVitals"];

/** Tells the backend how fast this page was for its user: once, when it is left or hidden, and neither who nor where. */
export class WebVitals {
  private readonly found: Vitals = {};
  private sent = false;

  constructor(
    private readonly http: Pick<Http, "request">,
    private readonly sampled: boolean = Math.random() < SHARE,
  ) {}

  watch(): void {
    if (!this.sampled) return;
    const seconds = (metric: Metric) => metric.value / 1000;
    onLCP((metric) => (this.found.lcp = seconds(metric)));
    onINP((metric) => (this.found.inp = seconds(metric)));
    onTTFB((metric) => (this.found.ttfb = seconds(metric)));
    onCLS((metric) => (this.found.cls = metric.value));
    // After those of the library, which settle their values in the same event.
    document.addEventListener("visibilitychange", () => this.report());
  }

  private report(): void {
    if (document.visibilityState !== "hidden" || this.sent || Object.keys(this.found).length === 0) return;
    this.sent = true;
    // keepalive: the page may be gone before the answer. Without a session there is nobody to believe, and nothing is sent.
    this.http.request("/web-vitals", { method: "POST", body: this.found, keepalive: true }).catch(() => undefined);
  }
}
