const RANKS = ["viewer", "editor", "admin"] as const;
export type Role = (typeof RANKS)[number];

/** The highest role held. Only decides what is offered: the server decides what is allowed. */
export function roleOf(roles: readonly string[]): Role | undefined {
  return RANKS.findLast((role) => roles.includes(role));
}

export const mayEdit = (role: Role | undefined): boolean => role === "editor" || role === "admin";
export const mayDelete = (role: Role | undefined): boolean => role === "admin";
