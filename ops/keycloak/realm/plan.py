"""The realm's declaration (config/keycloak/realm.yaml) against the live realm: which changes make the second the first. Pure.

The live realm has the form of Keycloak's partial export, with its clients as the admin API lists them, with the declared users,
and with references in place of secrets (`realm_compare.masked`). Nobody's change of what is not declared is touched.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from fnmatch import fnmatchcase
from typing import Any

import yaml

from ops.core.errors import UsageProblem, did_you_mean
from ops.keycloak.realm import components, flows, objects, policies, rights
from ops.keycloak.realm.change import Change, Ref, Request
from ops.keycloak.realm.compare import REFERENCE, differences, merged, without
from ops.keycloak.realm.defaults import CLIENT, OWN_CLIENTS, OWN_ROLES, OWN_SCOPES, REALM
from ops.keycloak.realm.flows_check import flow_problems
from ops.stack.yaml_model import load_yaml

PARTS = (
    "authenticationFlows", "authenticatorConfig", "clientPolicies", "clientProfiles", "clientScopeMappings", "clientScopes",
    "clients", "components", "defaultDefaultClientScopes", "defaultGroups", "defaultOptionalClientScopes", "groups",
    "identityProviderMappers", "identityProviders",
    "requiredActions", "roles", "scopeMappings", "users",
)  # fmt: skip
"""Keys of the declaration that hold objects of their own."""
PRUNABLE = (
    "authenticationFlows", "clientPolicies", "clientProfiles", "clientScopes", "clients", "components", "groups",
    "identityProviders", "protocolMappers", "roles",
)  # fmt: skip
LATER = (
    "authenticationFlows", "authenticatorConfig", "clientPolicies", "clientProfiles", "clientScopes", "components",
    "defaultDefaultClientScopes", "defaultGroups", "defaultOptionalClientScopes", "identityProviderMappers",
    "identityProviders", "requiredActions", *flows.BINDINGS,
)  # fmt: skip
"""What a realm that is made with them would have instead of Keycloak's own, not beside it, and what names such.
They come afterwards."""


@dataclass(frozen=True)
class Declaration:
    """What realm.yaml says."""

    realm: Mapping[str, Any]
    prune: Mapping[str, tuple[str, ...]] = field(default_factory=dict)

    @property
    def name(self) -> str:
        return str(self.realm["realm"])

    @property
    def secrets(self) -> frozenset[str]:
        """Names of the secrets that it refers to."""
        return frozenset(_references(self.realm))


def _references(value: Any) -> Iterator[str]:
    if isinstance(value, str):
        yield from REFERENCE.findall(value)
    elif isinstance(value, Mapping | list):
        for item in value.values() if isinstance(value, Mapping) else value:
            yield from _references(item)


def read_realm(text: str) -> Declaration:
    """A declaration that was found good when its release was sealed: by a version that may have known other keys."""
    found = dict(load_yaml(text))
    prune = found.pop("prune", None) or {}
    realm = {key: [] if value is None and key in PARTS else value for key, value in found.items()}
    return Declaration(realm, {kind: tuple(names or ()) for kind, names in prune.items() if kind in PRUNABLE})


def parse_realm(text: str, where: str) -> Declaration:
    """Read a declaration whose placeholders have been filled.

    Raises UsageProblem where it is no YAML, or says something that would be ignored.
    """
    try:
        found = load_yaml(text)
    except yaml.YAMLError as problem:
        raise UsageProblem(f"{where} is not valid YAML", " ".join(str(problem).split()), f"correct {where}") from problem
    if not isinstance(found, dict) or not isinstance(found.get("realm"), str):
        raise UsageProblem(f"{where} names no realm", "its first key is `realm: NAME`", f"correct {where}")
    known = {*REALM, *PARTS, "realm", "prune"}
    for key in found:
        if key not in known:
            raise UsageProblem(f'{where}: "{key}" cannot be declared', did_you_mean(key, known), f"correct {where}")
    for client in found.get("clients") or []:
        for key in client:
            if key not in {*CLIENT, "clientId", "secret"}:
                name = f"client {client.get('clientId')}"
                raise UsageProblem(f'{where}: {name} has no "{key}"', did_you_mean(key, CLIENT), f"correct {where}")
    for kind in found.get("prune") or {}:
        if kind not in PRUNABLE:
            raise UsageProblem(f'{where}: prune has no kind "{kind}"', did_you_mean(kind, PRUNABLE), f"correct {where}")
    for what, why in (*flow_problems(found), *components.component_problems(found.get("components"))):
        raise UsageProblem(f"{where}: {what}", why, f"correct {where}")
    return read_realm(text)


def plan_realm(declaration: Declaration, live: Mapping[str, Any]) -> tuple[Change, ...]:
    """Changes in an order in which each finds what it refers to; none where the live realm is as declared.

    Parameters
    ----------
    live: empty where there is no such realm. It is made by one change then; what that leaves is found by the next plan.

    Raises UsageProblem where it declares a flow that is Keycloak's own, or one whose alias is taken.
    """
    if not live:
        return (Change("create", "realm", declaration.name, Request("POST", (), _creation(declaration.realm))),)
    turnover = flows.turnover(declaration.realm, live)
    realm, live = turnover.realm, turnover.live
    changes = (
        *turnover.before,
        *objects.roles(realm, live),
        *objects.client_scopes(realm, live),
        *rights.default_scopes(realm, live),
        *objects.clients(realm, live),
        *objects.client_roles(realm, live),
        *_settings(realm, live),
        *rights.composites(realm, live),
        *rights.scopes_of_clients(realm, live),
        *rights.scope_mappings(realm, live),
        *rights.groups(realm, live),
        *rights.default_groups(realm, live),
        *components.components(realm, live),
        *objects.identity_providers(realm, live),
        *objects.required_actions(realm, live),
        *rights.users(realm, live),
        *policies.policies(realm, live),
        *turnover.after,
        *turnover.last,
        *_pruned(Declaration(realm, declaration.prune), live),
    )
    return tuple(sorted(changes, key=_turn))


def _turn(change: Change) -> int:
    """The account that makes the other changes gets its rights before them, and loses rights after them. It refers to nothing
    but Keycloak's own."""
    if not change.beyond_keeper:
        return 1
    return 2 if change.request.method == "DELETE" else 0


def _creation(realm: Mapping[str, Any]) -> dict[str, Any]:
    """The realm as it is made. What refers to something of Keycloak's own, which is not there yet, is left for later."""
    body = without(realm, (*LATER, "roles"))
    roles = (realm.get("roles") or {}).get("realm") or []
    names = {role["name"] for role in roles}
    body["roles"] = {"realm": [
        {**role, "composites": {"realm": [name for name in role["composites"].get("realm", []) if name in names]}}
        if "composites" in role else role
        for role in roles
    ]}  # fmt: skip
    later = ("defaultClientScopes", "optionalClientScopes", objects.OVERRIDES)
    # Nor are Keycloak's own clients sent: it makes them, with the roles that belong to them, only where nobody else does.
    body["clients"] = [without(client, later) for client in realm.get("clients", []) if client["clientId"] not in OWN_CLIENTS]
    default = f"default-roles-{realm['realm']}"
    for role in roles:
        if role["name"] == default:
            # Without it Keycloak would make a second one of another name.
            body["defaultRole"] = without(role, ("composites",))
    return body


def _settings(realm: Mapping[str, Any], live: Mapping[str, Any]) -> Iterator[Change]:
    declared = without(realm, (*PARTS, "realm"))
    found = tuple(differences(declared, live))
    if found:
        # All of them: some are taken up only together with others (one number of the OTP policy alone is ignored).
        body = {key: value for key, value in merged(declared, live).items() if key in REALM}
        yield Change("update", "realm", str(realm["realm"]), Request("PUT", (), body), found)


def undeclared(realm: Mapping[str, Any], live: Mapping[str, Any]) -> dict[str, list[str]]:
    """Kind -> names of what somebody made in the live realm and the declaration does not have; Keycloak's own left out."""

    def missing(kind: str, key: str, own: tuple[str, ...] = ()) -> list[str]:
        declared = {one[key] for one in realm.get(kind) or []}
        return [one[key] for one in live.get(kind) or [] if one[key] not in declared and one[key] not in own]

    declared_roles = {role["name"] for role in (realm.get("roles") or {}).get("realm") or []}
    own_roles = (*OWN_ROLES, f"default-roles-{realm['realm']}")
    mappers = {
        one["clientId"]: one.get("protocolMappers") or []
        for one in realm.get("clients") or [] if one["clientId"] not in OWN_CLIENTS
    }  # fmt: skip
    return {
        "authenticationFlows": flows.undeclared_flows(realm, live),
        **{
            key: [name for name in policies.listed(live, key) if name not in policies.listed(realm, key)]
            for key in ("clientPolicies", "clientProfiles")
        },
        "clients": missing("clients", "clientId", OWN_CLIENTS),
        "components": components.undeclared_components(realm, live),
        "roles": [
            role["name"] for role in (live.get("roles") or {}).get("realm") or []
            if role["name"] not in declared_roles and role["name"] not in own_roles
        ],
        "clientScopes": missing("clientScopes", "name", OWN_SCOPES),
        "groups": [path for path in rights.flat(live) if path not in rights.flat(realm)],
        "identityProviders": missing("identityProviders", "alias"),
        "protocolMappers": [
            f"{client['clientId']}/{mapper['name']}"
            for client in live.get("clients") or [] if client["clientId"] in mappers
            for mapper in client.get("protocolMappers") or []
            if mapper["name"] not in {one["name"] for one in mappers[client["clientId"]]}
        ],
    }  # fmt: skip


def _pruned(declaration: Declaration, live: Mapping[str, Any]) -> Iterator[Change]:
    realm, found = declaration.realm, undeclared(declaration.realm, live)
    doomed = {
        kind: [name for name in found[kind] if any(fnmatchcase(name, pattern) for pattern in patterns)]
        for kind, patterns in declaration.prune.items()
    }
    after = _as_declared(realm, live, doomed)
    # Policies before the profiles that they name, and flows after all that may use them.
    for kind in sorted(doomed, key=lambda kind: (kind == "authenticationFlows", kind)):
        if kind in policies.KINDS:
            yield from policies.without_these(realm, live, kind, doomed[kind])
            continue
        for name in doomed[kind]:
            if kind != "authenticationFlows" or not flows.in_use(name, after):
                yield _deletion(kind, name)


def _as_declared(realm: Mapping[str, Any], live: Mapping[str, Any], doomed: Mapping[str, list[str]]) -> dict[str, Any]:
    """The live realm with its bindings of flows as they are after all other changes: what is in use is never deleted."""

    def kept(kind: str, key: str) -> list[dict[str, Any]]:
        declared = objects.named(realm.get(kind), key)
        gone = doomed.get(kind, [])
        return [merged(declared.get(one[key], {}), one) for one in live.get(kind) or [] if one[key] not in gone]

    bindings = {key: realm[key] for key in flows.BINDINGS if key in realm}
    return {
        **merged(bindings, live), "clients": kept("clients", "clientId"),
        "identityProviders": kept("identityProviders", "alias"),
    }  # fmt: skip


def _deletion(kind: str, name: str) -> Change:
    client = name.partition("/")[0]
    kinds: dict[str, tuple[str, objects.Path]] = {
        "authenticationFlows": (objects.FLOW, ("authentication", "flows", Ref(objects.FLOW, name))),
        "clients": ("client", ("clients", Ref("client", name))),
        "components": (components.COMPONENT, ("components", Ref(components.COMPONENT, name))),
        "roles": ("role", ("roles", name)),
        "clientScopes": ("client scope", ("client-scopes", Ref("scope", name))),
        "groups": ("group", ("groups", Ref("group", name))),
        "identityProviders": ("identity provider", ("identity-provider", "instances", name)),
        "protocolMappers": ("mapper", (
            "clients", Ref("client", client), "protocol-mappers", "models", Ref("client mapper", name)
        )),
    }  # fmt: skip
    single, path = kinds[kind]
    return Change("delete", single, name, Request("DELETE", path))


def losses(changes: tuple[Change, ...], realm: str) -> tuple[str, ...]:
    """What is deleted, in words, for whoever has to confirm it."""
    return tuple(f"{one.kind} {one.name} of realm {realm}" for one in changes if one.action == "delete")
