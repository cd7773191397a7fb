"""Section 7: how the live realm lets people in."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from typing import Any

from ops.keycloak.realm.defaults import OWN_CLIENTS
from ops.security_audit.controls.control import Found, control
from ops.security_audit.facts import Facts

OFFLINE = "offline_access"
"""The client scope that asks for a token which outlives the login, and the role without which no user gets one."""
UNUSED = ("admin-cli", "security-admin-console")
USERS_PAGE = ("account-console", "standardFlowEnabled")
"""The one login of Keycloak's own clients that is meant."""
LEAST_LENGTH = 12
LONGEST_TOKEN = 900
"""Seconds: the API checks tokens by their signature alone, so a revoked one works until it expires."""


def realm_of(facts: Facts) -> Mapping[str, Any]:
    return facts.realm if isinstance(facts.realm, Mapping) else {}


def clients(facts: Facts) -> Iterator[tuple[str, Mapping[str, Any]]]:
    """Those that somebody could use."""
    for client in realm_of(facts).get("clients") or ():
        if client.get("enabled", True) and not client.get("bearerOnly"):
            yield str(client["clientId"]), client


@control(
    "7.1",
    "Guessing passwords is slowed down",
    why="a password of a list is found in minutes else",
    cure="bruteForceProtected: true in config/keycloak/realm.yaml, then inv keycloak.apply",
    part="realm",
)
def brute_force(facts: Facts) -> Iterator[Found]:
    realm = realm_of(facts)
    if not realm.get("bruteForceProtected"):
        yield Found("keycloak", "bruteForceProtected", "brute force protection is off")
    elif int(realm.get("failureFactor", 99)) > 10:
        yield Found("keycloak", "failureFactor", f"{realm['failureFactor']} wrong passwords are allowed")


@control(
    "7.2",
    "No redirect address has a wildcard",
    why="a code is sent wherever a wildcard lets it be sent",
    cure="list each address in config/keycloak/realm.yaml, then inv keycloak.apply",
    part="realm",
)
def wildcards(facts: Facts) -> Iterator[Found]:
    for name, client in clients(facts):
        flows = client.get("standardFlowEnabled", True) or client.get("implicitFlowEnabled")
        for address in client.get("redirectUris") or () if flows else ():
            if "*" in address:
                yield Found("keycloak", f"{name} {address}", f"client {name} may be sent to {address}")


@control(
    "7.3",
    "No client takes every web origin",
    why="pages of other sites could use the tokens of users here",
    cure="list each origin in config/keycloak/realm.yaml, then inv keycloak.apply",
    part="realm",
)
def web_origins(facts: Facts) -> Iterator[Found]:
    for name, client in clients(facts):
        if "*" in (client.get("webOrigins") or ()):
            yield Found("keycloak", name, f"client {name} takes requests of every origin")


@control(
    "7.4",
    "Logins by browser use PKCE with S256",
    why="a code that is stolen on its way would be worth a login",
    cure="pkce.code.challenge.method: S256 in config/keycloak/realm.yaml, then inv keycloak.apply",
    part="realm",
)
def pkce(facts: Facts) -> Iterator[Found]:
    for name, client in clients(facts):
        method = (client.get("attributes") or {}).get("pkce.code.challenge.method")
        if client.get("standardFlowEnabled", True) and method != "S256":
            yield Found("keycloak", name, f"client {name} demands no PKCE")


@control(
    "7.5",
    "No client uses the implicit flow",
    why="its tokens end up in addresses, histories and logs",
    cure="implicitFlowEnabled: false in config/keycloak/realm.yaml, then inv keycloak.apply",
    part="realm",
)
def implicit(facts: Facts) -> Iterator[Found]:
    for name, client in clients(facts):
        if client.get("implicitFlowEnabled"):
            yield Found("keycloak", name, f"client {name} uses the implicit flow")


@control(
    "7.6",
    "No client takes passwords directly",
    why="users learn to type passwords into something that is no login page",
    cure="directAccessGrantsEnabled: false in config/keycloak/realm.yaml, then inv keycloak.apply",
    part="realm",
)
def passwords(facts: Facts) -> Iterator[Found]:
    for name, client in clients(facts):
        if client.get("directAccessGrantsEnabled"):
            yield Found("keycloak", name, f"client {name} takes passwords directly")


@control(
    "7.7",
    "Nobody registers, and nobody is remembered by name alone",
    why="every account of a stranger may read",
    cure="registrationAllowed: false in config/keycloak/realm.yaml, then inv keycloak.apply",
    part="realm",
)
def registration(facts: Facts) -> Iterator[Found]:
    for key in ("registrationAllowed", "resetPasswordAllowed", "editUsernameAllowed"):
        if realm_of(facts).get(key):
            yield Found("keycloak", key, f"{key} is on")


@control(
    "7.8",
    "Logins need TLS",
    why="a password by HTTP is everybody's on the way",
    cure="sslRequired: external in config/keycloak/realm.yaml, then inv keycloak.apply",
    part="realm",
)
def needs_tls(facts: Facts) -> Iterator[Found]:
    if str(realm_of(facts).get("sslRequired", "none")).lower() == "none":
        yield Found("keycloak", "sslRequired", "sslRequired is none")


@control(
    "7.9",
    f"Passwords have {LEAST_LENGTH} characters or more",
    why="shorter ones are computed from a stolen database",
    cure="passwordPolicy in config/keycloak/realm.yaml, then inv keycloak.apply",
    part="realm",
)
def policy(facts: Facts) -> Iterator[Found]:
    length = re.search(r"\blength\((\d+)\)", str(realm_of(facts).get("passwordPolicy", "")))
    if not length or int(length[1]) < LEAST_LENGTH:
        yield Found("keycloak", "passwordPolicy", f"passwords may have {length[1] if length else 'any number of'} characters")


@control(
    "7.10",
    "Tokens are short-lived and used once",
    why="a stolen token works until it ends",
    cure="accessTokenLifespan, revokeRefreshToken in config/keycloak/realm.yaml, then inv keycloak.apply",
    part="realm",
)
def lifespans(facts: Facts) -> Iterator[Found]:
    realm = realm_of(facts)
    if int(realm.get("accessTokenLifespan", 1 << 20)) > LONGEST_TOKEN:
        yield Found("keycloak", "accessTokenLifespan", f"access tokens live for {realm.get('accessTokenLifespan')} s")
    if not realm.get("revokeRefreshToken"):
        yield Found("keycloak", "revokeRefreshToken", "refresh tokens work more than once")


@control(
    "7.11",
    "Logins and changes leave a trace",
    why="what was done with a stolen account is never known else",
    cure="eventsEnabled, adminEventsEnabled in config/keycloak/realm.yaml, then inv keycloak.apply",
    part="realm",
)
def events(facts: Facts) -> Iterator[Found]:
    for key in ("eventsEnabled", "adminEventsEnabled"):
        if not realm_of(facts).get(key):
            yield Found("keycloak", key, f"{key} is off")


@control(
    "7.12",
    "Clients that Keycloak makes in every realm are closed",
    why="everybody knows them: admin-cli takes passwords from anybody, past the login page",
    cure="declare them in config/keycloak/realm.yaml, then inv keycloak.apply",
    part="realm",
)
def own_clients(facts: Facts) -> Iterator[Found]:
    for name, client in clients(facts):
        if name not in OWN_CLIENTS:
            continue
        if name in UNUSED:
            yield Found("keycloak", name, f"client {name} is enabled")
        # Implicit flow and passwords: 7.5 and 7.6, for all clients.
        for key in ("standardFlowEnabled", "serviceAccountsEnabled"):
            if client.get(key) and (name, key) != USERS_PAGE:
                yield Found("keycloak", f"{name} {key}", f"client {name}: {key} is on")


@control(
    "7.13",
    "No browser gets a token that outlives its login",
    why="an offline token that is stolen from a browser works for 30 days, after logout and without the user",
    cure="optionalClientScopes and default-roles in config/keycloak/realm.yaml, then inv keycloak.apply",
    part="realm",
)
def offline_tokens(facts: Facts) -> Iterator[Found]:
    for name, client in clients(facts):
        scopes = {*(client.get("optionalClientScopes") or ()), *(client.get("defaultClientScopes") or ())}
        # Keycloak's own keep the scope: it grants nothing to users without the role.
        if client.get("standardFlowEnabled") and OFFLINE in scopes and name not in OWN_CLIENTS:
            yield Found("keycloak", f"{name} {OFFLINE}", f"client {name} may ask for {OFFLINE}")
    for role in realm_of(facts).get("roles", {}).get("realm", ()):
        granted = (role.get("composites") or {}).get("realm") or ()
        if str(role["name"]).startswith("default-roles-") and OFFLINE in granted:
            yield Found("keycloak", OFFLINE, f"every user has the role {OFFLINE}")
