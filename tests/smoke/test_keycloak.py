"""Keycloak logs people in as the standard says, and shows the public no more than that takes."""

from __future__ import annotations

import base64
import json
from urllib.parse import parse_qs, urlsplit

import pytest

from ops.keycloak.probe.browser import OPENID
from tests.smoke.accounts import REALM, Account, Accounts, Login
from tests.smoke.live import Live

DISCOVERY = f"{REALM}/.well-known/openid-configuration"


def claims_of(token: str) -> dict[str, object]:
    claims: dict[str, object] = json.loads(base64.urlsafe_b64decode(token.split(".")[1] + "=="))
    return claims


def test_ready_with_its_database(live: Live) -> None:
    report = live.inside("keycloak", 9000, "/health/ready").json()

    assert report["status"] == "UP"
    assert {check["name"]: check["status"] for check in report["checks"]}.popitem()[1] == "UP"


def test_discovery_names_public_addresses_only(live: Live) -> None:
    found = live.site.json(DISCOVERY)

    assert found["issuer"] == f"{live.site.base}{REALM}"
    endpoints = {name: url for name, url in found.items() if name.endswith("_endpoint") or name == "jwks_uri"}
    assert len(endpoints) > 4
    assert {name: url for name, url in endpoints.items() if not url.startswith(found["issuer"])} == {}
    assert "S256" in found["code_challenge_methods_supported"]


def test_backend_gets_the_keys_that_sign(live: Live, viewer: Account) -> None:
    keys = live.site.json(f"{OPENID}/certs")["keys"]
    head = json.loads(base64.urlsafe_b64decode(viewer.token.split(".")[0] + "=="))

    assert head["alg"] == "RS256"
    assert [key["use"] for key in keys if key["kid"] == head["kid"]] == ["sig"]


def test_access_token_is_short_lived_and_meant_for_the_api(live: Live, editor: Account) -> None:
    claims = claims_of(editor.token)

    assert claims["iss"] == f"{live.site.base}{REALM}"
    assert claims["aud"] == "cc03-backend"
    assert claims["azp"] == "cc03-frontend"
    assert claims["preferred_username"] == editor.username
    assert int(str(claims["exp"])) - int(str(claims["iat"])) == 300
    access = claims["realm_access"]
    assert isinstance(access, dict) and {"viewer", "editor"} <= set(access["roles"]) and "admin" not in access["roles"]


def test_wrong_password_is_refused(live: Live, accounts: Accounts) -> None:
    # A user of its own: failures count towards a lock.
    user = accounts.create("viewer")
    answer = Login(live).submit(user.username, "wrong" * 4)

    assert answer.status_code == 200
    assert "Invalid username or password." in answer.text


def test_code_is_worth_nothing_without_the_verifier(live: Live, viewer: Account) -> None:
    login = Login(live)
    location = login.submit(viewer.username, viewer.password).headers["Location"]
    login.verifier = "another" * 8

    answer = login.exchange(parse_qs(urlsplit(location).query)["code"][0])
    assert (answer.status_code, answer.json()["error"]) == (400, "invalid_grant")


def test_browser_gets_no_token_that_outlives_its_login(live: Live) -> None:
    answer = Login(live).authorize(scope="openid offline_access")

    assert parse_qs(urlsplit(answer.headers.get("Location", "")).query).get("error") == ["invalid_scope"], answer.status_code


def test_refresh_token_can_be_used_once(live: Live, viewer: Account) -> None:
    login = Login(live)
    first = login.tokens(viewer.username, viewer.password)["refresh_token"]
    answers = [login.refresh(first), login.refresh(first)]

    assert [answer.status_code for answer in answers] == [200, 400]
    # Whoever has stolen the first one loses what it was good for.
    assert login.refresh(answers[0].json()["refresh_token"]).status_code == 400


def test_login_without_pkce_is_refused(live: Live) -> None:
    answer = Login(live).authorize(code_challenge="", code_challenge_method="")

    assert answer.status_code == 302
    assert "error=invalid_request" in answer.headers["Location"]


@pytest.mark.parametrize("suffix", ["/other", ".attacker.example/", "@attacker.example/"])
def test_login_leads_back_to_the_site_only(live: Live, suffix: str) -> None:
    answer = Login(live).authorize(redirect_uri=live.site.base + suffix)

    assert answer.status_code == 400
    assert "Location" not in answer.headers


def test_password_cannot_be_traded_for_a_token_directly(live: Live, viewer: Account) -> None:
    form = {"grant_type": "password", "client_id": "cc03-frontend", "username": viewer.username, "password": viewer.password}

    assert live.site("POST", f"{OPENID}/token", data=form).json()["error"] == "unauthorized_client"


@pytest.mark.parametrize(
    "path",
    [
        "/auth/", "/auth/admin/", "/auth/admin/master/console/", "/auth/realms/master/.well-known/openid-configuration",
        "/auth/metrics", "/auth/health", f"{REALM}/clients-registrations/default", "/auth/realms/cc03;/account",
        "/auth/resources/..%2frealms/master", "/auth/realms/cc03/%2e%2e/master/",
    ],
)  # fmt: skip
def test_administration_is_not_public(live: Live, path: str) -> None:
    assert live.site.get(path).status_code == 404


def test_operator_reaches_administration(live: Live) -> None:
    console = live.ops.get("/auth/admin/master/console/")

    assert console.status_code == 200
    assert "Keycloak Administration Console" in console.text
    assert live.ops.get("/auth/metrics").status_code == 404


def test_guessing_is_slowed_down(accounts: Accounts) -> None:
    realm = accounts.admin("GET", "").json()
    wanted = {
        "bruteForceProtected": True, "failureFactor": 5, "registrationAllowed": False, "resetPasswordAllowed": False,
        "revokeRefreshToken": True, "sslRequired": "external", "eventsEnabled": True, "adminEventsEnabled": True,
    }  # fmt: skip

    assert {name: realm[name] for name in wanted} == wanted
    assert "length(12)" in realm["passwordPolicy"]


def test_login_leaves_a_trace(accounts: Accounts, viewer: Account) -> None:
    assert viewer.token
    events = accounts.admin("GET", "/events", params={"user": viewer.identity, "type": "LOGIN"}).json()

    assert {event["clientId"] for event in events} == {"cc03-frontend"}
