import { describe, expect, it } from "vitest";

import { draftOf, EMPTY, sameDraft, validate } from "./draft";

const GOOD = { ...EMPTY, name: " Bolt ", sku: "B-1", quantity: " 12 ", location: " A1 " };

describe("validate", () => {
  it("trims lines and reads the quantity", () => {
    expect(validate(GOOD)).toEqual({ fields: { name: "Bolt", sku: "B-1", quantity: 12, location: "A1", notes: "" } });
  });

  it.each(["", "-1", "1.5", "1e3", "ten", "2147483648"])("refuses the quantity %j", (quantity) => {
    expect(validate({ ...GOOD, quantity })).toHaveProperty("errors.quantity");
  });

  it.each(["", "-B1", "B 1", "ä"])("refuses the SKU %j", (sku) => {
    expect(validate({ ...GOOD, sku })).toHaveProperty("errors.sku");
  });

  it("tells all slips at once", () => {
    expect(validate({ ...EMPTY, quantity: "x" })).toEqual({
      errors: {
        name: expect.any(String) as string,
        sku: expect.any(String) as string,
        quantity: expect.any(String) as string,
      },
    });
  });
});

it("knows an untouched form", () => {
  const fields = { name: "Bolt", sku: "B-1", quantity: 3, location: "", notes: "" };
  expect(sameDraft(draftOf(fields), draftOf({ ...fields }))).toBe(true);
  expect(sameDraft(draftOf(fields), draftOf({ ...fields, quantity: 4 }))).toBe(false);
});
