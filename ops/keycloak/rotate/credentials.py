"""Secrets of Keycloak's clients and users: how each is set, and whether Keycloak accepts it."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from ops.core.errors import HostLacks, OpsError
from ops.core.process import until
from ops.core.site import Answer, request
from ops.keycloak.admin import OPERATIONS, Api, secret
from ops.keycloak.failures.facts import OPS_CLIENT, REALM
from ops.keycloak.probe.verify import CLIENT_SECRET
from ops.project import Project
from ops.stack.compose import placeholders

MASTER = "master"
LOGIN_SECONDS = 30.0
"""For one answer: a request that is sent again while Keycloak still checks the first login of that user is refused."""
ANSWERS_WITHIN = 60.0
"""Seconds: one that has just started is asked for a password's hash for longer than one answer is waited for."""


def must_answer(project: Project) -> None:
    """Raises OpsError where Keycloak cannot be changed: before a version is made that it would not know of."""
    Api.of(project, OPERATIONS).get("")


def _realm_of(client: str) -> str:
    return MASTER if client == OPS_CLIENT else REALM


def client_accepts(project: Project, name: str, version: int, value: str) -> bool:
    realm = _realm_of(name)
    credentials = {"client_id": name, "client_secret": value}
    if _status(project, realm, "token", {"grant_type": "client_credentials", **credentials}) == 200:
        return True
    # A client without an account of its own gets no token, but may ask what one is worth.
    return _status(project, realm, "token/introspect", {"token": "none", **credentials}) == 200


def administrator_accepts(project: Project, name: str, version: int, value: str) -> bool:
    return _password_status(project, MASTER, "admin-cli", name, value) == 200


def account_accepts(project: Project, name: str, version: int, value: str) -> bool:
    return _password_status(project, REALM, name, name, value, client_secret=secret(project, CLIENT_SECRET)) == 200


def _password_status(project: Project, realm: str, client: str, name: str, value: str, **more: str) -> int:
    grant = {"grant_type": "password", "client_id": client, "username": name, "password": value, **more}
    return _status(project, realm, "token", grant)


def _status(project: Project, realm: str, endpoint: str, form: dict[str, str]) -> int:
    """What an endpoint answers on the operator's listener."""
    url = placeholders(project.settings, project.ports)["CC03_OPS_URL"]
    path = f"/auth/realms/{realm}/protocol/openid-connect/{endpoint}"
    answers: list[Answer] = []

    def ask() -> str:
        answers.append(request(url, project.state.site_roots, "POST", path, form, seconds=LOGIN_SECONDS))
        return "" if answers[-1].status else answers[-1].text

    if why := until(ask, ANSWERS_WITHIN):
        raise OpsError("Keycloak does not answer", why, "inv keycloak")
    answer = answers[-1]
    if answer.status not in (200, 400, 401):
        raise OpsError("Keycloak gives no token", f"HTTP {answer.status}: {answer.text[:200]}", "inv keycloak")
    return answer.status


def set_client(project: Project, name: str, values: Sequence[tuple[int, str]]) -> None:
    api = Api.of(project, OPERATIONS, _realm_of(name))
    found: list[dict[str, Any]] = api.get("/clients", clientId=name)
    if not found:
        raise HostLacks(f"there is no client {name} in the realm {api.realm}", "it does not exist", "inv keycloak.plan")
    api.ask("PUT", f"/clients/{found[0]['id']}", {**found[0], "secret": values[-1][1]})


def set_administrator(project: Project, name: str, values: Sequence[tuple[int, str]]) -> None:
    _set_password(Api.of(project, OPERATIONS, MASTER), name, values[-1][1])


def set_account(project: Project, name: str, values: Sequence[tuple[int, str]]) -> None:
    version, value = values[-1]
    try:
        _set_password(Api.of(project, OPERATIONS), name, value)
    except OpsError:
        # The policy refuses one of the last five: then it may be the present one.
        if not account_accepts(project, name, version, value):
            raise


def _set_password(api: Api, name: str, value: str) -> None:
    found = [user for user in api.get("/users", username=name, exact="true") if user["username"] == name]
    if not found:
        raise HostLacks(f"there is no user {name} in the realm {api.realm}", "it was removed", "inv keycloak.fix recreates it")
    identity = found[0]["id"]
    api.ask("PUT", f"/users/{identity}/reset-password", {"type": "password", "value": value, "temporary": False})
    api.ask("POST", f"/users/{identity}/logout")
