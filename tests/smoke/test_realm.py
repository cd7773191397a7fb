"""The live realm is the declared one, who keeps it may do no more than that, and what is not declared is left alone."""

from __future__ import annotations

import json
import secrets
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml

from ops.keycloak.probe.browser import OPENID
from tests.smoke.accounts import PREFIX, Accounts
from tests.smoke.live import Live

MASTER_TOKEN = "/auth/realms/master/protocol/openid-connect/token"


def planned(live: Live, *arguments: str) -> dict[str, Any]:
    answer = live.inv("keycloak.plan", "--json", *arguments)
    assert answer.returncode == 0, answer.last_words()
    found: dict[str, Any] = json.loads(answer.stdout)
    return found


def test_realm_is_as_declared(live: Live) -> None:
    assert live.inv("keycloak.plan", "--check").returncode == 0
    assert planned(live)["changes"] == []


def test_container_has_no_secret_that_only_the_realm_needs(live: Live) -> None:
    mounted = set(live.exec("keycloak", "ls", "/run/secrets").stdout.split())

    assert mounted == set(live.project.stack.services["keycloak"].secrets)
    assert not mounted & set(live.project.stack.services["keycloak"].api_secrets)


@pytest.fixture(scope="module")
def clicked(accounts: Accounts) -> Iterator[str]:
    """A client that somebody makes in the administration console."""
    name = PREFIX + secrets.token_hex(5)
    for abandoned in accounts.admin("GET", "/clients", params={"clientId": PREFIX, "search": "true"}).json():
        accounts.admin("DELETE", f"/clients/{abandoned['id']}")
    answer = accounts.admin("POST", "/clients", json={"clientId": name, "redirectUris": ["https://smoke.invalid/"]})
    try:
        yield name
    finally:
        accounts.admin("DELETE", f"/clients/{answer.headers['Location'].rpartition('/')[2]}")


def test_what_is_not_declared_is_told_and_left_alone(live: Live, clicked: str) -> None:
    found = planned(live)

    assert found["changes"] == []
    assert clicked in found["undeclared"]["clients"]


def test_export_is_a_declaration_of_what_there_is(live: Live, clicked: str, tmp_path: Path) -> None:
    file = tmp_path / "realm.yaml"
    assert live.inv("keycloak.export", "--output", str(file)).returncode == 0

    text = file.read_text()
    assert file.stat().st_mode & 0o777 == 0o600
    assert [name for name in live.project.stack.services["keycloak"].api_secrets if live.secret(name) in text] == []
    assert clicked in [client["clientId"] for client in yaml.safe_load(text)["clients"]]
    found = planned(live, "--file", str(file))
    assert (found["changes"], found["undeclared"]["clients"]) == ([], [])


# The accounts.


def token(live: Live, client: str, secret: str, **grant: str) -> str:
    given = {"grant_type": "client_credentials", "client_id": client, "client_secret": live.secret(secret), **grant}
    answer = live.site("POST", f"{OPENID}/token", data=given)
    assert answer.status_code == 200, answer.text[:300]
    return str(answer.json()["access_token"])


@pytest.fixture(scope="module")
def keeper(live: Live) -> dict[str, str]:
    given = {
        "grant_type": "client_credentials", "client_id": "cc03-keeper", "client_secret": live.secret("keycloak-keeper"),
    }  # fmt: skip
    answer = live.ops("POST", f"{OPENID}/token", data=given)
    assert answer.status_code == 200, answer.text[:300]
    return {"Authorization": f"Bearer {answer.json()['access_token']}"}


@pytest.mark.parametrize("path", ["/auth/admin/realms/master", "/auth/admin/realms/master/users"])
def test_keeper_sees_no_other_realm(live: Live, keeper: dict[str, str], path: str) -> None:
    assert live.ops.get(path, headers=keeper).status_code in (401, 403)
    assert live.ops.get("/auth/admin/realms/cc03", headers=keeper).status_code == 200


def test_keeper_makes_no_realm(live: Live, keeper: dict[str, str]) -> None:
    answer = live.ops("POST", "/auth/admin/realms", headers=keeper, json={"realm": PREFIX + secrets.token_hex(5)})

    assert answer.status_code == 403


def test_keeper_cannot_promote_itself(live: Live, keeper: dict[str, str], accounts: Accounts) -> None:
    client = accounts.admin("GET", "/clients", params={"clientId": "cc03-keeper"}).json()[0]
    user = accounts.admin("GET", f"/clients/{client['id']}/service-account-user").json()
    management = accounts.admin("GET", "/clients", params={"clientId": "realm-management"}).json()[0]
    everything = accounts.admin("GET", f"/clients/{management['id']}/roles/realm-admin").json()

    path = f"/auth/admin/realms/cc03/users/{user['id']}/role-mappings/clients/{management['id']}"
    assert live.ops("POST", path, headers=keeper, json=[everything]).status_code == 403


def test_keeper_is_of_no_use_to_the_public(live: Live, keeper: dict[str, str]) -> None:
    assert live.site.get("/auth/admin/realms/cc03", headers=keeper).status_code in (403, 404)
    assert live.ops("POST", MASTER_TOKEN, data={
        "grant_type": "client_credentials", "client_id": "cc03-keeper", "client_secret": live.secret("keycloak-keeper"),
    }).status_code == 401  # fmt: skip


@pytest.mark.parametrize("by_password", [True, False])
def test_tokens_of_the_probe_open_nothing(live: Live, by_password: bool) -> None:
    grant = (
        {"grant_type": "password", "username": "cc03-probe", "password": live.secret("keycloak-probe-user"), "scope": "openid"}
        if by_password
        else {}
    )
    headers = {"Authorization": f"Bearer {token(live, 'cc03-probe', 'keycloak-probe', **grant)}"}

    assert live.site.get("/api/v1/items", headers=headers).status_code in (401, 403)
    if by_password:
        answer = live.site.get(f"{OPENID}/userinfo", headers=headers)
        assert (answer.status_code, answer.json()["preferred_username"]) == (200, "cc03-probe")
