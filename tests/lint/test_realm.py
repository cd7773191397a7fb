"""The realm's declaration: what may not be in it, and what must."""

from __future__ import annotations

import copy
import re
from collections.abc import Callable, Iterator
from typing import Any

import pytest
import yaml

from ops.core.machine import REPOSITORY
from ops.keycloak.failures.facts import REALM
from ops.keycloak.realm.declaration import parse_realm
from ops.keycloak.realm.defaults import CLIENT, OWN_CLIENTS, OWN_FLOWS
from ops.keycloak.realm.flows import bindings

from .deployed import Deployed

FOLDER = REPOSITORY / "config" / "keycloak"
TEXT = (FOLDER / "realm.yaml").read_text(encoding="utf-8")
KEYCLOAK = yaml.safe_load((REPOSITORY / "compose" / "compose.yaml").read_text())["services"]["keycloak"]
SECRETS = set(KEYCLOAK["x-cc03"]["api_secrets"])
MOUNTED = set(KEYCLOAK["secrets"])
PROBE = "cc03-probe"
"""The client and the user that try whether logins work: by password, with one that stays, and with tokens that open nothing."""
RIGHTS = {"manage-realm", "manage-clients", "manage-users", "view-events", "manage-identity-providers"}
"""What the keeper may hold: never the rights over other realms, nor those of an administrator as a whole."""

BEARER_ONLY = {"broker", "realm-management"}
"""Keycloak's own clients without a login of any kind. It refuses every change of the second (403)."""
LONGEST_ACCESS_TOKEN = 15 * 60
"""Seconds. The backend checks tokens by signature alone: a revoked one works until it expires."""


def realm_problems(realm: dict[str, Any]) -> Iterator[str]:
    if realm.get("realm") != REALM:
        yield f"it declares the realm {realm.get('realm')}, and everything else here is of the realm {REALM}"
    policy = str(realm.get("passwordPolicy", ""))
    length = re.search(r"\blength\((\d+)\)", policy)
    if not length or int(length[1]) < 12:
        yield "passwords may be shorter than 12 characters"
    if realm.get("bruteForceProtected") is not True:
        yield "passwords may be guessed without limit"
    if realm.get("sslRequired") not in ("external", "all"):
        yield "logins may go over plain HTTP"
    if realm.get("registrationAllowed") is not False:
        yield "anybody may register"
    if not 0 < realm.get("accessTokenLifespan", 0) <= LONGEST_ACCESS_TOKEN:
        yield "access tokens live too long"
    if realm.get("revokeRefreshToken") is not True:
        yield "a stolen refresh token can be used beside the user's own"
    if realm.get("eventsEnabled") is not True or realm.get("adminEventsEnabled") is not True:
        yield "logins and changes leave no trail"
    clients = {client.get("clientId"): client for client in realm.get("clients", [])}
    for name, client in clients.items():
        yield from (f"{name}: {problem}" for problem in client_problems(client))
    yield from (
        f"{name}: Keycloak makes it in every realm, and nothing says what it may do"
        for name in {*OWN_CLIENTS} - BEARER_ONLY - {*clients}
    )
    declared = {flow["alias"] for flow in realm.get("authenticationFlows", [])}
    for what, alias in bindings(realm):
        if alias not in {*declared, *OWN_FLOWS}:
            yield f"{what}: the flow {alias} is only on a host where somebody has made it"
    yield from rights_problems(realm)
    yield from secret_problems(realm)


def rights_problems(realm: dict[str, Any]) -> Iterator[str]:
    for role in realm.get("roles", {}).get("realm", []):
        if role["name"].startswith("default-roles-") and "offline_access" in role["composites"]["realm"]:
            yield "every user may have a token that outlives the login"
    mapped = {entry.get("client"): entry["roles"] for entry in realm.get("scopeMappings", [])}
    if mapped.get(PROBE) != []:
        yield "tokens of the probe may carry roles"
    for user in realm.get("users", []):
        for credential in user.get("credentials", []):
            if credential.get("temporary") is not True and user["username"] != PROBE:
                yield f"{user['username']}: the first password stays"
        if extra := set(user.get("clientRoles", {}).get("realm-management", [])) - RIGHTS:
            yield f"{user['username']} may more than keep this realm: {', '.join(sorted(extra))}"
    for kind, names in (realm.get("prune") or {}).items():
        if "*" in names:
            yield f"prune.{kind}: whatever somebody makes is deleted by the next deploy"


def client_problems(client: dict[str, Any]) -> Iterator[str]:
    attributes = client.get("attributes", {})
    logout = str(attributes.get("post.logout.redirect.uris", "")).split("##")
    for uri in [*client.get("redirectUris", []), *client.get("webOrigins", []), *filter(None, logout)]:
        if "*" in uri or uri == "+":
            yield f"{uri} lets codes and tokens go to more than one address"
        elif not uri.startswith(("https://", "${CC03_PUBLIC_URL}", "${CC03_OPS_URL}")):
            yield f"{uri} is not an https address"
    if client.get("standardFlowEnabled", True):
        if attributes.get("pkce.code.challenge.method") != "S256":
            yield "PKCE is not enforced"
        scopes = client.get("optionalClientScopes", CLIENT["optionalClientScopes"])
        if "offline_access" in scopes and client.get("clientId") not in OWN_CLIENTS:
            yield "browsers may ask for a token that outlives the login"
        if not client.get("redirectUris") and client.get("clientId") not in OWN_CLIENTS:
            yield "has a login and nowhere to return to"
    for flow in ("implicitFlowEnabled", "directAccessGrantsEnabled"):
        if client.get(flow) and (flow, client.get("clientId")) != ("directAccessGrantsEnabled", PROBE):
            yield f"{flow}: passwords or tokens pass where they should not"
    if client.get("fullScopeAllowed", True):
        yield "its tokens carry every role of the user"


def secret_problems(node: Any, path: str = "") -> Iterator[str]:
    """Secrets are named as @secret:NAME@ and filled in when they are sent; any other value is in the repository."""
    if isinstance(node, dict):
        for key, value in node.items():
            yield from secret_problems(value, f"{path}.{key}" if path else key)
    elif isinstance(node, list):
        for index, value in enumerate(node):
            yield from secret_problems(value, f"{path}[{index}]")
    elif isinstance(node, str):
        holds_secret = re.search(r"(secret|credentials\[\d+\]\.value|secretData|privateKey|bindCredential|\.password)$", path)
        named = re.fullmatch(r"@secret:([a-z-]+)@", node)
        if holds_secret and not named:
            yield f"{path} is a secret in clear"
        for name in re.findall(r"@secret:([^@]*)@", node):
            if name not in SECRETS:
                yield f"{path}: there is no secret {name} (x-cc03.api_secrets of keycloak)"


def test_realm_is_in_order() -> None:
    assert not list(realm_problems(yaml.safe_load(TEXT)))


def test_deployer_reads_it_and_gives_it_every_secret_that_it_names() -> None:
    assert parse_realm(TEXT, "realm.yaml").secrets == SECRETS


def test_container_mounts_no_secret_that_only_the_realm_needs() -> None:
    named = set(re.findall(r"@secret:([a-z-]+)@", (FOLDER / "keycloak.conf").read_text()))

    assert named == MOUNTED
    assert not MOUNTED & SECRETS


def test_change_of_the_realm_is_none_of_the_container(deployed: Deployed) -> None:
    """What is mounted decides whether it is replaced."""
    assert set(deployed.config("keycloak")) == {"keycloak.conf"}


def _client(realm: dict[str, Any]) -> dict[str, Any]:
    return next(client for client in realm["clients"] if client.get("redirectUris"))


def _default_role(realm: dict[str, Any]) -> dict[str, Any]:
    found = next(role for role in realm["roles"]["realm"] if role["name"].startswith("default-roles-"))
    return dict(found["composites"])


def _own(realm: dict[str, Any], name: str) -> dict[str, Any]:
    return next(client for client in realm["clients"] if client["clientId"] == name)


def _keeper(realm: dict[str, Any]) -> dict[str, Any]:
    return next(user for user in realm["users"] if user.get("serviceAccountClientId") == "cc03-keeper")


def _secret(realm: dict[str, Any]) -> dict[str, Any]:
    return next(client for client in realm["clients"] if client.get("secret"))


BROKEN: dict[str, tuple[Callable[[dict[str, Any]], Any], str]] = {
    "another name": (lambda realm: realm.update(realm="other"), "declares the realm other"),
    "short passwords": (lambda realm: realm.update(passwordPolicy="length(8)"), "shorter than 12"),
    "no password policy": (lambda realm: realm.pop("passwordPolicy"), "shorter than 12"),
    "guessing": (lambda realm: realm.update(bruteForceProtected=False), "guessed"),
    "plain HTTP": (lambda realm: realm.update(sslRequired="none"), "plain HTTP"),
    "registration": (lambda realm: realm.update(registrationAllowed=True), "register"),
    "long tokens": (lambda realm: realm.update(accessTokenLifespan=86400), "too long"),
    "reused refresh tokens": (lambda realm: realm.update(revokeRefreshToken=False), "refresh token"),
    "no trail": (lambda realm: realm.update(adminEventsEnabled=False), "no trail"),
    "wildcard": (lambda realm: _client(realm).update(redirectUris=["${CC03_PUBLIC_URL}/*"]), "more than one address"),
    "any origin": (lambda realm: _client(realm).update(webOrigins=["*"]), "more than one address"),
    "wildcard after logout": (
        lambda realm: _client(realm)["attributes"].update({"post.logout.redirect.uris": "https://a/*"}), "more than one address"
    ),
    "plain redirect": (lambda realm: _client(realm).update(redirectUris=["http://localhost/"]), "https"),
    "no PKCE": (lambda realm: _client(realm)["attributes"].pop("pkce.code.challenge.method"), "PKCE"),
    "plain PKCE": (lambda realm: _client(realm)["attributes"].update({"pkce.code.challenge.method": "plain"}), "PKCE"),
    "implicit flow": (lambda realm: _client(realm).update(implicitFlowEnabled=True), "implicitFlowEnabled"),
    "password grant": (lambda realm: _client(realm).update(directAccessGrantsEnabled=True), "directAccessGrantsEnabled"),
    "offline tokens by default": (lambda realm: _client(realm).pop("optionalClientScopes"), "outlives"),
    "offline tokens for everybody": (lambda realm: _default_role(realm)["realm"].append("offline_access"), "every user"),
    "own client not declared": (lambda realm: realm["clients"].remove(_own(realm, "admin-cli")), "Keycloak makes it"),
    "own client takes passwords": (
        lambda realm: _own(realm, "admin-cli").update(directAccessGrantsEnabled=True), "directAccessGrantsEnabled"
    ),
    "own client with a login": (lambda realm: _own(realm, "account").update(standardFlowEnabled=True), "PKCE"),
    "every role": (lambda realm: _client(realm).pop("fullScopeAllowed"), "every role"),
    "secret in clear": (lambda realm: _secret(realm).update(secret="hunter2"), "in clear"),
    "password in clear": (lambda realm: realm["users"][0]["credentials"][0].update(value="hunter2"), "in clear"),
    "unknown secret": (lambda realm: _secret(realm).update(secret="@secret:keycloak-front@"), "there is no secret"),
    "probe with a role": (lambda realm: realm["scopeMappings"].pop(), "tokens of the probe"),
    "keeper of everything": (
        lambda realm: _keeper(realm)["clientRoles"].update({"realm-management": ["realm-admin"]}), "may more than keep"
    ),
    "foreign flow": (lambda realm: realm.update(browserFlow="clicked"), "only on a host"),
    "foreign flow of a client": (
        lambda realm: _client(realm).update(authenticationFlowBindingOverrides={"browser": "clicked"}), "only on a host"
    ),
    "reckless pruning of flows": (lambda realm: realm.update(prune={"authenticationFlows": ["*"]}), "whatever somebody makes"),
    "reckless pruning": (lambda realm: realm.update(prune={"clients": ["*"]}), "whatever somebody makes"),
    "lasting first password": (lambda realm: realm["users"][0]["credentials"][0].update(temporary=False), "stays"),
}  # fmt: skip


@pytest.mark.parametrize("case", BROKEN)
def test_a_broken_realm_is_refused(case: str) -> None:
    change, complaint = BROKEN[case]
    realm = copy.deepcopy(yaml.safe_load(TEXT))
    change(realm)
    found = list(realm_problems(realm))
    assert len(found) == 1
    assert complaint in found[0]
