import { describe, expect, it } from "vitest";

import type { ItemFields } from "../api/items";
import { differences, merged } from "./merge";

const BASE: ItemFields = { name: "Bolt", sku: "B-1", quantity: 10, location: "A1", notes: "" };

describe("a conflict", () => {
  it("leaves out what both sides changed alike", () => {
    expect(differences(BASE, { ...BASE, quantity: 5 }, { ...BASE, quantity: 5 })).toEqual([]);
  });

  it("suggests the side that alone changed a field", () => {
    const found = differences(BASE, { ...BASE, quantity: 5 }, { ...BASE, location: "B2" });
    expect(found.map(({ field, suggestion }) => [field, suggestion])).toEqual([
      ["quantity", "mine"],
      ["location", "theirs"],
    ]);
  });

  it("suggests nothing where both changed a field", () => {
    const [found] = differences(BASE, { ...BASE, name: "Bolt M8" }, { ...BASE, name: "Bolt M10" });
    expect(found?.suggestion).toBeUndefined();
  });

  it("merges by choice, and takes theirs where nothing was chosen", () => {
    const mine = { ...BASE, name: "Mine", quantity: 1 };
    const theirs = { ...BASE, name: "Theirs", location: "B2" };
    expect(merged(mine, theirs, { name: "theirs", quantity: "mine" })).toEqual({
      ...BASE,
      name: "Theirs",
      quantity: 1,
      location: "B2",
    });
  });
});
