"""Declared against live, value by value: only what is declared counts, and lists are sets."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Mapping
from typing import Any

from ops.keycloak.realm.change import Difference

REFERENCE = re.compile(r"@secret:([a-z-]+)@")
UNKNOWN = "**********"
"""What Keycloak shows instead of a secret that it does not hand out."""
SHOWN_IF_TRUE = frozenset({"authorizationServicesEnabled"})
"""Keys that Keycloak leaves out where they are false."""
HIDDEN = "[REDACTED]"
"""What stands here for a live secret that is not the one of the state folder."""


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

    Parameters
    ----------
    references: value of a secret -> @secret:NAME@.
    """
    if isinstance(value, Mapping):
        return {
            key: _masked_secret(item, references) if SECRET_KEY.search(key) else masked(item, references)
            for key, item in value.items()
        }
    return [masked(item, references) for item in value] if isinstance(value, list) else value


SECRET_KEY = re.compile(
    r"(?:^|[._-])(?:secret|password|secret\.key|api\.key|private\.?key|secret\.rotated)$"
    r"|(?:Secret|Password|Credential|[pP]rivateKey|ApiKey)$"
)
"""Names of secrets: clients, identity providers, mail servers, SAML's keys (saml.signing.private.key), key providers."""


def _masked_secret(value: Any, references: Mapping[str, str]) -> Any:
    """Of a component, a secret is a list of one."""
    if isinstance(value, list) and all(isinstance(one, str) for one in value):
        return [_mask(one, references) for one in value]
    return _mask(value, references) if isinstance(value, str) else masked(value, references)


def _mask(value: str, references: Mapping[str, str]) -> str:
    return value if value in ("", UNKNOWN) else references.get(value, HIDDEN)
