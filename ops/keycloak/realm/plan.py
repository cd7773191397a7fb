"""The realm's declaration (config/keycloak/realm.yaml) against the live realm: which changes make the second the first. Pure.

The live realm has the form of Keycloak's partial export, with its clients as the admin API lists them, with the declared users,
and with references in place of secrets (`change.masked`). Nobody's change of what is not declared is touched.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from fnmatch import fnmatchcase
from typing import Any

from ops.keycloak.realm import flows, kinds, rights
from ops.keycloak.realm.change import Change, Object, Request, differences, merged, without
from ops.keycloak.realm.components import reconciled_components
from ops.keycloak.realm.declaration import PARTS, Declaration
from ops.keycloak.realm.defaults import OWN_CLIENTS, REALM
from ops.keycloak.realm.kinds import KINDS, POLICIES, policies, reconciled

LATER = (
    "authenticationFlows", "authenticatorConfig", "clientPolicies", "clientProfiles", "clientScopes", "components",
    "defaultDefaultClientScopes", "defaultGroups", "defaultOptionalClientScopes", "identityProviderMappers",
    "identityProviders", "requiredActions", *flows.BINDINGS,
)  # fmt: skip
"""What a realm that is made with them would have instead of Keycloak's own, not beside it, and what names such.
They come afterwards."""


def plan_realm(declaration: Declaration, live: Object) -> tuple[Change, ...]:
    """Changes in an order in which each finds what it refers to; none where the live realm is as declared.

    live: empty where there is no such realm. It is made by one change then; what that leaves is found by the next plan.
    Raises UsageProblem where it declares a flow that is Keycloak's own, or one whose alias is taken.
    """
    if not live:
        return (Change("create", "realm", declaration.name, Request("POST", (), _creation(declaration.realm))),)
    turnover = flows.turnover(declaration.realm, live)
    realm, live = turnover.realm, turnover.live
    changes = (
        *turnover.before,
        *reconciled(KINDS["roles"], realm, live),
        *reconciled(KINDS["clientScopes"], realm, live),
        *rights.default_scopes(realm, live),
        *reconciled(KINDS["clients"], realm, live),
        *reconciled(kinds.CLIENT_ROLES, realm, live),
        *_settings(realm, live),
        *rights.composites(realm, live),
        *rights.scopes_of_clients(realm, live),
        *rights.scope_mappings(realm, live),
        *rights.groups_with_roles(realm, live),
        *rights.default_groups(realm, live),
        *reconciled_components(realm, live),
        *reconciled(KINDS["identityProviders"], realm, live),
        *reconciled(kinds.PROVIDER_MAPPERS, realm, live),
        *reconciled(kinds.REQUIRED_ACTIONS, realm, live),
        *rights.users(realm, live),
        *kinds.reconciled_policies(realm, live),
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


def _creation(realm: Object) -> dict[str, Any]:
    """The realm as it is made. What refers to something of Keycloak's own, which is not there yet, is left for later."""
    body = without(realm, (*LATER, "roles"))
    roles = (realm.get("roles") or {}).get("realm") or []
    names = {role["name"] for role in roles}
    body["roles"] = {"realm": [
        {**role, "composites": {"realm": [name for name in role["composites"].get("realm", []) if name in names]}}
        if "composites" in role else role
        for role in roles
    ]}  # fmt: skip
    later = ("defaultClientScopes", "optionalClientScopes", kinds.OVERRIDES)
    # Nor are Keycloak's own clients sent: it makes them, with the roles that belong to them, only where nobody else does.
    body["clients"] = [without(client, later) for client in realm.get("clients", []) if client["clientId"] not in OWN_CLIENTS]
    default = f"default-roles-{realm['realm']}"
    for role in roles:
        if role["name"] == default:
            # Without it Keycloak would make a second one of another name.
            body["defaultRole"] = without(role, ("composites",))
    return body


def _settings(realm: Object, live: Object) -> Iterator[Change]:
    declared = without(realm, (*PARTS, "realm"))
    found = tuple(differences(declared, live))
    if found:
        # All of them: some are taken up only together with others (one number of the OTP policy alone is ignored).
        body = {key: value for key, value in merged(declared, live).items() if key in REALM}
        yield Change("update", "realm", str(realm["realm"]), Request("PUT", (), body), found)


def undeclared(realm: Object, live: Object) -> dict[str, list[str]]:
    """Kind -> names of what somebody made in the live realm and the declaration does not have; Keycloak's own left out."""
    found = {"authenticationFlows": flows.undeclared_flows(realm, live)}
    for key in sorted(POLICIES):
        found[key] = [name for name in policies(live, key) if name not in policies(realm, key)]
    for key, kind in KINDS.items():
        declared = kind.items(realm)
        there = kind.items(live).items()
        found[key] = [name for name, item in there if name not in declared and not kind.own(name, item, realm)]
    return found


def _pruned(declaration: Declaration, live: Object) -> Iterator[Change]:
    realm, found = declaration.realm, undeclared(declaration.realm, live)
    doomed = {
        kind: [name for name in found[kind] if any(fnmatchcase(name, pattern) for pattern in patterns)]
        for kind, patterns in declaration.prune.items()
    }
    # Policies before the profiles that they name, and flows after all that may use them.
    for key in sorted(doomed, key=lambda kind: (kind == "authenticationFlows", kind)):
        if key in POLICIES:
            yield from kinds.without_policies(realm, live, key, doomed[key])
        elif key == "authenticationFlows":
            after = _as_declared(realm, live, doomed)
            yield from (flows.removal(name, "delete") for name in doomed[key] if not flows.in_use(name, after))
        else:
            there = KINDS[key].items(live)
            yield from (Change("delete", KINDS[key].word, name, Request("DELETE", there[name].path)) for name in doomed[key])


def _as_declared(realm: Object, live: Object, doomed: Mapping[str, list[str]]) -> dict[str, Any]:
    """The live realm with its bindings of flows as they are after all other changes: what is in use is never deleted."""

    def kept(kind: str, key: str) -> list[dict[str, Any]]:
        declared = kinds.named(realm.get(kind), key)
        gone = doomed.get(kind, [])
        return [merged(declared.get(one[key], {}), one) for one in live.get(kind) or [] if one[key] not in gone]

    bindings = {key: realm[key] for key in flows.BINDINGS if key in realm}
    return {
        **merged(bindings, live), "clients": kept("clients", "clientId"),
        "identityProviders": kept("identityProviders", "alias"),
    }  # fmt: skip


def losses(changes: tuple[Change, ...], realm: str) -> tuple[str, ...]:
    """What is deleted, in words, for whoever has to confirm it."""
    return tuple(f"{one.kind} {one.name} of realm {realm}" for one in changes if one.action == "delete")
