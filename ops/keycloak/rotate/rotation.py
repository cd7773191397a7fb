"""Secrets of Keycloak's clients and users, and keys of the realm: how each is changed, and how it is seen to work."""

from __future__ import annotations

import time
from collections.abc import Sequence
from typing import Any
from urllib.parse import urlencode

from ops.core.errors import HostLacks, OpsError
from ops.core.process import until
from ops.keycloak.admin import OPERATIONS, Api, secret
from ops.keycloak.failures.facts import OPS_CLIENT, REALM
from ops.keycloak.probe.edge import KEYS, Answer, request
from ops.keycloak.probe.verify import CLIENT_SECRET
from ops.keycloak.rotate.keys import PROVIDER_TYPE, Provider, providers, valid_until
from ops.keycloak.rotate.steps import CreateKey, RetireKey, VerifyKeys
from ops.project import Project
from ops.stack.compose import placeholders

MASTER = "master"
ANSWERS_WITHIN = 60.0
"""Seconds: one that has just started is asked for a password's hash for longer than one answer is waited for."""
SEEN_SECONDS, PAUSE = 10.0, 0.5
"""For the public listener to show what the admin API has changed."""


def must_answer(project: Project) -> None:
    """Raises OpsError where Keycloak cannot be told anything: before a version is made that it would not know of."""
    Api.of(project, OPERATIONS).get("")


def client_accepts(project: Project, name: str, version: int, value: str) -> bool:
    realm = MASTER if name == OPS_CLIENT else REALM
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
    path, kind = f"/auth/realms/{realm}/protocol/openid-connect/{endpoint}", "application/x-www-form-urlencoded"
    answers: list[Answer] = []

    def ask() -> str:
        headers = {"Content-Type": kind}
        answers.append(request(url, project.state.site_roots, "POST", path, urlencode(form), headers=headers))
        return "" if answers[-1].status else answers[-1].text

    if why := until(ask, ANSWERS_WITHIN):
        raise OpsError("Keycloak does not answer", why, "inv keycloak")
    answer = answers[-1]
    if answer.status not in (200, 400, 401):
        raise OpsError("Keycloak gives no token", f"HTTP {answer.status}: {answer.text[:200]}", "inv keycloak")
    return answer.status


def _realm_of(project: Project, client: str) -> Api:
    return Api.of(project, OPERATIONS, MASTER if client == OPS_CLIENT else REALM)


def _client(api: Api, name: str) -> dict[str, Any]:
    found: list[dict[str, Any]] = api.get("/clients", clientId=name)
    if not found:
        raise HostLacks(f"there is no client {name} in the realm {api.realm}", "it does not exist", "inv keycloak.plan")
    return found[0]


def set_client(project: Project, name: str, values: Sequence[tuple[int, str]]) -> None:
    api = _realm_of(project, name)
    client = _client(api, name)
    api.ask("PUT", f"/clients/{client['id']}", {**client, "secret": values[-1][1]})


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


class RealmKeys:
    """The keys of the realm."""

    def __init__(self, project: Project) -> None:
        self.project = project
        self.api = Api.of(project, OPERATIONS)

    def found(self) -> tuple[Provider, ...]:
        return providers(self.api.get("/components", type=PROVIDER_TYPE))

    def valid_until(self) -> float:
        """When the last thing that is signed by now expires, in seconds since 1970."""
        offline = any(int(one.get("offline", 0)) for one in self.api.get("/client-session-stats"))
        return valid_until(self.api.get(""), time.time(), offline=offline, clients=self.api.get("/clients"))

    def create(self, step: CreateKey) -> None:
        old = self.api.get(f"/components/{step.like}")
        config = {**old["config"], "priority": [str(step.priority)], "enabled": ["true"], "active": ["true"]}
        self.api.ask("POST", "/components", {
            "name": step.name, "providerId": step.provider, "providerType": PROVIDER_TYPE, "parentId": old["parentId"],
            "config": config,
        })  # fmt: skip

    def retire(self, step: RetireKey) -> None:
        old = self.api.get(f"/components/{step.identity}")
        config = {**old["config"], "active": ["false"]}
        self.api.ask("PUT", f"/components/{step.identity}", {**old, "name": step.name, "config": config})

    def remove(self, identity: str) -> None:
        self.api.ask("DELETE", f"/components/{identity}", ok=(404,))

    def verify(self, step: VerifyKeys) -> None:
        """Raises OpsError where another key signs, or one that verifies is not published."""
        fresh = {one.identity: one for one in self.found() if one.name in step.names}
        said = self.api.get("/keys")
        signing = {key["providerId"] for key in said["keys"] if key["kid"] in said["active"].values()}
        if idle := [one.algorithm for identity, one in fresh.items() if identity not in signing]:
            raise OpsError("the new key does not sign", f"{', '.join(idle)}: another one does", "inv keycloak")
        usable = {
            key["kid"] for key in said["keys"]
            if key.get("use") == "SIG" and key.get("publicKey") and key["status"] in ("ACTIVE", "PASSIVE")
        }  # fmt: skip
        ends = time.monotonic() + SEEN_SECONDS
        while missing := usable - self._published():
            if time.monotonic() > ends:
                raise OpsError("the public site does not show every key", f"missing: {', '.join(missing)}", "inv keycloak")
            time.sleep(PAUSE)

    def _published(self) -> set[str]:
        """Ids of the keys that everybody can fetch."""
        url = placeholders(self.project.settings, self.project.ports)["CC03_PUBLIC_URL"]
        answer = request(url, self.project.state.site_roots, "GET", KEYS)
        return {key["kid"] for key in answer.json().get("keys", [])}
