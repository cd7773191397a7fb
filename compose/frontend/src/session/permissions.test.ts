import { expect, it } from "vitest";

import { mayDelete, mayEdit, roleOf } from "./permissions";

it.each([
  [[], undefined, false, false],
  [["offline_access"], undefined, false, false],
  [["viewer"], "viewer", false, false],
  [["editor", "viewer"], "editor", true, false],
  [["viewer", "editor", "admin"], "admin", true, true],
] as const)("%j acts as %s", (roles, role, edits, deletes) => {
  expect([roleOf(roles), mayEdit(roleOf(roles)), mayDelete(roleOf(roles))]).toEqual([role, edits, deletes]);
});
