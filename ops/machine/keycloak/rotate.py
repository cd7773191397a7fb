"""Secrets given to those who check them, and keys of the realm: how each is changed, and how it is seen to work."""

from __future__ import annotations

import hmac
import re
import time
from typing import Any
from urllib.parse import urlencode

from ops import podman
from ops.compose import placeholders
from ops.errors import HostLacks, OpsError
from ops.keycloak_steps import CreateKey, HandOver, RetireKey, VerifyKeys, VerifySecret
from ops.machine.keycloak import database
from ops.machine.keycloak.admin import OPERATIONS
from ops.machine.keycloak.api import Api
from ops.machine.keycloak.edge import KEYS, Answer, request
from ops.machine.project import Project
from ops.machine.wait import until
from ops.plan.keycloak.facts import OPS_CLIENT, REALM
from ops.plan.keycloak.keys import PROVIDER_TYPE, Provider, providers, valid_until
from ops.render import container_name

MASTER = "master"
ANSWERS_WITHIN = 60.0
"""Seconds: one that has just started is asked for a password's hash for longer than one answer is waited for."""
SQL_SECONDS = 30.0
URL_SAFE = re.compile(r"[A-Za-z0-9._~-]+")
QUIET = " ".join((
    "-c log_statement=none", "-c log_min_duration_statement=-1", "-c log_min_error_statement=panic",
    "-c pg_stat_statements.track=none",
))  # fmt: skip
"""The statement holds a password: it must reach neither the log nor pg_stat_statements."""
SEEN_SECONDS, PAUSE = 10.0, 0.5
"""For the public listener to show what the admin API has changed."""


def value_of(project: Project, secret: str, version: int) -> str:
    """A version of a secret. Raises HostLacks where the state folder does not hold it."""
    try:
        value = (project.state.secrets / secret / str(version)).read_text().strip()
    except OSError as problem:
        raise HostLacks(f"cannot read version {version} of {secret}", str(problem.strerror), "inv deploy") from problem
    if not URL_SAFE.fullmatch(value):
        raise OpsError(f"version {version} of {secret} cannot be used", "it is empty or not URL-safe", "inv keycloak.rotate")
    return value


def must_answer(project: Project) -> None:
    """Raises OpsError where Keycloak cannot be told anything: before a version is made that it would not know of."""
    Api.of(project, OPERATIONS).get("")


def next_version(project: Project, secret: str) -> int:
    """A number that no version of a secret has ever had, those that were taken back included."""
    folder = project.state.secrets / secret
    numbers = (path.name.partition(".")[0] for path in folder.iterdir()) if folder.is_dir() else ()
    return max((int(number) for number in numbers if number.isdigit()), default=0) + 1


def withdraw(project: Project, secret: str, version: int) -> None:
    """Take a version back: nothing uses it any more, and its number is not used again."""
    path = project.state.secrets / secret / str(version)
    if path.exists():
        path.rename(path.with_name(f"{version}.withdrawn"))


def hand_over(project: Project, step: HandOver) -> None:
    """Tell who checks a secret its value. Raises OpsError where that is refused or nobody is there."""
    kind, _, name = step.to.partition(" ")
    value = value_of(project, step.secret, step.version)
    {"role": _set_role, "client": _set_client, "user": _set_user}[kind](project, name, value)


def holds(project: Project, to: str, secret: str, version: int) -> bool:
    """Whether who checks a secret has this version of it."""
    kind, _, name = to.partition(" ")
    value = value_of(project, secret, version)
    if kind == "role":
        return not database.login(project.host, container_name(project.name, "postgres"), value, SQL_SECONDS)
    if kind == "user":
        return _password_status(project, name, value) == 200
    api = _realm_of(project, name)
    said = api.get(f"/clients/{_client(api, name)['id']}/client-secret")
    return hmac.compare_digest(str(said.get("value", "")), value)


def verify(project: Project, step: VerifySecret) -> None:
    """Log in as its user would. Raises OpsError where the new secret is refused, or the old one is still accepted."""
    if not _accepted(project, step, step.version):
        raise OpsError(f"{step.to} is refused with its new secret", "it was changed, and is not accepted", "inv keycloak")
    path = project.state.secrets / step.secret / str(step.before)
    if path.is_file() and _accepted(project, step, step.before):
        raise OpsError(f"{step.to} is still accepted with its old secret", "a token was given for it", "inv keycloak")


def _accepted(project: Project, step: VerifySecret, version: int) -> bool:
    kind, _, name = step.to.partition(" ")
    if kind != "client":
        return holds(project, step.to, step.secret, version)
    realm, own = MASTER if name == OPS_CLIENT else REALM, value_of(project, step.secret, version)
    credentials = {"client_id": name, "client_secret": own}
    if _status(project, realm, "token", {"grant_type": "client_credentials", **credentials}) == 200:
        return True
    # A client without an account of its own gets no token, but may ask what one is worth.
    return _status(project, realm, "token/introspect", {"token": "none", **credentials}) == 200


def _password_status(project: Project, name: str, value: str) -> int:
    grant = {"grant_type": "password", "client_id": "admin-cli", "username": name, "password": value}
    return _status(project, MASTER, "token", grant)


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


def _set_role(project: Project, name: str, value: str) -> None:
    """Where it is so already, nothing is written."""
    container = container_name(project.name, "postgres")
    if not database.login(project.host, container, value, SQL_SECONDS):
        return
    psql = ("env", f"PGOPTIONS={QUIET}", "PGCONNECT_TIMEOUT=5", "psql", "--username=postgres", "--dbname=postgres",
            "--no-psqlrc", "--quiet", "--set=ON_ERROR_STOP=1", "--set=VERBOSITY=terse", "--file=-")  # fmt: skip
    statement = f"ALTER ROLE {name} PASSWORD '{value}';\n"
    project.host.run(podman.exec_with_input(container, psql), timeout=SQL_SECONDS, stdin=statement)
    if said := database.login(project.host, container, value, SQL_SECONDS):
        raise OpsError(f"PostgreSQL refuses {name} with the password that it was just given", said, "inv keycloak")


def _realm_of(project: Project, client: str) -> Api:
    return Api.of(project, OPERATIONS, MASTER if client == OPS_CLIENT else REALM)


def _client(api: Api, name: str) -> dict[str, Any]:
    found: list[dict[str, Any]] = api.get("/clients", clientId=name)
    if not found:
        raise HostLacks(f"there is no client {name} in the realm {api.realm}", "it was never made", "inv keycloak.plan")
    return found[0]


def _set_client(project: Project, name: str, value: str) -> None:
    api = _realm_of(project, name)
    client = _client(api, name)
    api.ask("PUT", f"/clients/{client['id']}", {**client, "secret": value})


def _set_user(project: Project, name: str, value: str) -> None:
    api = Api.of(project, OPERATIONS, MASTER)
    found = [user for user in api.get("/users", username=name, exact="true") if user["username"] == name]
    if not found:
        raise HostLacks(
            f"there is no user {name} in the realm {MASTER}", "somebody has removed it", "inv keycloak.fix makes it anew"
        )
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
        return valid_until(self.api.get(""), time.time(), offline=offline)

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
