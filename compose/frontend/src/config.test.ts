import { expect, it } from "vitest";

import { loadConfig, parseConfig } from "./config";

const GOOD = { productName: "Inventory", issuer: "https://shop.example/auth/realms/cc03", clientId: "cc03-frontend" };

it("takes what the operator set and nothing else", () => {
  expect(parseConfig({ ...GOOD, extra: 1 })).toEqual(GOOD);
});

it.each([null, [], "text", {}, { ...GOOD, clientId: "" }, { ...GOOD, issuer: "realms/cc03" }])("refuses %j", (value) => {
  expect(() => parseConfig(value)).toThrow("/config.json");
});

it("says which answer it got", async () => {
  await expect(loadConfig(() => Promise.resolve(new Response("", { status: 503 })))).rejects.toThrow("503");
});
