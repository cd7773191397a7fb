import { expect, it } from "vitest";

import { parseMessage, waitBefore } from "./live";

it.each(["", "{", "null", "7", '{"type":"status"}', undefined])("ignores %j", (data) => {
  expect(parseMessage(data)).toBeUndefined();
});

it("understands a change", () => {
  const change = { type: "item", action: "updated", id: "a", version: 3 };
  expect(parseMessage(JSON.stringify(change))).toEqual(change);
});

it("waits longer with every failure, but never more than a minute", () => {
  const longest = () => 1;
  expect([0, 1, 2, 30].map((attempt) => waitBefore(attempt, longest))).toEqual([1_000, 2_000, 4_000, 60_000]);
  expect(waitBefore(5, () => 0)).toBe(0);
});
