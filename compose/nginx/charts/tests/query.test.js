import assert from "node:assert/strict";
import test from "node:test";
import { aligned, batches, deploysOf, filled, joined, legendOf, separated, windowOf } from "../dashboards/query.js";

const NOW = 1_000_000_015;

test("a range begins where the data does", () => {
  const long = windowOf({ range: "6h" }, NOW, NOW - 90 * 86400);
  assert.deepEqual(long, { start: long.end - 21600, end: 1_000_000_000 - 10, step: 120 });
  const young = windowOf({ range: "6h" }, NOW, NOW - 1200);
  assert.ok(young.end - young.start <= 1215 && young.step === 30);
  assert.equal(windowOf({ range: "6h" }, NOW, NOW).end - windowOf({ range: "6h" }, NOW, NOW).start, 300);
});

test("a chosen part is shown in finer steps", () => {
  assert.deepEqual(windowOf({ range: "7d", from: 1000, to: 4600 }, NOW, 0), { start: 1000, end: 4600, step: 30 });
  for (const range of ["15m", "1h", "6h", "24h", "7d", "15d"]) {
    const { start, end, step } = windowOf({ range }, NOW, 0);
    assert.ok((end - start) / step <= 240, range);
  }
});

test("variables are filled in, and cannot break out of their string", () => {
  const frame = { start: 0, end: 3600, step: 30 };
  assert.equal(filled('rate(a{b=~"$b"}[$__rate_interval])', frame, {}), 'rate(a{b=~".*"}[120s])');
  assert.equal(filled("increase(a[$__range])", { start: 0, end: 10, step: 30 }, {}), "increase(a[120s])");
  assert.equal(filled('a{b=~"$b"}', frame, { b: 'x"} or vector(1)' }), 'a{b=~"x\\\\"\\\\} or vector\\\\(1\\\\)"}');
  assert.equal(filled('label_replace(a, "b", "$1", "c", "(.+)")', frame, {}), 'label_replace(a, "b", "$1", "c", "(.+)")');
  assert.equal(filled('a{b=~"${b}"}', { ...frame, step: 600 }, { b: "nginx-1" }), 'a{b=~"nginx-1"}');
});

test("queries go in batches that fit a request", () => {
  const short = Array.from({ length: 25 }, (_, key) => ({ key, expr: "up" }));
  assert.deepEqual(batches(short).map((one) => one.length), [10, 10, 5]);
  const long = Array.from({ length: 3 }, (_, key) => ({ key, expr: "x".repeat(2600) }));
  assert.deepEqual(batches(long).map((one) => one.length), [1, 1, 1]);
  assert.deepEqual(batches([]), []);
});

test("answers go back to their queries", () => {
  assert.equal(joined([{ key: "0.1", expr: "up" }, { key: "2.0", expr: "a > 1" }]),
    'label_replace(up, "panel_", "0.1", "", "") or label_replace(a > 1, "panel_", "2.0", "", "")');
  assert.deepEqual(separated([{ metric: { panel_: "0.1", job: "x" }, values: [] }, { metric: { panel_: "0.1" }, values: [] }]),
    { "0.1": [{ labels: { job: "x" }, values: [] }, { labels: {}, values: [] }] });
});

test("values stand at their steps, and what is missing is a gap", () => {
  assert.deepEqual(aligned([[0, "1"], [60, "NaN"], [90, "3"]], { start: 0, end: 90, step: 30 }), [1, null, null, 3]);
  assert.deepEqual(aligned([[500, "1"]], { start: 0, end: 30, step: 30 }), [null, null]);
});

test("legends name labels", () => {
  assert.equal(legendOf("{{method}} {{route}}", { method: "GET", route: "/x" }), "GET /x");
  assert.equal(legendOf("{{source}}, {{reason}}", { source: "a" }), "a");
  assert.equal(legendOf("{{missing}}", {}), "other");
});

test("deploys are counted once, in their order, and in the window only", () => {
  const series = [{ metric: { verb: "deploy", outcome: "good" }, values: [[1, "5"], [2, "5"], [3, "99"], [4, "30"]] },
    { metric: { verb: "rollback", outcome: "good" }, values: [[1, "10"]] }];
  assert.deepEqual(deploysOf(series, { start: 5, end: 40 }).map(({ at, verb }) => [at, verb]), [[5, "deploy"], [10, "rollback"], [30, "deploy"]]);
});
