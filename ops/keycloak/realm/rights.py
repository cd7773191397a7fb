"""Who may do what: what roles are composed of, which roles tokens may carry, groups and users with their roles.

A list of roles that is declared is declared whole: what is missing is given, what is too much is taken away.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from typing import Any

from ops.keycloak.realm.change import Change, Difference, Object, Path, Ref, Request, differences, merged, without
from ops.keycloak.realm.defaults import DEFAULT_SCOPES
from ops.keycloak.realm.kinds import CLIENT_ROLES, KINDS, groups, named, reconciled_one

ROLES_OF_USERS = ("realmRoles", "clientRoles", "groups", "serviceAccountClientId")


def composites(realm: Object, live: Object) -> Iterator[Change]:
    for kind in (KINDS["roles"], CLIENT_ROLES):
        have = kind.items(live)
        for name, item in kind.items(realm).items():
            if "composites" in item.content:
                now = have[name].content.get("composites") or {} if name in have else {}
                path: Path = (*item.path, "composites")
                yield from _two_kinds("role", name, "composites", item.content["composites"], now, path, path)


def _two_kinds(
    kind: str, name: str, what: str, declared: Object, now: Object, realm_path: Path, client_path: Path
) -> Iterator[Change]:
    """Roles of the realm and of clients. declared, now: `realm` -> names, `client` -> client -> names."""
    if "realm" in declared:
        yield from _roles(kind, name, what, declared["realm"], now.get("realm"), realm_path)
    for client, roles in (declared.get("client") or {}).items():
        have = (now.get("client") or {}).get(client)
        path = client_path if realm_path == client_path else (*client_path, Ref("client", client))
        yield from _roles(kind, name, f"{what} of {client}", roles, have, path, of=client)


def _roles(
    kind: str, name: str, what: str, declared: list[str], now: list[str] | None, path: Path, of: str = ""
) -> Iterator[Change]:  # fmt: skip
    have = list(now or [])
    for method, names, after in _to_do(declared, have):
        request = Request(method, path, roles=tuple(names), of=of)
        yield Change("update", kind, name, request, (Difference(what, have, after),))


def _to_do(declared: list[str], have: list[str]) -> Iterator[tuple[str, list[str], list[str]]]:
    """(method, members, list afterwards) of taking away and of giving."""
    gone = [one for one in have if one not in declared]
    added = [one for one in declared if one not in have]
    if gone:
        yield "DELETE", gone, [one for one in have if one not in gone]
    if added:
        yield "POST", added, [*have, *added]


def scopes_of_clients(realm: Object, live: Object) -> Iterator[Change]:
    """Default and optional client scopes. A client that is made gets them at once."""
    lists = {"defaultClientScopes": "default-client-scopes", "optionalClientScopes": "optional-client-scopes"}
    have = KINDS["clients"].items(live)
    yield from _leaving_first(
        change for name, item in KINDS["clients"].items(realm).items() if name in have for key, part in lists.items()
        for change in _members("client", name, key, item.content, have[name].content, (*item.path, part), "client scope")
    )  # fmt: skip


def default_scopes(realm: Object, live: Object) -> Iterator[Change]:
    """Client scopes that new clients get. Clients that there are keep theirs."""
    parts = ("default-default-client-scopes", "default-optional-client-scopes")
    yield from _leaving_first(
        change for key, part in zip(DEFAULT_SCOPES, parts, strict=True)
        for change in _members("realm", realm["realm"], key, realm, live, (part,), "client scope")
    )  # fmt: skip


def _leaving_first(changes: Iterable[Change]) -> list[Change]:
    """A scope is default or optional, never both: it leaves the one before it comes to the other."""
    return sorted(changes, key=lambda change: change.request.method)


def default_groups(realm: Object, live: Object) -> Iterator[Change]:
    """Groups that new users are members of."""
    yield from _members("realm", realm["realm"], "defaultGroups", realm, live, ("default-groups",), "group")


def _members(kind: str, name: str, key: str, declared: Object, live: Object, base: Path, of: str) -> Iterator[Change]:
    """A declared list of references, each taken away or given by one request. of: kind of what is referred to."""
    now = list(live.get(key) or [])
    for method, members, _ in _to_do(declared[key] or [], now) if key in declared else ():
        for one in members:
            verb = "PUT" if method == "POST" else method
            after = [*now, one] if verb == "PUT" else [other for other in now if other != one]
            yield Change("update", kind, name, Request(verb, (*base, Ref(of, one))), (Difference(key, now, after),))


def scope_mappings(realm: Object, live: Object) -> Iterator[Change]:
    """Roles that tokens of a client, or tokens with a client scope, may carry: of the realm, then of each client."""
    everywhere = live.get("clientScopeMappings") or {}
    lists = [("", realm.get("scopeMappings"), live.get("scopeMappings"))]
    lists += [(of, entries, everywhere.get(of)) for of, entries in (realm.get("clientScopeMappings") or {}).items()]
    for of, entries, found in lists:
        have = {holder(one): one["roles"] for one in found or []}
        what, part = (f"scope mappings of {of}", ("clients", Ref("client", of))) if of else ("scope mappings", ("realm",))
        for entry in entries or []:
            key, name = holder(entry)
            word, collection = ("client", "clients") if key == "client" else ("client scope", "client-scopes")
            path: Path = (collection, Ref(word, name), "scope-mappings", *part)
            yield from _roles(word, name, what, entry["roles"], have.get((key, name)), path, of=of)


def holder(entry: Object) -> tuple[str, str]:
    """Whose mappings: `client` or `clientScope`, and its name."""
    key = "client" if "client" in entry else "clientScope"
    return key, entry[key]


def groups_with_roles(realm: Object, live: Object) -> Iterator[Change]:
    have = groups(live)
    for path, item in groups(realm).items():
        now = have.get(path)
        yield from reconciled_one(KINDS["groups"], path, item, now, realm, live)
        yield from _mapped_roles("group", path, item.content, now.content if now else {}, item.path)


def _mapped_roles(kind: str, name: str, declared: Object, now: Object, own: Path) -> Iterator[Change]:
    wanted = {
        **({"realm": declared["realmRoles"]} if "realmRoles" in declared else {}),
        "client": declared.get("clientRoles") or {},
    }
    have = {"realm": now.get("realmRoles"), "client": now.get("clientRoles")}
    path: Path = (*own, "role-mappings")
    yield from _two_kinds(kind, name, "roles", wanted, have, (*path, "realm"), (*path, "clients"))


def users(realm: Object, live: Object) -> Iterator[Change]:
    """First users and service accounts: made where they are missing; later only attributes, groups and roles are compared.

    Their name, address and password, and whether they are enabled, are theirs and the operator's.
    """
    have = named(live.get("users"), "username")
    # Keycloak gives it to whoever it makes.
    fresh = {"realmRoles": [f"default-roles-{realm['realm']}"]}
    for user in realm.get("users") or []:
        name, service = user["username"], user.get("serviceAccountClientId")
        own: Path = ("users", Ref("service account", service) if service else Ref("user", name))
        now = have.get(name)
        if now is None and not service:
            yield Change("create", "user", name, Request("POST", ("users",), without(user, ROLES_OF_USERS)))
        elif now is not None and (found := tuple(differences({"attributes": user.get("attributes") or {}}, now))):
            attributes = {"attributes": user["attributes"]}
            body = merged(attributes, now, ROLES_OF_USERS)
            yield Change("update", "user", name, Request("PUT", own, body), found)
        yield from _mapped_roles("user", name, user, fresh if now is None else now, own)
        yield from _members("user", name, "groups", user, now or {}, (*own, "groups"), "group")


def names_of(mapping: Mapping[str, Any]) -> dict[str, Any]:
    """What the admin API says of somebody's roles, in the form of a declaration."""
    return {
        "realmRoles": [role["name"] for role in mapping.get("realmMappings") or []],
        "clientRoles": {
            client: [role["name"] for role in one["mappings"]] for client, one in (mapping.get("clientMappings") or {}).items()
        },
    }
