"""The realm file that a new Keycloak imports: what may not be in it, and what must."""

from __future__ import annotations

import copy
import json
import re
from collections.abc import Callable, Iterator
from typing import Any

import pytest
import yaml

from ops.machine.host import REPOSITORY

FOLDER = REPOSITORY / "config" / "keycloak"
REALMS = {path.name: path.read_text() for path in sorted(FOLDER.glob("*-realm.json"))}
COMPOSE = yaml.safe_load((REPOSITORY / "compose" / "compose.yaml").read_text())
SECRETS = set(COMPOSE["services"]["keycloak"]["secrets"])

LONGEST_ACCESS_TOKEN = 15 * 60
"""Seconds. The backend checks tokens by signature alone: a revoked one works until it expires."""


def realm_problems(name: str, realm: dict[str, Any]) -> Iterator[str]:
    if name != f"{realm.get('realm')}-realm.json":
        yield f"{name} holds the realm {realm.get('realm')}, and is imported under its file's name"
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
    for client in realm.get("clients", []):
        yield from (f"{client.get('clientId')}: {problem}" for problem in client_problems(client))
    for user in realm.get("users", []):
        for credential in user.get("credentials", []):
            if credential.get("temporary") is not True:
                yield f"{user['username']}: the first password stays"
    yield from secret_problems(realm)


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
        if not client.get("redirectUris"):
            yield "has a login and nowhere to return to"
    for flow in ("implicitFlowEnabled", "directAccessGrantsEnabled"):
        if client.get(flow):
            yield f"{flow}: passwords or tokens pass where they should not"
    if client.get("fullScopeAllowed", True):
        yield "its tokens carry every role of the user"


def secret_problems(node: Any, path: str = "") -> Iterator[str]:
    """Secrets are named as @secret:NAME@ and filled in at start; any other value is in the repository."""
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
                yield f"{path}: Keycloak is not given a secret {name}"


def test_there_is_a_realm() -> None:
    assert REALMS


@pytest.mark.parametrize("name", REALMS)
def test_realm_is_in_order(name: str) -> None:
    assert not list(realm_problems(name, json.loads(REALMS[name])))


def test_keycloak_conf_names_only_secrets_that_exist() -> None:
    lines = (FOLDER / "keycloak.conf").read_text().splitlines()
    assert not list(secret_problems([line for line in lines if not line.startswith("#")]))


def _client(realm: dict[str, Any]) -> dict[str, Any]:
    return next(client for client in realm["clients"] if client.get("redirectUris"))


def _secret(realm: dict[str, Any]) -> dict[str, Any]:
    return next(client for client in realm["clients"] if client.get("secret"))


BROKEN: dict[str, tuple[Callable[[dict[str, Any]], Any], str]] = {
    "another name": (lambda realm: realm.update(realm="other"), "imported under its file's name"),
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
    "every role": (lambda realm: _client(realm).pop("fullScopeAllowed"), "every role"),
    "secret in clear": (lambda realm: _secret(realm).update(secret="hunter2"), "in clear"),
    "password in clear": (lambda realm: realm["users"][0]["credentials"][0].update(value="hunter2"), "in clear"),
    "unknown secret": (lambda realm: _secret(realm).update(secret="@secret:keycloak-front@"), "not given"),
    "lasting first password": (lambda realm: realm["users"][0]["credentials"][0].update(temporary=False), "stays"),
}  # fmt: skip


@pytest.mark.parametrize("case", BROKEN)
def test_a_broken_realm_is_refused(case: str) -> None:
    change, complaint = BROKEN[case]
    name, text = next(iter(REALMS.items()))
    realm = copy.deepcopy(json.loads(text))
    change(realm)
    found = list(realm_problems(name, realm))
    assert len(found) == 1
    assert complaint in found[0]
