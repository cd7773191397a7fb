// What is asked of Prometheus: the window, queries with their variables filled in, and several queries in one request.

const SCRAPE = 30;
const POINTS = 240;
const STEPS = [30, 60, 120, 300, 600, 900, 1800, 3600, 7200, 14400, 43200, 86400];
// nginx takes 8 KB of a request's first line.
const LONGEST = 5000;
const MOST = 10;
const MARK = "panel_";

export const RANGES = { "15m": 900, "1h": 3600, "6h": 21600, "24h": 86400, "2d": 172800, "7d": 604800, "15d": 1296000 };

/**
 * The window that is shown: {start, end, step}, in seconds.
 * `first`: when the data begins. On the first day there are minutes of it: on an axis of hours they would be a vertical line.
 */
export function windowOf({ range, from, to }, now, first) {
  const end = to || Math.floor(now / SCRAPE) * SCRAPE;
  const wanted = from || Math.max(end - RANGES[range], Math.min(first, end - 300));
  const step = STEPS.find((one) => (end - wanted) / one <= POINTS) || STEPS.at(-1);
  return { start: end - Math.floor((end - wanted) / step) * step, end, step };
}

/** A query for this window. `chosen`: variable -> its value, "" for all. */
export function filled(expr, { start, end, step }, chosen) {
  const values = { __rate_interval: `${Math.max(step + SCRAPE, 4 * SCRAPE)}s`, __range: `${Math.max(end - start, 4 * SCRAPE)}s` };
  return expr.replace(/\$\{?([a-z_]\w*)\}?/g, (_, name) => values[name] || escaped(chosen[name]) || ".*");
}

// As part of a regular expression in a string of PromQL.
function escaped(value) {
  return (value || "").replace(/[^\w\s-]/g, "\\\\$&");
}

/** Lists of queries that are short enough for one request each. */
export function batches(queries) {
  const made = [];
  let length = LONGEST;
  for (const query of queries) {
    const more = encodeURIComponent(query.expr).length + 80;
    if (length + more > LONGEST || made.at(-1).length === MOST) {
      made.push([]);
      length = 0;
    }
    made.at(-1).push(query);
    length += more;
  }
  return made;
}

/** One query for several: each series says by a label to which of them it belongs. */
export function joined(queries) {
  return queries.map(({ key, expr }) => `label_replace(${expr}, "${MARK}", "${key}", "", "")`).join(" or ");
}

/** Key -> its series, of the answer to a joined query. */
export function separated(result) {
  const found = {};
  for (const { metric: { [MARK]: key, ...labels }, ...rest } of result) (found[key] ||= []).push({ labels, ...rest });
  return found;
}

/** {{label}} in a legend is the value of a label. */
export function legendOf(legend, labels) {
  return legend.replace(/\{\{(\w+)\}\}/g, (_, name) => labels[name] || "").replace(/^[, ]+|[, ]+$/g, "") || "other";
}

/** Values of a series at each step of the window, null where there is none. */
export function aligned(values, { start, end, step }) {
  const made = new Array(Math.round((end - start) / step) + 1).fill(null);
  for (const [at, value] of values) {
    const place = Math.round((at - start) / step);
    if (place >= 0 && place < made.length && Number.isFinite(Number(value))) made[place] = Number(value);
  }
  return made;
}

/** Moments of deploys in the window: each value of the series is when one ended. */
export function deploysOf(result, { start, end }) {
  const found = new Map();
  for (const { metric, values } of result) {
    for (const [, value] of values) {
      const at = Number(value);
      if (at >= start && at <= end) found.set(`${at} ${metric.verb} ${metric.outcome}`, { at, verb: metric.verb, outcome: metric.outcome });
    }
  }
  return [...found.values()].sort((one, other) => one.at - other.at);
}
