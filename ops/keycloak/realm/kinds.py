"""The kinds of objects in a realm as a table: where each stands, what is compared, and the requests about it. Pure.

Keys of the table are those of a declaration. Authentication flows, whose objects are replaced as a whole, are in flows.py;
lists of roles and members in rights.py; what is special about components in components.py.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, replace
from typing import Any

from ops.keycloak.realm.change import Change, Difference, Object, Path, Ref, Request, differences, merged, without
from ops.keycloak.realm.components import COMPONENT, own_component, parent
from ops.keycloak.realm.components import flat as flat_components
from ops.keycloak.realm.defaults import CLIENT, DEFAULT_SCOPES, OWN, OWN_CLIENTS, OWN_SCOPES

FLOW = "authentication flow"
OVERRIDES = "authenticationFlowBindingOverrides"
"""Flows of a client in place of the realm's: by alias in a declaration, by id in the admin API."""
INSTANCES: Path = ("identity-provider", "instances")
COMPOSITES = ("composites", "composite")
OF_GROUPS = ("subGroups", "realmRoles", "clientRoles", "path")
CLIENTS_SCOPES = ("defaultClientScopes", "optionalClientScopes")


@dataclass(frozen=True)
class Item:
    """One object of a declaration or of a live realm. path: its own address. collection: where its like is made."""

    content: Object
    path: Path
    collection: Path


Items = Mapping[str, Item]
"""By name."""


@dataclass(frozen=True)
class Kind:
    """word: what one is called. items: those of a realm.

    elsewhere: keys that are compared elsewhere. own: whether one is never pruned, in a realm as declared: Keycloak's own.
    made: what is sent when one is made. always: Keycloak has them all; they are only changed.
    """

    word: str
    items: Callable[[Object], Items]
    elsewhere: tuple[str, ...] = ()
    own: Callable[[str, Item, Object], bool] = lambda name, item, realm: False
    made: Callable[[Object, Object, Object], Object] = lambda content, realm, live: content
    always: bool = False


def named(objects: Iterable[Object] | None, key: str = "name") -> dict[str, Object]:
    return {str(one[key]): one for one in objects or ()}


def _items(objects: Any, collection: Path, key: str = "name", *, ref: str = "", above: str = "") -> dict[str, Item]:
    """ref: kind of the reference where an address has the object's id. above: beginning of the names."""
    names = {f"{above}{name}": (name, one) for name, one in named(objects, key).items()}
    return {full: Item(one, (*collection, Ref(ref, full) if ref else name), collection) for full, (name, one) in names.items()}


def _client_roles(realm: Object) -> Items:
    found: dict[str, Item] = {}
    for client, roles in ((realm.get("roles") or {}).get("client") or {}).items():
        found |= _items(roles, ("clients", Ref("client", client), "roles"), above=f"{client}/")
    return found


def _client_scopes(realm: Object) -> Items:
    return _items(realm.get("clientScopes"), ("client-scopes",), ref="client scope")


def _clients(realm: Object) -> Items:
    return _items(realm.get("clients"), ("clients",), "clientId", ref="client")


def mappers(word: str, name: str, item: Item) -> Items:
    """Protocol mappers of a client or a client scope. word: that of its kind."""
    models: Path = (*item.path, "protocol-mappers", "models")
    return _items(item.content.get("protocolMappers"), models, ref=f"{word} mapper", above=f"{name}/")


def _mappers_of(word: str, owners: Callable[[Object], Items]) -> Callable[[Object], Items]:
    return lambda realm: {
        name: one for owner, item in owners(realm).items() for name, one in mappers(word, owner, item).items()
    }  # fmt: skip


def _provider_mappers(realm: Object) -> Items:
    found: dict[str, Item] = {}
    for one in realm.get("identityProviderMappers") or []:
        alias = one["identityProviderAlias"]
        found |= _items([one], (*INSTANCES, alias, "mappers"), ref="provider mapper", above=f"{alias}/")
    return found


def _components(realm: Object) -> Items:
    collection: Path = ("components",)
    return {path: Item(one, (*collection, Ref(COMPONENT, path)), collection) for path, one in flat_components(realm).items()}


def groups(realm: Object) -> dict[str, Item]:
    """By path, parents first."""
    found: dict[str, Item] = {}

    def walk(members: list[Object], above: str) -> None:
        collection: Path = ("groups", Ref("group", above), "children") if above else ("groups",)
        for group in members:
            path = f"{above}/{group['name']}"
            found[path] = Item(group, ("groups", Ref("group", path)), collection)
            walk(group.get("subGroups") or [], path)

    walk(realm.get("groups") or [], "")
    return found


def _made_client(client: Object, realm: Object, live: Object) -> Object:
    """Keycloak gives the realm's default scopes to a new client only where neither list is declared; one alone leaves the other
    empty (seen with 26.7.3)."""
    if not any(kind in client for kind in CLIENTS_SCOPES):
        return client
    return {**new_clients_scopes(client, {**live, **{key: realm[key] for key in DEFAULT_SCOPES if key in realm}}), **client}


def new_clients_scopes(client: Object, live: Object) -> dict[str, list[str]]:
    """Client scopes that Keycloak gives to a new client: those of the realm that are of its protocol."""
    protocols = {name: scope.get("protocol", "openid-connect") for name, scope in named(live.get("clientScopes")).items()}
    protocol = client.get("protocol", "openid-connect")
    return {
        kind: [name for name in live.get(key, CLIENT[kind]) if protocols.get(name, "openid-connect") == protocol]
        for kind, key in zip(CLIENTS_SCOPES, DEFAULT_SCOPES, strict=True)
    }


def _of_other_clients(name: str, item: Item, realm: Object) -> bool:
    """Whether a mapper is of a client that is not declared, or of one of Keycloak's own."""
    client = item.path[1]
    return isinstance(client, Ref) and (client.name in OWN_CLIENTS or client.name not in _clients(realm))


def _own_component(path: str, item: Item, realm: Object) -> bool:
    """Keycloak's own, keys, which `inv keycloak.rotate` makes and retires, and what goes with its parent."""
    return own_component(path) or bool(parent(path) and parent(path) not in _components(realm))


KINDS: Mapping[str, Kind] = {
    "clients": Kind(
        "client", _clients, ("protocolMappers", *CLIENTS_SCOPES), lambda name, *_: name in OWN_CLIENTS, _made_client
    ),
    "components": Kind(COMPONENT, _components, own=_own_component),
    "roles": Kind(
        "role", lambda realm: _items((realm.get("roles") or {}).get("realm"), ("roles",)), COMPOSITES,
        lambda name, _, realm: name in (*OWN["roles"], f"default-roles-{realm['realm']}"),
        lambda role, *_: without(role, COMPOSITES),
    ),
    "clientScopes": Kind("client scope", _client_scopes, ("protocolMappers",), lambda name, *_: name in OWN_SCOPES),
    "groups": Kind("group", groups, OF_GROUPS, made=lambda group, *_: without(group, OF_GROUPS)),
    "identityProviders": Kind(
        "identity provider", lambda realm: _items(realm.get("identityProviders"), INSTANCES, "alias")
    ),
    "protocolMappers": Kind("mapper", _mappers_of("client", _clients), own=_of_other_clients),
}  # fmt: skip
"""Kinds of which something may be pruned, in the order in which they are listed."""
CLIENT_ROLES = replace(KINDS["roles"], items=_client_roles)
SCOPE_MAPPERS = Kind("mapper", _mappers_of("client scope", _client_scopes))
PROVIDER_MAPPERS = Kind("mapper", _provider_mappers)
REQUIRED_ACTIONS = Kind(
    "required action", lambda realm: _items(realm.get("requiredActions"), ("authentication", "required-actions"), "alias"),
    always=True,
)  # fmt: skip


def reconciled(kind: Kind, realm: Object, live: Object) -> Iterator[Change]:
    """Every object of a kind: made where it is missing, changed where it differs; with its protocol mappers."""
    have = kind.items(live)
    for name, item in kind.items(realm).items():
        yield from reconciled_one(kind, name, item, have.get(name), realm, live)


def reconciled_one(kind: Kind, name: str, item: Item, now: Item | None, realm: Object, live: Object) -> Iterator[Change]:
    if now is None and not kind.always:
        body = kind.made(item.content, realm, live)
        yield Change("create", kind.word, name, with_flow_ids(Request("POST", item.collection, body)))
        return
    have = now.content if now else {}
    if found := tuple(differences(item.content, have, kind.elsewhere)):
        request = Request("PUT", item.path, merged(item.content, have, kind.elsewhere))
        yield Change("update", kind.word, name, with_flow_ids(request), found)
    if now:
        there = mappers(kind.word, name, now)
        for mapper, one in mappers(kind.word, name, item).items():
            yield from reconciled_one(KINDS["protocolMappers"], mapper, one, there.get(mapper), realm, live)


def with_flow_ids(request: Request) -> Request:
    """A request about a client, which names flows by their ids. An empty value takes a binding away."""
    used = (request.body or {}).get(OVERRIDES)
    if not used:
        return request
    bound = {key: Ref(FLOW, alias) if alias else alias for key, alias in used.items()}
    return replace(request, body={**request.body, OVERRIDES: bound})


# Client policies and the profiles that they apply. Keycloak takes each of the two lists whole: what is not declared is sent
# along as it is.

POLICIES = {"clientProfiles": ("profiles", "client profile"), "clientPolicies": ("policies", "client policy")}
"""Key of the declaration -> its list, which is also the last part of the address, and what one of them is called."""


def policies(realm: Object, key: str) -> dict[str, Object]:
    """Those of the realm's own: Keycloak has others, which every realm may name and none can change."""
    return named((realm.get(key) or {}).get(POLICIES[key][0]))


def reconciled_policies(realm: Object, live: Object) -> Iterator[Change]:
    """Profiles first: policies name them."""
    for key, (_, word) in POLICIES.items():
        declared, have = policies(realm, key), policies(live, key)
        found = [
            Difference(f"{name}.{one.path}", one.old, one.new)
            for name, wanted in declared.items() if name in have for one in differences(wanted, have[name])
        ]  # fmt: skip
        new = [name for name in declared if name not in have]
        if found or new:
            missing = [Difference(word, [], new)] if new else []
            request = _whole_list(key, _policies_wanted(realm, live, key))
            yield Change("update", "realm", str(realm["realm"]), request, (*missing, *found))


def _policies_wanted(realm: Object, live: Object, key: str) -> dict[str, Object]:
    """What is not declared stays, and stays where it is."""
    declared, have = policies(realm, key), policies(live, key)
    return {**have, **{name: merged(one, have.get(name) or {}) for name, one in declared.items()}}


def without_policies(realm: Object, live: Object, key: str, names: list[str]) -> Iterator[Change]:
    """Each by a request of its own. names: those that go."""
    left = _policies_wanted(realm, live, key)
    for name in names:
        left.pop(name, None)
        yield Change("delete", POLICIES[key][1], name, _whole_list(key, left))


def _whole_list(key: str, objects: Mapping[str, Any]) -> Request:
    part = POLICIES[key][0]
    return Request("PUT", ("client-policies", part), {part: list(objects.values())})
