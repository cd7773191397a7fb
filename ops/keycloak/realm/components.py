"""Components of the realm: user federation (LDAP), the user profile, key providers, client registration policies. Pure.

Keycloak keeps them as a tree by provider type. Each is known by type and name here: `UserStorageProvider/ldap`, and
`UserStorageProvider/ldap/LDAPStorageMapper/username` below it. Only what is declared is sent: Keycloak leaves other keys alone.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from typing import Any

from ops.keycloak.realm.change import Change, Difference, Object, Path, Ref, Request, differences, merged
from ops.keycloak.realm.defaults import OWN

COMPONENT = "component"
KEYS = ("config", "name", "providerId", "subComponents", "subType")


def flat(realm: Object) -> dict[str, Object]:
    """Path -> component, parents first."""
    found: dict[str, Object] = {}

    def walk(kinds: Any, above: str) -> None:
        for kind, members in (kinds or {}).items():
            for one in members or []:
                label = " ".join(filter(None, (one.get("subType"), one.get("name") or one["providerId"])))
                path = f"{above}{kind.rpartition('.')[2]}/{label}"
                found[path] = {**one, "providerType": kind}
                walk(one.get("subComponents"), f"{path}/")

    walk(realm.get("components"), "")
    return found


def parent(path: str) -> str:
    return "/".join(path.split("/")[:-2])


def reconciled_components(realm: Object, live: Object) -> Iterator[Change]:
    """Made where they are missing, changed where they differ. Those below one that is made are left to the next plan: Keycloak
    makes some of them itself."""
    have = flat(live)
    for path, one in flat(realm).items():
        above, body = parent(path), {key: one[key] for key in ("name", "providerId", "providerType", "subType") if key in one}
        config = one.get("config") or {}
        if path not in have:
            if above and above not in have:
                continue
            below = {"parentId": Ref(COMPONENT, above)} if above else {}
            request = Request("POST", ("components",), {**body, **below, "config": _sent(config, {})})
            yield Change("create", COMPONENT, path, request, adds_more=bool(one.get("subComponents")))
        elif found := tuple(unlike(one, have[path])):
            own: Path = ("components", Ref(COMPONENT, path))
            sent = _sent(config, have[path].get("config") or {})
            yield Change("update", COMPONENT, path, Request("PUT", own, {**body, "config": sent}), found)


def unlike(declared: Object, live: Object) -> Iterator[Difference]:
    """Every declared value of a component that is not so; of a value that is JSON, every declared part of it."""
    yield from differences({key: declared[key] for key in ("providerId", "subType") if key in declared}, live)
    yield from differences(_read(declared.get("config")), _read(live.get("config")), path="config")


def _read(config: Any) -> dict[str, Any]:
    """Values that are JSON as what they say, and all others as lists."""
    return {key: _json(value) for key, value in (config or {}).items()}


def _json(value: Any) -> Any:
    values = value if isinstance(value, list) else [value]
    if len(values) == 1 and isinstance(values[0], str) and values[0].lstrip().startswith("{"):
        try:
            return json.loads(values[0])
        except ValueError:
            return values
    return values[0] if len(values) == 1 and isinstance(values[0], Mapping) else values


def _sent(config: Mapping[str, Any], live: Mapping[str, Any]) -> dict[str, list[str]]:
    """As Keycloak takes it: lists of text. JSON keeps what is not declared."""
    now = _read(live)
    result = {}
    for key, value in _read(config).items():
        if isinstance(value, Mapping):
            result[key] = [json.dumps(merged(value, now[key] if isinstance(now.get(key), Mapping) else {}))]
        else:
            result[key] = [str(one).lower() if isinstance(one, bool) else str(one) for one in value if one is not None]
    return result


def own_component(path: str) -> bool:
    return path.rpartition("/")[2] in OWN["mappers"] if parent(path) else path.startswith(OWN["components"])


def exported_tree(written: Any, filled: Any, live: Any, like: Any, bare: Any, above: str | None = "") -> dict[str, list[Any]]:
    """The tree of components as a declaration: declared ones as they are now, and those that somebody made.

    written, filled: the tree as declared, with and without placeholders. like: makes a live value look as it was written.
    bare: takes away what Keycloak adds. above: path of the parent; None where that is not declared.
    """
    result: dict[str, list[Any]] = {}
    texts, wanted, have = (flat({"components": one}) for one in (written, filled, live))
    for path, one in have.items():
        if parent(path) or (path not in texts and above is not None and own_component(f"{above}{path}")):
            continue
        if path in texts:
            text, full = texts[path], wanted[path]
            kept = {key: text[key] for key in KEYS if key in text and key != "subComponents"}
            if "config" in text:
                now = _read(one.get("config"))
                kept["config"] = {
                    key: value if _read({key: full["config"][key]}) == {key: now.get(key)}
                    else like(_read({key: value})[key], _read(full["config"])[key], now.get(key))
                    for key, value in text["config"].items()
                }  # fmt: skip
        else:
            text, full = {}, {}
            kept = bare({key: one[key] for key in KEYS if key in one and key != "subComponents"})
        place = f"{path}/" if path in texts else None
        below = exported_tree(text.get("subComponents"), full.get("subComponents"), one.get("subComponents"), like, bare, place)
        result.setdefault(one["providerType"], []).append({**kept, **({"subComponents": below} if below else {})})
    return result
