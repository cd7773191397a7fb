"""A change of the live realm, as the operator reads it and as the admin API is asked for it. Data only."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

KEEPER_CLIENT = "cc03-keeper"
"""The client whose service account makes all changes but those of itself."""
LONGEST_VALUE = 60


@dataclass(frozen=True)
class Difference:
    """One value that is not as declared. path: within the object, with dots."""

    path: str
    old: Any
    new: Any

    def described(self) -> str:
        if self.secret:
            return f"{self.path} is not the one of the state folder"
        if isinstance(self.old, list | None) and isinstance(self.new, list):
            have = self.old or []
            added = [f"+{_short(item)}" for item in self.new if item not in have]
            gone = [f"-{_short(item)}" for item in have if item not in self.new]
            return f"{self.path} {' '.join([*added, *gone])}"
        return f"{self.path} {_short(self.old)} -> {_short(self.new)}"

    @property
    def secret(self) -> bool:
        """Whether its values must not be shown."""
        values = self.new if isinstance(self.new, list) else [self.new]
        return any(isinstance(one, str) and "@secret:" in one for one in values)


def _short(value: Any) -> str:
    if value is None or value == "":
        return "(none)"
    text = {True: "true", False: "false"}.get(value) if isinstance(value, bool) else str(value)
    text = text or str(value)
    return text if len(text) <= LONGEST_VALUE else text[: LONGEST_VALUE - 1] + "…"


@dataclass(frozen=True)
class Ref:
    """A part of an address that only Keycloak knows: the id of an object, by its kind and its name."""

    kind: str
    name: str


@dataclass(frozen=True)
class Request:
    """One request of the admin API.

    path: parts of the address below the realm's own. body: JSON; a Ref and @secret:NAME@ in it are filled in when it is sent.
    """

    method: str
    path: tuple[str | Ref, ...] = ()
    body: Any = None
    roles: tuple[str, ...] = ()
    """Roles that are the body: Keycloak wants each with its id."""
    of: str = ""
    """Client that these roles belong to; empty: they are the realm's."""


@dataclass(frozen=True)
class Change:
    """One difference of the live realm and what puts it right."""

    action: str
    """`create`, `update`, `delete`, or `discard`: what something else has taken the place of goes."""
    kind: str
    name: str
    request: Request
    differences: tuple[Difference, ...] = ()
    adds_more: bool = False
    """Keycloak makes more with it: what is left is found by another plan."""
    unusual: bool = False
    """Takes a right that the keeper has only where the declaration needs it; the account that may do everything makes it."""

    def described(self) -> str:
        """One line."""
        what = f"{self.kind} {self.name}"
        if self.action != "update":
            return f"{self.action} {what}" + "".join(f": {one.described()}" for one in self.differences)
        return f"{what}: " + "; ".join(one.described() for one in self.differences)

    @property
    def makes_realm(self) -> bool:
        return self.kind == "realm" and self.action == "create"

    @property
    def beyond_keeper(self) -> bool:
        """Whether it takes the account that may do everything: nobody can mend or promote itself."""
        own = (KEEPER_CLIENT, f"service-account-{KEEPER_CLIENT}")
        return self.makes_realm or self.name.partition("/")[0] in own

    def as_json(self) -> Mapping[str, Any]:
        hidden = "[REDACTED]"
        return {
            "action": self.action, "kind": self.kind, "name": self.name,
            "differences": [
                {"path": one.path, "old": hidden if one.secret else one.old, "new": one.new} for one in self.differences
            ],
        }  # fmt: skip
