"""Whether people can log in: what a browser and a service do, through nginx's public listener, with a probe account."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from ops.core.errors import HostLacks, OpsError
from ops.core.process import until
from ops.core.site import Answer, request
from ops.keycloak.admin import OPERATIONS, Api, secret
from ops.keycloak.failures.facts import REALM
from ops.keycloak.probe.browser import OPENID, why_not
from ops.keycloak.probe.edge import DISCOVERY, payload
from ops.keycloak.realm.live import apply_realm, declared
from ops.project import Project
from ops.store.versions import newest

PROBE = "cc03-probe"
"""Name of the client and of the user, neither of which holds a role that the API accepts."""
CLIENT_SECRET, USER_SECRET = "keycloak-probe", "keycloak-probe-user"
ASK_SECONDS = 8.0
"""A password's hash takes a whole CPU for some tenths of a second, and the first one on a cold JVM two seconds."""


@dataclass
class _Probe:
    project: Project
    url: str
    token: str = ""
    refresh: str = ""

    def ask(self, method: str, path: str, form: Mapping[str, str] | None = None, **headers: str) -> Answer:
        return request(self.url, self.project.state.site_roots, method, path, form, seconds=ASK_SECONDS, headers=headers)

    def secret(self, name: str) -> str:
        return secret(self.project, name)

    def discovery(self) -> str:
        answer = self.ask("GET", DISCOVERY)
        expected, issuer = f"{self.url}/auth/realms/{REALM}", answer.json().get("issuer")
        if answer.status != 200:
            return _described(answer)
        return "" if issuer == expected else f"the issuer is {issuer}, not {expected}"

    def _grant(self, **grant: str) -> tuple[Mapping[str, Any], str]:
        form = {"client_id": PROBE, "client_secret": self.secret(CLIENT_SECRET), **grant}
        answer = self.ask("POST", f"{OPENID}/token", form)
        granted = answer.json()
        if answer.status != 200 or not granted.get("access_token"):
            return {}, _described(answer)
        issuer = payload(str(granted["access_token"])).get("iss")
        expected = f"{self.url}/auth/realms/{REALM}"
        return granted, "" if issuer == expected else f"the token's issuer is {issuer}, not {expected}"

    def password(self) -> str:
        password = self.secret(USER_SECRET)
        granted, why = self._grant(grant_type="password", scope="openid", username=PROBE, password=password)
        self.token, self.refresh = str(granted.get("access_token", "")), str(granted.get("refresh_token", ""))
        return why

    def form(self) -> str:
        """What users do: a password grant passes beside a broken theme, flow or cookie."""
        return why_not(self.url, self.project.state.site_roots, PROBE, self.secret(USER_SECRET), ASK_SECONDS)

    def client_credentials(self) -> str:
        return self._grant(grant_type="client_credentials")[1]

    def userinfo(self) -> str:
        answer = self.ask("GET", f"{OPENID}/userinfo", Authorization=f"Bearer {self.token}")
        named = answer.json().get("preferred_username")
        if answer.status != 200 or not answer.json().get("sub"):
            return _described(answer)
        return "" if named in (None, PROBE) else f"it names {named}"

    def log_out(self) -> None:
        """No session is left behind by a check. That this fails is no failure of it."""
        if self.refresh:
            form = {"client_id": PROBE, "client_secret": self.secret(CLIENT_SECRET), "refresh_token": self.refresh}
            self.ask("POST", f"{OPENID}/logout", form)


def _described(answer: Answer) -> str:
    """Why it was refused. The body of a failure holds no secret, and is cut."""
    said = answer.json()
    words = f"{said.get('error', '')} {said.get('error_description', '')}".strip() or " ".join(answer.text.split())[:160]
    return f"HTTP {answer.status} {words}".strip() if answer.status else words


def missing(project: Project) -> str:
    """Which secret of the probe account the state folder lacks; empty: none."""
    return ", ".join(name for name in (CLIENT_SECRET, USER_SECRET) if not newest(project.state, name))


def logs_in(project: Project) -> bool:
    """Whether the probe's user gets a token by its password now."""
    probe = _Probe(project, project.public_url)
    good = not missing(project) and not probe.password()
    probe.log_out()
    return good


def ready(project: Project, report: Callable[[str], None]) -> None:
    """Make the probe's client and user as declared, its password that of the state folder, and take away its lock: a fault of
    the account must not be taken for one of Keycloak. What cannot be done is left to be told by the verification that follows.
    """
    try:
        apply_realm(declared(project), report, deletions=False, only=(PROBE,))
        if not logs_in(project):
            _set_password(project)
    except OpsError as problem:
        report(f"{PROBE}: {problem.why}")


def _set_password(project: Project) -> None:
    api = Api.of(project, OPERATIONS)
    for user in api.get("/users", username=PROBE, exact="true"):
        own = f"/users/{user['id']}"
        api.ask("DELETE", f"/attack-detection/brute-force{own}")
        api.ask("PUT", own, {**user, "enabled": True, "requiredActions": []})
        password = {"type": "password", "temporary": False, "value": secret(project, USER_SECRET)}
        # The policy refuses one of the last five: then it is the present one, and the lock was the reason.
        api.ask("PUT", f"{own}/reset-password", password, ok=(400,))


def verify(project: Project, deadline: float, report: Callable[[str], None]) -> None:
    """Discovery document, a token by password, the login form, a token by client credentials, a userinfo call: in this order.

    deadline: seconds within which all of them must be answered well; a Keycloak that has just started is asked again.
    report: given a line for each that passed.
    Raises OpsError naming the first that failed, HostLacks where there is no probe account yet.
    """
    probe, ends = _Probe(project, project.public_url), time.monotonic() + deadline
    checks = (
        ("discovery document", probe.discovery), ("token by password", probe.password), ("login form", probe.form),
        ("token by client credentials", probe.client_credentials), ("userinfo", probe.userinfo),
    )  # fmt: skip
    for name, check in checks:
        if name != "discovery document" and (lacking := missing(project)):
            raise HostLacks(
                "nobody could be logged in to verify it", f"the state folder lacks {lacking}",
                "inv deploy makes the probe account; then run this again",
            )  # fmt: skip
        began = time.monotonic()
        if reason := until(check, max(0.0, ends - time.monotonic())):
            raise OpsError(f"not verified: {name}", reason, "inv keycloak; inv logs keycloak --since 10m")
        report(f"{name}: good ({time.monotonic() - began:.2f} s)")
    probe.log_out()
