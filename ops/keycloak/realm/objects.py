"""Objects of the realm that stand on their own: roles, client scopes, clients and their mappers, identity providers."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import replace
from typing import Any

from ops.keycloak.realm.change import Change, Ref, Request
from ops.keycloak.realm.compare import differences, merged, without
from ops.keycloak.realm.defaults import CLIENT, DEFAULT_SCOPES

Object = Mapping[str, Any]
Path = tuple[str | Ref, ...]
OF_CLIENTS = ("protocolMappers", "defaultClientScopes", "optionalClientScopes")
"""Keys of a client that the admin API changes elsewhere."""
FLOW = "authentication flow"
OVERRIDES = "authenticationFlowBindingOverrides"
"""Flows of a client in place of the realm's: by alias in a declaration, by id in the admin API."""


def named(objects: Iterable[Object] | None, key: str = "name") -> dict[str, Object]:
    return {str(one[key]): one for one in objects or ()}


def reconciled(
    kind: str, name: str, declared: Object, live: Object | None, *, collection: Path, own: Path, skip: tuple[str, ...] = (),
    made_without: tuple[str, ...] = (),
) -> Iterator[Change]:  # fmt: skip
    """One object: made where it is missing, changed where it differs.

    Parameters
    ----------
    collection: where it is made. own: its own address. skip: keys that are compared elsewhere.
    made_without: keys that are of no use when it is made.
    """
    if live is None:
        yield Change("create", kind, name, Request("POST", collection, without(declared, made_without)))
        return
    found = tuple(differences(declared, live, skip))
    if found:
        yield Change("update", kind, name, Request("PUT", own, merged(declared, live, skip)), found)


def roles(realm: Object, live: Object) -> Iterator[Change]:
    """Roles of the realm, without what they are composed of."""
    have = named((live.get("roles") or {}).get("realm"))
    for role in (realm.get("roles") or {}).get("realm") or []:
        yield from _role(role, have.get(role["name"]), ("roles",), role["name"])


def client_roles(realm: Object, live: Object) -> Iterator[Change]:
    everywhere = (live.get("roles") or {}).get("client") or {}
    for client, declared in ((realm.get("roles") or {}).get("client") or {}).items():
        have = named(everywhere.get(client))
        for role in declared:
            base: Path = ("clients", Ref("client", client), "roles")
            yield from _role(role, have.get(role["name"]), base, f"{client}/{role['name']}")


def _role(role: Object, live: Object | None, base: Path, name: str) -> Iterator[Change]:
    skip = ("composites", "composite")
    yield from reconciled(
        "role", name, role, live, collection=base, own=(*base, role["name"]), skip=skip, made_without=skip
    )  # fmt: skip


def client_scopes(realm: Object, live: Object) -> Iterator[Change]:
    have = named(live.get("clientScopes"))
    for scope in realm.get("clientScopes") or []:
        name = scope["name"]
        own: Path = ("client-scopes", Ref("scope", name))
        yield from reconciled(
            "client scope", name, scope, have.get(name), collection=("client-scopes",), own=own, skip=("protocolMappers",)
        )
        if name in have:
            yield from _mappers("scope mapper", name, own, scope, have[name])


def clients(realm: Object, live: Object) -> Iterator[Change]:
    have = named(live.get("clients"), "clientId")
    for client in realm.get("clients") or []:
        name = client["clientId"]
        own: Path = ("clients", Ref("client", name))
        declared = client if name in have else {**_kept_scopes(client, realm, live), **client}
        for change in reconciled("client", name, declared, have.get(name), collection=("clients",), own=own, skip=OF_CLIENTS):
            yield replace(change, request=with_flow_ids(change.request))
        if name in have:
            yield from _mappers("client mapper", name, own, client, have[name])


def _kept_scopes(client: Object, realm: Object, live: Object) -> dict[str, list[str]]:
    """Keycloak gives the realm's default scopes to a new client only where neither list is declared; one alone leaves the other
    empty (seen with 26.7.3)."""
    kinds = ("defaultClientScopes", "optionalClientScopes")
    if not any(kind in client for kind in kinds):
        return {}
    return new_clients_scopes(client, {**live, **{key: realm[key] for key in DEFAULT_SCOPES if key in realm}})


def new_clients_scopes(client: Object, live: Object) -> dict[str, list[str]]:
    """Client scopes that Keycloak gives to a new client: those of the realm that are of its protocol."""
    protocols = {name: scope.get("protocol", "openid-connect") for name, scope in named(live.get("clientScopes")).items()}
    protocol = client.get("protocol", "openid-connect")
    kinds = zip(("defaultClientScopes", "optionalClientScopes"), DEFAULT_SCOPES, strict=True)
    return {
        kind: [name for name in live.get(key, CLIENT[kind]) if protocols.get(name, "openid-connect") == protocol]
        for kind, key in kinds
    }


def with_flow_ids(request: Request) -> Request:
    """A request about a client, which names flows by their ids. An empty value takes a binding away."""
    used = (request.body or {}).get(OVERRIDES)
    if not used:
        return request
    bound = {key: Ref(FLOW, alias) if alias else alias for key, alias in used.items()}
    return Request(request.method, request.path, {**request.body, OVERRIDES: bound})


def _mappers(kind: str, owner: str, base: Path, declared: Object, live: Object) -> Iterator[Change]:
    """Protocol mappers. kind: that of the reference by which its id is found."""
    have = named(live.get("protocolMappers"))
    models: Path = (*base, "protocol-mappers", "models")
    for mapper in declared.get("protocolMappers") or []:
        name = f"{owner}/{mapper['name']}"
        yield from reconciled(
            "mapper", name, mapper, have.get(mapper["name"]), collection=models, own=(*models, Ref(kind, name))
        )


def identity_providers(realm: Object, live: Object) -> Iterator[Change]:
    have = named(live.get("identityProviders"), "alias")
    instances: Path = ("identity-provider", "instances")
    for provider in realm.get("identityProviders") or []:
        alias = provider["alias"]
        yield from reconciled(
            "identity provider", alias, provider, have.get(alias), collection=instances, own=(*instances, alias)
        )
    mappers = {_mapper_name(one): one for one in live.get("identityProviderMappers") or []}
    for mapper in realm.get("identityProviderMappers") or []:
        name = _mapper_name(mapper)
        base: Path = (*instances, mapper["identityProviderAlias"], "mappers")
        yield from reconciled(
            "mapper", name, mapper, mappers.get(name), collection=base, own=(*base, Ref("provider mapper", name))
        )


def _mapper_name(mapper: Object) -> str:
    return f"{mapper['identityProviderAlias']}/{mapper['name']}"


def required_actions(realm: Object, live: Object) -> Iterator[Change]:
    """What users may be asked for at a login. Keycloak has them all; they are only switched."""
    have = named(live.get("requiredActions"), "alias")
    for action in realm.get("requiredActions") or []:
        found = tuple(differences(action, have.get(action["alias"], {})))
        if found:
            path: Path = ("authentication", "required-actions", action["alias"])
            body = merged(action, have.get(action["alias"], {}))
            yield Change("update", "required action", action["alias"], Request("PUT", path, body), found)
