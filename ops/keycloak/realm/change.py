"""Declared against live, value by value, and the changes of the live realm that follow. Pure.

Only what is declared counts, and lists are sets.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any

KEEPER_CLIENT = "cc03-keeper"
"""The client whose service account makes all changes but those of itself."""
LONGEST_VALUE = 60
REFERENCE = re.compile(r"@secret:([a-z-]+)@")
UNKNOWN = "**********"
"""What Keycloak shows in place of a secret."""
SHOWN_IF_TRUE = frozenset({"authorizationServicesEnabled"})
"""Keys that Keycloak leaves out where they are false."""
HIDDEN = "[REDACTED]"
"""What stands here for a live secret that is not the one of the state folder."""
SECRET_KEY = re.compile(
    r"(?:^|[._-])(?:secret|password|secret\.key|api\.key|private\.?key|secret\.rotated)$"
    r"|(?:Secret|Password|Credential|[pP]rivateKey|ApiKey)$"
)
"""Names of secrets: clients, identity providers, mail servers, SAML's keys (saml.signing.private.key), key providers."""


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


Object = Mapping[str, Any]
Path = tuple[str | Ref, ...]


@dataclass(frozen=True)
class Request:
    """One request of the admin API.

    path: parts of the address below the realm's own. body: JSON; a Ref and @secret:NAME@ in it are filled in when it is sent.
    """

    method: str
    path: Path = ()
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
        """Whether it takes the account that may do everything: no account can repair or promote itself."""
        own = (KEEPER_CLIENT, f"service-account-{KEEPER_CLIENT}")
        return self.makes_realm or self.name.partition("/")[0] in own

    def as_json(self) -> Mapping[str, Any]:
        return {
            "action": self.action, "kind": self.kind, "name": self.name,
            "differences": [
                {"path": one.path, "old": HIDDEN if one.secret else one.old, "new": one.new} for one in self.differences
            ],
        }  # fmt: skip


def same(declared: Any, live: Any) -> bool:
    """Whether a live value is what is declared. What is empty and what is not there are the same; `false` is a value."""
    if _empty(declared) and _empty(live):
        return True
    if isinstance(declared, str) and REFERENCE.search(declared) and live == UNKNOWN:
        # It cannot be compared: it is sent when the object is made, and with every other change of it.
        return True
    if isinstance(declared, Mapping):
        return isinstance(live, Mapping) and not any(differences(declared, live))
    if isinstance(declared, list):
        return isinstance(live, list) and _same_lists(declared, live)
    return _word(declared) == _word(live)


def _same_lists(declared: list[Any], live: list[Any]) -> bool:
    if any(isinstance(one, Mapping) for one in declared) or live == [UNKNOWN]:
        # What has parts of its own has an order: what a policy does is done in it. A secret of a component is a list of one.
        return len(declared) == len(live) and all(same(one, other) for one, other in zip(declared, live, strict=True))
    return sorted(map(_word, declared)) == sorted(map(_word, live))


def _empty(value: Any) -> bool:
    return value is None or (value is not False and value in ("", [], {}))


def _word(value: Any) -> str:
    """`true`, "true" and True are one value: attributes and options are text in Keycloak."""
    return str(value).lower() if isinstance(value, bool) else str(value)


def differences(
    declared: Mapping[str, Any], live: Mapping[str, Any], skip: Iterable[str] = (), path: str = ""
) -> Iterator[Difference]:
    """Every declared value that is not so. skip: keys of the outermost level that are compared elsewhere."""
    left_out = set(skip)
    for key, value in declared.items():
        if key in left_out:
            continue
        have, here = live.get(key), f"{path}.{key}" if path else key
        if isinstance(value, Mapping):
            yield from differences(value, have if isinstance(have, Mapping) else {}, path=here)
        elif not same(value, have) and not (value is False and have is None and key in SHOWN_IF_TRUE):
            yield Difference(here, have, value)


def merged(declared: Mapping[str, Any], live: Mapping[str, Any], skip: Iterable[str] = ()) -> dict[str, Any]:
    """The live object with what is declared put into it; a live secret that is not ours to send is left out."""
    left_out = set(skip)
    result = {key: value for key, value in live.items() if key not in left_out and value != HIDDEN}
    for key, value in declared.items():
        if key not in left_out:
            have = result.get(key)
            result[key] = merged(value, have if isinstance(have, Mapping) else {}) if isinstance(value, Mapping) else value
    return result


def without(value: Mapping[str, Any], keys: Iterable[str]) -> dict[str, Any]:
    left_out = set(keys)
    return {key: item for key, item in value.items() if key not in left_out}


def masked(value: Any, references: Mapping[str, str]) -> Any:
    """A live realm without its secrets: one that the state folder holds becomes its reference, any other one is hidden.

    references: value of a secret -> @secret:NAME@.
    """
    if isinstance(value, Mapping):
        return {
            key: _masked_secret(item, references) if SECRET_KEY.search(key) else masked(item, references)
            for key, item in value.items()
        }
    return [masked(item, references) for item in value] if isinstance(value, list) else value


def _masked_secret(value: Any, references: Mapping[str, str]) -> Any:
    """Of a component, a secret is a list of one."""
    if isinstance(value, list) and all(isinstance(one, str) for one in value):
        return [_mask(one, references) for one in value]
    return _mask(value, references) if isinstance(value, str) else masked(value, references)


def _mask(value: str, references: Mapping[str, str]) -> str:
    return value if value in ("", UNKNOWN) else references.get(value, HIDDEN)
