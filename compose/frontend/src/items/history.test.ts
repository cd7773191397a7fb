import { describe, expect, it } from "vitest";

import type { ItemChange } from "../api/items";
import { changedPart, stepsOf } from "./history";

const at = (version: number, more: Partial<ItemChange> = {}): ItemChange => ({
  version,
  action: version === 1 ? "created" : "updated",
  at: "2026-01-01T00:00:00Z",
  subject: "s",
  username: "olga",
  name: "Bolt",
  sku: "B-1",
  quantity: 10,
  location: "A1",
  notes: "",
  ...more,
});

describe("what a change did", () => {
  it("is what differs from the version before", () => {
    const steps = stepsOf([at(3, { quantity: 7, location: "B2" }), at(2, { quantity: 7 }), at(1)]);
    expect(steps.map(({ fields }) => fields)).toEqual([
      [{ field: "location", before: "A1", after: "B2" }],
      [{ field: "quantity", before: 10, after: 7 }],
      [],
    ]);
  });

  it("is not known where the version before was not recorded", () => {
    expect(stepsOf([at(4), at(2, { quantity: 7 })]).map(({ fields }) => fields)).toEqual([undefined, undefined]);
  });
});

describe("of long notes", () => {
  const long = "x".repeat(500);

  it("only what changed is shown, with a little around it", () => {
    expect(changedPart(`${long}old${long}`, `${long}new${long}`)).toEqual([
      `…${"x".repeat(24)}old${"x".repeat(24)}…`,
      `…${"x".repeat(24)}new${"x".repeat(24)}…`,
    ]);
  });

  it("what was put in between equal parts is not counted twice", () => {
    expect(changedPart(long, `${long}x`)).toEqual([`…${"x".repeat(24)}`, `…${"x".repeat(25)}`]);
    expect(changedPart("", long)).toEqual(["", long]);
  });

  it("characters stay whole", () => {
    const smiles = "😀".repeat(200);
    expect(changedPart(`${smiles}a`, `${smiles}b`)).toEqual([`…${"😀".repeat(24)}a`, `…${"😀".repeat(24)}b`]);
  });
});

it("short notes are shown as they are", () => {
  expect(changedPart("left door", "right door")).toEqual(["left door", "right door"]);
});
