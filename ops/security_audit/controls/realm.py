"""Section 7: logins, by the settings of the live realm."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Mapping
from typing import Any

from ops.keycloak.realm.defaults import OWN_CLIENTS
from ops.security_audit.controls.control import Control, Finding
from ops.security_audit.facts import Facts

OFFLINE = "offline_access"
"""The client scope that requests a token which outlives the login, and the role that a user needs to get one."""
UNUSED = ("admin-cli", "security-admin-console")
USERS_PAGE = ("account-console", "standardFlowEnabled")
"""The only login of Keycloak's own clients that is meant to work."""
LEAST_LENGTH = 12
LONGEST_TOKEN = 900
"""Seconds: the API verifies only the signature of a token, so a revoked one works until it expires."""


def clients(facts: Facts) -> Iterator[tuple[str, Mapping[str, Any]]]:
    """The clients that can be used."""
    for client in facts.realm.get("clients") or ():
        if client.get("enabled", True) and not client.get("bearerOnly"):
            yield str(client["clientId"]), client


def _brute_force(facts: Facts) -> Iterator[Finding]:
    if not facts.realm.get("bruteForceProtected"):
        yield Finding("keycloak", "bruteForceProtected", "brute force protection is off")
    elif int(facts.realm.get("failureFactor", 99)) > 10:
        yield Finding("keycloak", "failureFactor", f"{facts.realm['failureFactor']} wrong passwords are allowed")


def _wildcards(facts: Facts) -> Iterator[Finding]:
    for name, client in clients(facts):
        flows = client.get("standardFlowEnabled", True) or client.get("implicitFlowEnabled")
        for address in client.get("redirectUris") or () if flows else ():
            if "*" in address:
                yield Finding("keycloak", f"{name} {address}", f"client {name} accepts the redirect address {address}")


def _password_length(facts: Facts) -> Iterator[Finding]:
    length = re.search(r"\blength\((\d+)\)", str(facts.realm.get("passwordPolicy", "")))
    if not length or int(length[1]) < LEAST_LENGTH:
        found = length[1] if length else "any number of"
        yield Finding("keycloak", "passwordPolicy", f"passwords may have {found} characters")


def _lifespans(facts: Facts) -> Iterator[Finding]:
    lifespan = facts.realm.get("accessTokenLifespan")
    if lifespan is None or int(lifespan) > LONGEST_TOKEN:
        yield Finding("keycloak", "accessTokenLifespan", f"access tokens are valid for {lifespan} s")
    if not facts.realm.get("revokeRefreshToken"):
        yield Finding("keycloak", "revokeRefreshToken", "refresh tokens can be used more than once")


def _own_clients(facts: Facts) -> Iterator[Finding]:
    for name, client in clients(facts):
        if name not in OWN_CLIENTS:
            continue
        if name in UNUSED:
            yield Finding("keycloak", name, f"client {name} is enabled")
        # 7.5 and 7.6 check the implicit flow and passwords of all clients.
        for key in ("standardFlowEnabled", "serviceAccountsEnabled"):
            if client.get(key) and (name, key) != USERS_PAGE:
                yield Finding("keycloak", f"{name} {key}", f"client {name}: {key} is on")


def _offline_tokens(facts: Facts) -> Iterator[Finding]:
    for name, client in clients(facts):
        scopes = {*(client.get("optionalClientScopes") or ()), *(client.get("defaultClientScopes") or ())}
        # Keycloak's own clients keep the scope: a user without the role gets no such token.
        if client.get("standardFlowEnabled") and OFFLINE in scopes and name not in OWN_CLIENTS:
            yield Finding("keycloak", f"{name} {OFFLINE}", f"client {name} may request {OFFLINE}")
    for role in facts.realm.get("roles", {}).get("realm", ()):
        granted = (role.get("composites") or {}).get("realm") or ()
        if str(role["name"]).startswith("default-roles-") and OFFLINE in granted:
            yield Finding("keycloak", OFFLINE, f"every user has the role {OFFLINE}")


def _clients(violates: Callable[[Mapping[str, Any]], object], what: str) -> Callable[[Facts], Iterator[Finding]]:
    """A finding for each client that violates a rule."""
    return lambda facts: (
        Finding("keycloak", name, f"client {name} {what}") for name, client in clients(facts) if violates(client)
    )


def _flags(*keys: str, wanted: bool) -> Callable[[Facts], Iterator[Finding]]:
    """A finding for each of these settings of the realm that is not as wanted."""
    return lambda facts: (
        Finding("keycloak", key, f"{key} is {'off' if wanted else 'on'}")
        for key in keys if bool(facts.realm.get(key)) != wanted
    )  # fmt: skip


def _control(number: str, title: str, find: Callable[[Facts], Iterator[Finding]], *, why: str, setting: str) -> Control:
    advice = f"{setting} in config/keycloak/realm.yaml, then inv keycloak.apply"
    return Control(number, title, find, why, advice, part="realm")


CONTROLS = (
    _control("7.1", "Brute-force protection is enabled", _brute_force,
             why="Without it a common password is guessed within minutes.",
             setting="bruteForceProtected: true"),
    _control("7.2", "No redirect address has a wildcard", _wildcards,
             why="Keycloak sends the code of a login to any address that matches the wildcard.",
             setting="list each address"),
    _control("7.3", "No client allows all web origins",
             why="Pages of other sites could use the tokens of users of this one.",
             setting="list each origin",
             find=_clients(lambda client: "*" in (client.get("webOrigins") or ()), "allows requests of every origin")),
    _control("7.4", "Browser logins use PKCE with S256",
             why="Without PKCE an intercepted code is sufficient for a login.",
             setting="pkce.code.challenge.method: S256",
             find=_clients(
                 lambda client: client.get("standardFlowEnabled", True)
                 and (client.get("attributes") or {}).get("pkce.code.challenge.method") != "S256",
                 "does not require PKCE",
             )),
    _control("7.5", "No client uses the implicit flow",
             why="Its tokens appear in addresses, histories and logs.",
             setting="implicitFlowEnabled: false",
             find=_clients(lambda client: client.get("implicitFlowEnabled"), "uses the implicit flow")),
    _control("7.6", "No client accepts passwords directly",
             why="Users would get used to entering passwords outside the login page.",
             setting="directAccessGrantsEnabled: false",
             find=_clients(lambda client: client.get("directAccessGrantsEnabled"), "accepts passwords directly")),
    _control("7.7", "Users cannot register, reset passwords or rename themselves",
             why="Every registered account can read data.",
             setting="registrationAllowed: false",
             find=_flags("registrationAllowed", "resetPasswordAllowed", "editUsernameAllowed", wanted=False)),
    _control("7.8", "Logins require TLS",
             why="A password that is sent by HTTP can be read on the way.",
             setting="sslRequired: external",
             find=lambda facts: iter(
                 [Finding("keycloak", "sslRequired", "sslRequired is none")]
                 if str(facts.realm.get("sslRequired", "none")).lower() == "none" else []
             )),
    _control("7.9", f"Passwords have at least {LEAST_LENGTH} characters", _password_length,
             why="Shorter ones can be computed from the hashes of a stolen database.",
             setting="passwordPolicy"),
    _control("7.10", "Access tokens are short-lived, and refresh tokens single-use", _lifespans,
             why="A stolen token works until it expires.",
             setting="accessTokenLifespan, revokeRefreshToken"),
    _control("7.11", "Logins and administrative changes are logged",
             why="Otherwise the actions of a stolen account cannot be traced.",
             setting="eventsEnabled, adminEventsEnabled",
             find=_flags("eventsEnabled", "adminEventsEnabled", wanted=True)),
    _control("7.12", "Keycloak's default clients are disabled, or have no login", _own_clients,
             why="Their names are known: admin-cli accepts passwords directly, without the login page.",
             setting="declare them"),
    _control("7.13", "Browsers get no token that outlives the login", _offline_tokens,
             why="A stolen offline token works for 30 days, also after the logout.",
             setting="optionalClientScopes and default-roles"),
)  # fmt: skip
