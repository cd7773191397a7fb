"""The live realm as a declaration: what is declared as it is now, and besides it what somebody made or changed. Pure.

Secrets never come into it: a reference stays where the declaration has one. Addresses become placeholders again.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from typing import Any

from ops.keycloak.realm import components, policies, rights
from ops.keycloak.realm.compare import HIDDEN, UNKNOWN, same, without
from ops.keycloak.realm.defaults import CLIENT, DEFAULT_SCOPES, OWN_CLIENTS, OWN_SCOPES, REALM, REQUIRED_ACTIONS
from ops.keycloak.realm.flows import Flows, undeclared_flows, unlike
from ops.keycloak.realm.objects import named, new_clients_scopes
from ops.keycloak.realm.plan import PARTS, undeclared

NOISE = {
    "id", "containerId", "clientRole", "access", "notBefore", "path", "subGroupCount", "composite", "internalId", "totp",
    "createdTimestamp", "disableableCredentialTypes", "clientSecret", "secret", "client.secret.creation.time", "realm_client",
}  # fmt: skip
"""What Keycloak adds by itself, and secrets."""
HIDES = (HIDDEN, UNKNOWN, [HIDDEN], [UNKNOWN])
LAST = ("prune",)


def export(
    written: Mapping[str, Any], filled: Mapping[str, Any], live: Mapping[str, Any], urls: Mapping[str, str]
) -> dict[str, Any]:
    """A declaration of the live realm.

    Parameters
    ----------
    written: the declaration as it stands in the file. filled: the same with its placeholders filled.
    live: the realm as `plan_realm` takes it. urls: placeholder -> what it stands for, for values that are new.
    """
    found = undeclared(filled, live)
    result: dict[str, Any] = {"realm": written["realm"]}
    result |= _like(without(written, (*PARTS, *LAST, "realm")), filled, live)
    result |= _changed(REALM, live, result)
    result["roles"] = _roles(written, filled, live, found["roles"])
    result["authenticationFlows"], result["authenticatorConfig"] = _flows(written, filled, live)
    for kind, key, own in (("clientScopes", "name", OWN_SCOPES), ("identityProviders", "alias", ())):
        result[kind] = _objects(written, filled, live, kind, key, own)
    result["clients"] = _clients(written, filled, live, found)
    result["identityProviderMappers"] = _objects(written, filled, live, "identityProviderMappers", "name", ())
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
    result["components"] = components.exported(
        written.get("components"), filled.get("components"), live.get("components"), _like, _bare
    )
    result["requiredActions"] = _required_actions(written, live)
    for kind, (part, _) in policies.KINDS.items():
        result[kind] = {part: _policies(written, filled, live, kind)}
    result["users"] = _users(written, filled, live)
    placed: dict[str, Any] = _placed(result, urls)
    nothing = ([], {}, *({part: []} for part, _ in policies.KINDS.values()))
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


def _changed(defaults: Mapping[str, Any], live: Mapping[str, Any], have: Mapping[str, Any]) -> dict[str, Any]:
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


def _objects(
    written: Mapping[str, Any], filled: Mapping[str, Any], live: Mapping[str, Any], kind: str, key: str, own: Iterable[str]
) -> list[Any]:  # fmt: skip
    have, full = named(live.get(kind), key), named(filled.get(kind), key)
    declared = named(written.get(kind), key)
    result = [_like(one, full[name], have[name]) for name, one in declared.items() if name in have]
    for one in result:
        name = one[key]
        if mappers := _mappers(declared[name], full[name], have[name]):
            one["protocolMappers"] = mappers
    return [*result, *(_bare(one) for name, one in have.items() if name not in declared and name not in own)]


def _mappers(written: Mapping[str, Any], filled: Mapping[str, Any], live: Mapping[str, Any]) -> list[Any]:
    have, full = named(live.get("protocolMappers")), named(filled.get("protocolMappers"))
    declared = named(written.get("protocolMappers"))
    kept = [_like(one, full[name], have[name]) for name, one in declared.items() if name in have]
    return [*kept, *(_bare(one) for name, one in have.items() if name not in declared)]


def _clients(
    written: Mapping[str, Any], filled: Mapping[str, Any], live: Mapping[str, Any], found: Mapping[str, list[str]]
) -> list[Any]:
    have, full = named(live.get("clients"), "clientId"), named(filled.get("clients"), "clientId")
    result: list[Any] = []
    for name, client in named(written.get("clients"), "clientId").items():
        if name in have:
            one = _like(without(client, ("protocolMappers",)), full[name], have[name])
            if name in OWN_CLIENTS:
                # What else Keycloak gives them differs from client to client.
                result.append(one)
                continue
            one |= _changed(_defaults(have[name], live), have[name], one)
            mappers = _mappers(client, full[name], have[name])
            result.append({**one, "protocolMappers": mappers} if mappers else one)
    for name in found["clients"]:
        if name not in OWN_CLIENTS:
            one = {"clientId": name, **_changed(_defaults(have[name], live), have[name], {})}
            mappers = [_bare(mapper) for mapper in have[name].get("protocolMappers") or []]
            result.append({**one, "protocolMappers": mappers} if mappers else one)
    return result


def _defaults(client: Mapping[str, Any], live: Mapping[str, Any]) -> dict[str, Any]:
    """What Keycloak gives a client of its kind in this realm."""
    defaults = {**without(CLIENT, ("protocolMappers",)), **new_clients_scopes(client, live)}
    if client.get("serviceAccountsEnabled"):
        defaults["defaultClientScopes"] = [*defaults["defaultClientScopes"], "service_account"]
    return defaults


def _roles(
    written: Mapping[str, Any], filled: Mapping[str, Any], live: Mapping[str, Any], found: Iterable[str]
) -> dict[str, Any]:
    declared, full = written.get("roles") or {}, filled.get("roles") or {}
    everywhere = live.get("roles") or {}
    have = named(everywhere.get("realm"))
    names = named(declared.get("realm"))
    realm = [_like(one, named(full["realm"])[name], have[name]) for name, one in names.items() if name in have]
    result: dict[str, Any] = {"realm": [*realm, *(_bare(have[name]) for name in found)]}
    clients = {
        client: [_bare(role) for role in roles]
        for client, roles in (everywhere.get("client") or {}).items() if client not in OWN_CLIENTS and roles
    }  # fmt: skip
    return result | ({"client": clients} if clients else {})


def _mappings(written: Any, live: Any, clients: set[str]) -> list[Any]:
    """Those of clients that stand in the declaration, and of client scopes that are not Keycloak's own."""
    now = {_holder(entry): entry["roles"] for entry in live or []}
    declared = {_holder(entry): entry for entry in written or []}
    kept = [
        {**entry, "roles": _like(entry["roles"], entry["roles"], now.get(holder, []))}
        for holder, entry in declared.items() if holder[0] == "clientScope" or holder[1] in clients
    ]  # fmt: skip
    more = [
        {kind: name, "roles": roles} for (kind, name), roles in now.items()
        if (kind, name) not in declared and (name in clients if kind == "client" else name not in OWN_SCOPES)
    ]  # fmt: skip
    return [*kept, *more]


def _holder(entry: Mapping[str, Any]) -> tuple[str, str]:
    kind = "client" if "client" in entry else "clientScope"
    return kind, entry[kind]


def _required_actions(written: Mapping[str, Any], live: Mapping[str, Any]) -> list[Any]:
    declared = named(written.get("requiredActions"), "alias")
    result = []
    for action in live.get("requiredActions") or []:
        now = (action["enabled"], action["defaultAction"])
        if action["alias"] in declared:
            result.append(_like(declared[action["alias"]], declared[action["alias"]], action))
        elif REQUIRED_ACTIONS.get(action["alias"], now) != now:
            result.append({"alias": action["alias"], "enabled": now[0], "defaultAction": now[1]})
    return result


def _flows(
    written: Mapping[str, Any], filled: Mapping[str, Any], live: Mapping[str, Any]
) -> tuple[list[Mapping[str, Any]], list[Mapping[str, Any]]]:
    """Flows and configurations of the live realm but Keycloak's own; as they were written where nothing has changed."""
    wanted, have, text = Flows.of(filled), Flows.of(live), Flows.of(written)
    extra = undeclared_flows(filled, live)
    flows: list[Mapping[str, Any]] = []
    configs: list[Mapping[str, Any]] = []
    for alias in [*(one for one in wanted.tops if one in have.tops), *extra]:
        known = alias in wanted.flows and not unlike(alias, wanted, have)
        source = text if known else have
        reached = source.reach(alias)
        flows += [source.flows[name] if known else _flow(name, have) for name in reached]
        configs += [text.configs[name] if known else _flow_config(name, text, have) for name in source.configured(reached)]
    return _in_order(flows, text.flows), _in_order(configs, text.configs)


def _in_order(found: list[Mapping[str, Any]], written: Iterable[str]) -> list[Mapping[str, Any]]:
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


def _policies(written: Mapping[str, Any], filled: Mapping[str, Any], live: Mapping[str, Any], kind: str) -> list[Any]:
    declared, full, have = (policies.listed(realm, kind) for realm in (written, filled, live))
    kept = [_like(one, full[name], have[name]) for name, one in declared.items() if name in have]
    return [*kept, *(one for name, one in have.items() if name not in declared)]


def _users(written: Mapping[str, Any], filled: Mapping[str, Any], live: Mapping[str, Any]) -> list[Any]:
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
