"""The live realm as a declaration: what is declared as it is now, and besides it what somebody made or changed. Pure.

Secrets never come into it: a reference stays where the declaration has one. Addresses become placeholders again.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Mapping
from typing import Any

from ops.keycloak.realm import kinds, rights
from ops.keycloak.realm.change import HIDDEN, UNKNOWN, Object, same, without
from ops.keycloak.realm.components import exported_tree
from ops.keycloak.realm.declaration import PARTS
from ops.keycloak.realm.defaults import CLIENT, DEFAULT_SCOPES, OWN_CLIENTS, OWN_SCOPES, REALM, REQUIRED_ACTIONS
from ops.keycloak.realm.flows import Flows, undeclared_flows, unlike
from ops.keycloak.realm.kinds import KINDS, Item, named, new_clients_scopes
from ops.keycloak.realm.plan import undeclared

NOISE = {
    "id", "containerId", "clientRole", "access", "notBefore", "path", "subGroupCount", "composite", "internalId", "totp",
    "createdTimestamp", "disableableCredentialTypes", "clientSecret", "secret", "client.secret.creation.time", "realm_client",
}  # fmt: skip
"""What Keycloak adds by itself, and secrets."""
HIDES = (HIDDEN, UNKNOWN, [HIDDEN], [UNKNOWN])
LAST = ("prune",)


def export(written: Object, filled: Object, live: Object, urls: Mapping[str, str]) -> dict[str, Any]:
    """A declaration of the live realm.

    written: the declaration as it stands in the file. filled: the same with its placeholders filled.
    live: the realm as `plan_realm` takes it. urls: placeholder -> what it stands for, for values that are new.
    """
    found = undeclared(filled, live)
    result: dict[str, Any] = {"realm": written["realm"]}
    result |= _like(without(written, (*PARTS, *LAST, "realm")), filled, live)
    result |= _changed(REALM, live, result)
    result["roles"] = _roles(written, filled, live, found["roles"])
    result["authenticationFlows"], result["authenticatorConfig"] = _flows(written, filled, live)
    result["clientScopes"] = _scopes(written, filled, live, found["clientScopes"])
    result["identityProviders"] = _objects(KINDS["identityProviders"].items, written, filled, live)
    result["clients"] = _clients(written, filled, live, found["clients"])
    result["identityProviderMappers"] = _objects(kinds.PROVIDER_MAPPERS.items, written, filled, live)
    names = {one["clientId"] for one in result["clients"]}
    result["scopeMappings"] = _mappings(written.get("scopeMappings"), live.get("scopeMappings"), names)
    of_clients, everywhere = written.get("clientScopeMappings") or {}, live.get("clientScopeMappings") or {}
    mapped = {
        client: _mappings(of_clients.get(client), everywhere.get(client), names)
        for client in dict.fromkeys((*of_clients, *everywhere))
    }
    result["clientScopeMappings"] = {client: entries for client, entries in mapped.items() if entries}
    result["groups"] = [_bare(group) for group in live.get("groups") or []]
    for key, default in {**DEFAULT_SCOPES, "defaultGroups": ()}.items():
        if key in written:
            result[key] = _like(written[key], filled[key], live.get(key))
        elif not same(list(default), live.get(key, list(default))):
            result[key] = live[key]
    result["components"] = exported_tree(
        written.get("components"), filled.get("components"), live.get("components"), _like, _bare
    )
    result["requiredActions"] = _required_actions(written, live)
    for kind, (part, _) in kinds.POLICIES.items():
        text, full, have = (kinds.policies(realm, kind) for realm in (written, filled, live))
        result[kind] = {part: _listed(text, full, have, lambda one: one)}
    result["users"] = _users(written, filled, live)
    placed: dict[str, Any] = _placed(result, urls)
    nothing = ([], {}, *({part: []} for part, _ in kinds.POLICIES.values()))
    kept = {key: value for key, value in placed.items() if value not in nothing or key in written}
    return {**kept, **{key: written[key] for key in LAST if key in written}}


def _like(written: Any, filled: Any, live: Any) -> Any:
    """Live values in the form of what is declared; as it was written where nothing has changed."""
    if isinstance(written, Mapping) and isinstance(live, Mapping):
        return {key: _like(value, filled[key], live.get(key)) for key, value in written.items()}
    if same(filled, live) or live in (HIDDEN, [HIDDEN]) or (isinstance(filled, str) and "@secret:" in filled):
        return written
    if live is None:
        # Deleted by somebody: nothing says so better than an empty value of the same kind.
        return type(written)() if isinstance(written, str | list | Mapping) else None
    return live


def _changed(defaults: Object, live: Object, have: Object) -> dict[str, Any]:
    """What is not declared and no longer as Keycloak makes it; of attributes those that are neither."""
    result: dict[str, Any] = {}
    for key, default in defaults.items():
        if key not in live:
            continue
        value, mine = live[key], have.get(key)
        if isinstance(default, Mapping) and isinstance(value, Mapping):
            known = mine if isinstance(mine, Mapping) else {}
            more = {
                name: item for name, item in value.items()
                if name not in known and name not in NOISE and item != UNKNOWN and not same(default.get(name), item)
            }  # fmt: skip
            if more:
                result[key] = {**known, **more}
        elif key not in have and not same(default, value):
            result[key] = value
    return result


def _bare(value: Any) -> Any:
    """An object without what Keycloak adds and without secrets."""
    if isinstance(value, Mapping):
        items = {key: _bare(item) for key, item in value.items() if key not in NOISE}
        return {key: item for key, item in items.items() if item not in ("", [], {}, *HIDES, None)}
    return [_bare(item) for item in value] if isinstance(value, list) else value


def _listed(
    text: Mapping[str, Object], filled: Mapping[str, Object], live: Mapping[str, Object], new: Callable[[Object], Any]
) -> list[Any]:  # fmt: skip
    """Declared objects as they are now, and what somebody made besides. Each argument: name -> object."""
    kept = [_like(one, filled[name], live[name]) for name, one in text.items() if name in live]
    return [*kept, *(new(one) for name, one in live.items() if name not in text)]


def _objects(items: Callable[[Object], Mapping[str, Item]], written: Object, filled: Object, live: Object) -> list[Any]:
    text, full, have = ({name: one.content for name, one in items(realm).items()} for realm in (written, filled, live))
    return _listed(text, full, have, _bare)


def _mappers(written: Object, filled: Object, live: Object) -> dict[str, list[Any]]:
    text, full, have = (named(one.get("protocolMappers")) for one in (written, filled, live))
    found = _listed(text, full, have, _bare)
    return {"protocolMappers": found} if found else {}


def _scopes(written: Object, filled: Object, live: Object, found: Iterable[str]) -> list[Any]:
    have, full = named(live.get("clientScopes")), named(filled.get("clientScopes"))
    result: list[Any] = []
    for name, scope in named(written.get("clientScopes")).items():
        if name in have:
            result.append({**_like(scope, full[name], have[name]), **_mappers(scope, full[name], have[name])})
    return [*result, *(_bare(have[name]) for name in found)]


def _clients(written: Object, filled: Object, live: Object, found: Iterable[str]) -> list[Any]:
    have, full = named(live.get("clients"), "clientId"), named(filled.get("clients"), "clientId")
    result: list[Any] = []
    for name, client in named(written.get("clients"), "clientId").items():
        if name in have:
            one = _like(without(client, ("protocolMappers",)), full[name], have[name])
            if name not in OWN_CLIENTS:
                # What else Keycloak gives its own differs from client to client.
                one |= {**_changed(_defaults(have[name], live), have[name], one), **_mappers(client, full[name], have[name])}
            result.append(one)
    for name in found:
        made = _changed(_defaults(have[name], live), have[name], {})
        result.append({"clientId": name, **made, **_mappers({}, {}, have[name])})
    return result


def _defaults(client: Object, live: Object) -> dict[str, Any]:
    """What Keycloak gives a client of its kind in this realm."""
    defaults = {**without(CLIENT, ("protocolMappers",)), **new_clients_scopes(client, live)}
    if client.get("serviceAccountsEnabled"):
        defaults["defaultClientScopes"] = [*defaults["defaultClientScopes"], "service_account"]
    return defaults


def _roles(written: Object, filled: Object, live: Object, found: Iterable[str]) -> dict[str, Any]:
    text, full, have = (
        {name: item.content for name, item in KINDS["roles"].items(realm).items()} for realm in (written, filled, live)
    )
    realm = [_like(one, full[name], have[name]) for name, one in text.items() if name in have]
    result: dict[str, Any] = {"realm": [*realm, *(_bare(have[name]) for name in found)]}
    clients = {
        client: [_bare(role) for role in roles]
        for client, roles in ((live.get("roles") or {}).get("client") or {}).items() if client not in OWN_CLIENTS and roles
    }  # fmt: skip
    return result | ({"client": clients} if clients else {})


def _mappings(written: Any, live: Any, clients: set[str]) -> list[Any]:
    """Those of clients that stand in the declaration, and of client scopes that are not Keycloak's own."""
    now = {rights.holder(entry): entry["roles"] for entry in live or []}
    declared = {rights.holder(entry): entry for entry in written or []}
    kept = [
        {**entry, "roles": _like(entry["roles"], entry["roles"], now.get(holder, []))}
        for holder, entry in declared.items() if holder[0] == "clientScope" or holder[1] in clients
    ]  # fmt: skip
    more = [
        {kind: name, "roles": roles} for (kind, name), roles in now.items()
        if (kind, name) not in declared and (name in clients if kind == "client" else name not in OWN_SCOPES)
    ]  # fmt: skip
    return [*kept, *more]


def _required_actions(written: Object, live: Object) -> list[Any]:
    declared = named(written.get("requiredActions"), "alias")
    result = []
    for action in live.get("requiredActions") or []:
        now = (action["enabled"], action["defaultAction"])
        if action["alias"] in declared:
            result.append(_like(declared[action["alias"]], declared[action["alias"]], action))
        elif REQUIRED_ACTIONS.get(action["alias"], now) != now:
            result.append({"alias": action["alias"], "enabled": now[0], "defaultAction": now[1]})
    return result


def _flows(written: Object, filled: Object, live: Object) -> tuple[list[Object], list[Object]]:
    """Flows and configurations of the live realm but Keycloak's own; as they were written where nothing has changed."""
    wanted, have, text = Flows.of(filled), Flows.of(live), Flows.of(written)
    extra = undeclared_flows(filled, live)
    flows: list[Object] = []
    configs: list[Object] = []
    for alias in [*(one for one in wanted.tops if one in have.tops), *extra]:
        known = alias in wanted.flows and not unlike(alias, wanted, have)
        source = text if known else have
        reached = source.reach(alias)
        flows += [source.flows[name] if known else _flow(name, have) for name in reached]
        configs += [text.configs[name] if known else _flow_config(name, text, have) for name in source.configured(reached)]
    return _in_order(flows, text.flows), _in_order(configs, text.configs)


def _in_order(found: list[Object], written: Iterable[str]) -> list[Object]:
    """As they stand in the file, and what is new after that."""
    place = {alias: number for number, alias in enumerate(written)}
    return sorted(found, key=lambda one: place.get(one["alias"], len(place)))


def _flow_config(alias: str, text: Flows, have: Flows) -> dict[str, Any]:
    """Secrets as the file refers to them, and none of its own."""
    written = (text.configs.get(alias) or {}).get("config") or {}
    values = {
        key: written.get(key) if value in (HIDDEN, UNKNOWN) else value
        for key, value in (have.configs[alias].get("config") or {}).items()
    }
    return {"alias": alias, "config": {key: value for key, value in values.items() if value is not None}}


def _flow(alias: str, have: Flows) -> dict[str, Any]:
    flow = have.flows[alias]
    kept = ("authenticator", "flowAlias", "requirement", "priority", "authenticatorConfig")
    return {
        **{key: flow[key] for key in ("alias", "description", "providerId", "topLevel") if key in flow},
        "authenticationExecutions": [{key: one[key] for key in kept if key in one} for one in have.executions(alias)],
    }


def _users(written: Object, filled: Object, live: Object) -> list[Any]:
    """The declared ones only: all others are data. Of them only what a plan compares."""
    have, full = named(live.get("users"), "username"), named(filled.get("users"), "username")
    compared = (*rights.ROLES_OF_USERS[:3], "attributes")
    result = []
    for name, user in named(written.get("users"), "username").items():
        if name in have:
            now = {key: user[key] for key in user if key in compared}
            result.append({**user, **_like(now, full[name], have[name])})
    return result


def _placed(value: Any, urls: Mapping[str, str]) -> Any:
    if isinstance(value, str):
        for name, url in urls.items():
            value = re.sub(rf"{re.escape(url)}(?=/|$)", f"${{{name}}}", value)
        return value
    if isinstance(value, Mapping):
        return {key: _placed(item, urls) for key, item in value.items()}
    return [_placed(item, urls) for item in value] if isinstance(value, list) else value
