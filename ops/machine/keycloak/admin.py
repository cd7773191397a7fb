"""Keycloak's admin API on the operator's listener, which is bound to this host alone."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from ops.compose import placeholders
from ops.errors import OpsError
from ops.plan.keycloak.facts import OPS_CLIENT, REALM

if TYPE_CHECKING:
    from keycloak import KeycloakAdmin

    from ops.machine.project import Project

ASK_SECONDS = 20
"""For one request: making a realm is the longest, and takes 3 s on a cold JVM."""


@dataclass(frozen=True)
class Account:
    """A service account. realm: where it lives."""

    realm: str
    client_id: str
    secret: str
    """Name of its secret in the state folder."""


OPERATIONS = Account("master", OPS_CLIENT, "keycloak-ops")
"""May do everything: makes realms, and mends the account below."""
KEEPER = Account(REALM, "cc03-keeper", "keycloak-keeper")
"""Holds the rights on this one realm that keeping it as declared takes, and no others."""


def connect(project: Project, account: Account = KEEPER) -> KeycloakAdmin:
    """The admin API of realm cc03 in the name of a service account. Nothing is asked before the first request.

    Raises OpsError where the state folder lacks the account's secret.
    """
    # Takes 0.2 s to import, which commands without it shall not pay.
    from keycloak import KeycloakAdmin, KeycloakOpenIDConnection

    connection = KeycloakOpenIDConnection(
        server_url=placeholders(project.settings, project.ports)["CC03_OPS_URL"] + "/auth/",
        realm_name=REALM, user_realm_name=account.realm, client_id=account.client_id,
        client_secret_key=secret(project, account.secret), grant_type="client_credentials",
        verify=str(project.state.ca / "root.pem"), timeout=ASK_SECONDS,
    )  # fmt: skip
    return KeycloakAdmin(connection=connection)


def secret(project: Project, name: str) -> str:
    """The present value. Raises OpsError where the state folder has none."""
    path = project.state.secrets / name / str(project.deployed.versions.get(name, 1))
    try:
        return path.read_text().strip()
    except OSError as problem:
        raise OpsError(f"cannot read the secret {name}", str(problem.strerror), "inv deploy") from problem
