"""Client policies of the realm and the profiles that they apply. Pure.

Keycloak takes each of the two lists whole: what is not declared is sent along as it is.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from ops.keycloak.realm.change import Change, Difference, Request
from ops.keycloak.realm.compare import differences, merged
from ops.keycloak.realm.objects import Object, named

KINDS = {"clientProfiles": ("profiles", "client profile"), "clientPolicies": ("policies", "client policy")}
"""Key of the declaration -> its list, which is also the last part of the address, and what one of them is called."""


def listed(realm: Object, key: str) -> dict[str, Object]:
    """Those of the realm's own: Keycloak has others, which every realm may name and none can change."""
    return named((realm.get(key) or {}).get(KINDS[key][0]))


def policies(realm: Object, live: Object) -> Iterator[Change]:
    """Profiles first: policies name them."""
    for key, (_, kind) in KINDS.items():
        declared, have = listed(realm, key), listed(live, key)
        found = [
            Difference(f"{name}.{one.path}", one.old, one.new)
            for name, wanted in declared.items() if name in have for one in differences(wanted, have[name])
        ]  # fmt: skip
        new = [name for name in declared if name not in have]
        if found or new:
            missing = [Difference(kind, [], new)] if new else []
            yield Change("update", "realm", str(realm["realm"]), _request(key, result(realm, live, key)), (*missing, *found))


def result(realm: Object, live: Object, key: str) -> dict[str, Object]:
    """As they are to be: what is not declared stays, and stays where it is."""
    declared, have = listed(realm, key), listed(live, key)
    return {**have, **{name: merged(one, have.get(name) or {}) for name, one in declared.items()}}


def without_these(realm: Object, live: Object, key: str, names: list[str]) -> Iterator[Change]:
    """Each by a request of its own. names: those that go."""
    left = result(realm, live, key)
    for name in names:
        left.pop(name, None)
        yield Change("delete", KINDS[key][1], name, _request(key, left))


def _request(key: str, objects: Mapping[str, Any]) -> Request:
    part = KINDS[key][0]
    return Request("PUT", ("client-policies", part), {part: list(objects.values())})
