import assert from "node:assert/strict";
import { readFileSync } from "node:fs";
import test from "node:test";
import { UNITS, format, grade, increments } from "../dashboards/units.js";

const { dashboards } = JSON.parse(readFileSync(new URL("../dashboards/dashboards.json", import.meta.url)));

test("every unit of the dashboards is known", () => {
  const panels = dashboards.flatMap((one) => one.sections).flatMap((one) => one.panels);
  const units = new Set(panels.flatMap((panel) => [panel.unit, ...panel.queries.map((query) => query.unit)]).filter(Boolean));
  assert.ok(units.size > 5);
  for (const unit of units) assert.ok(UNITS[unit], unit);
});

test("values are short and have their unit", () => {
  const cases = [
    [0, "none", "0"], [1234.5, "none", "1,235"], [0.0123, "none", "0.0123"], [1500, "short", "1.5 k"], [0.5, "percentunit", "50 %"],
    [0.00123, "percentunit", "0.12 %"], [2e-8, "percentunit", "0.000002 %"], [0.99999, "percentunit", "100 %"], [0, "s", "0 s"], [0.0075, "s", "7.5 ms"], [0.00001, "s", "10 µs"], [90, "s", "1.5 min"],
    [86400 * 30, "s", "30 d"], [86400 * 400, "s", "1.1 y"], [2048, "bytes", "2 KiB"], [0, "bytes", "0 B"], [1024 ** 3, "Bps", "1 GiB/s"],
    [12, "reqps", "12 req/s"], [1, "bool_yes_no", "Yes"], [0, "bool_yes_no", "No"], [NaN, "s", "–"], [-90, "s", "-1.5 min"],
  ];
  for (const [value, unit, text] of cases) assert.equal(format(value, unit), text);
});

test("axes are divided in their unit", () => {
  assert.ok(increments("bytes").includes(1024) && !increments("bytes").includes(1000));
  assert.ok(increments("s").includes(3600) && increments("none").includes(0.5));
  for (const unit of Object.keys(UNITS)) assert.deepEqual(increments(unit).toSorted((one, other) => one - other), increments(unit));
});

test("grades follow the thresholds, whichever side is worse", () => {
  assert.deepEqual([0, 1, 2].map((value) => grade(value, { warn: 1, bad: 2 })), ["good", "warn", "bad"]);
  assert.deepEqual([5, 2.5, 1].map((value) => grade(value, { warn: 3, bad: 2 })), ["good", "warn", "bad"]);
  assert.deepEqual([0, 1].map((value) => grade(value, { bad: 1 })), ["good", "bad"]);
  assert.equal(grade(1, {}), "");
  assert.equal(grade(NaN, { bad: 1 }), "");
});
