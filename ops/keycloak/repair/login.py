"""Keycloak's admin API for repairs: few requests, with the token of whoever can still log in."""

from __future__ import annotations

import json
from dataclasses import dataclass
from typing import Any
from urllib.parse import urlencode

from ops.core.errors import OpsError
from ops.keycloak.admin import secret
from ops.keycloak.failures.facts import OPS_CLIENT, REALM
from ops.keycloak.probe.edge import TOKEN, Answer, request
from ops.keycloak.probe.gather import Place
from ops.project import Project

ASK_SECONDS = 20.0
MASTER = "/auth/admin/realms/master"
PRODUCT = f"/auth/admin/realms/{REALM}"
HUMAN = "admin"
"""The user that Keycloak's first start makes (bootstrap-admin-username), with the secret keycloak-admin."""


@dataclass
class Login:
    """Paths begin with MASTER or PRODUCT."""

    project: Project
    token: str = ""
    refused: bool = False
    """Whether the last grant was denied: an answer of Keycloak, and not of an nginx in front of one that is slow or away."""

    def _ask(self, method: str, path: str, body: str = "", **headers: str) -> Answer:
        url, ca = Place(self.project, {}).ops_url, self.project.state.site_roots
        return request(url, ca, method, path, body, seconds=ASK_SECONDS, headers=headers)

    def log_in(self, **grant: str) -> str:
        """Why no token was granted; empty: it was."""
        form = {"Content-Type": "application/x-www-form-urlencoded"}
        answer = self._ask("POST", TOKEN, urlencode(grant), **form)
        self.refused = answer.status in (400, 401, 403)
        self.token = str(answer.json().get("access_token", ""))
        said = str(answer.json().get("error_description") or answer.text[:120])
        return "" if self.token else f"HTTP {answer.status} {said}"

    def as_client(self, client_id: str, value: str) -> str:
        return self.log_in(grant_type="client_credentials", client_id=client_id, client_secret=value)

    def as_operations(self) -> str:
        return self.as_client(OPS_CLIENT, secret(self.project, "keycloak-ops"))

    def as_human(self) -> str:
        password = secret(self.project, "keycloak-admin")
        return self.log_in(grant_type="password", client_id="admin-cli", username=HUMAN, password=password)

    def call(self, method: str, path: str, body: Any = None) -> Any:
        """The answer's JSON; None where it has none. Raises OpsError for a refusal."""
        text = "" if body is None else json.dumps(body)
        headers = {"Authorization": f"Bearer {self.token}", **({"Content-Type": "application/json"} if text else {})}
        answer = self._ask(method, path, text, **headers)
        if not 200 <= answer.status < 300:
            said = answer.json().get("errorMessage") or answer.json().get("error") or answer.text[:160]
            raise OpsError(
                f"Keycloak's admin API refused {method} {path.partition('?')[0]}",
                f"HTTP {answer.status} {said}",
                "inv keycloak",
            )
        return json.loads(answer.text) if answer.text.strip() else None


def operations(project: Project) -> Login:
    """In the name of the operations client. Raises OpsError where it is refused."""
    api = Login(project)
    if why := api.as_operations():
        raise OpsError(f"Keycloak refuses {OPS_CLIENT}", why, "inv keycloak.fix repairs that first")
    return api
