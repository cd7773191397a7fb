"""Keycloak's admin API on the operator's listener, which is bound to this host alone."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from ops.keycloak.failures.facts import OPS_CLIENT, REALM
from ops.secrets.versions import values
from ops.stack.compose import placeholders

if TYPE_CHECKING:
    from keycloak import KeycloakAdmin

    from ops.project import Project

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


def connect(project: Project, account: Account = KEEPER, *, port: int | None = None, value: str = "") -> KeycloakAdmin:
    """The admin API of realm cc03 in the name of a service account. Nothing is asked before the first request.

    Parameters
    ----------
    port: of the operator's listener, where it is not the one that the checkout says. value: the account's secret, where it is
    not the newest one. Without it the previous one is tried as well: a rotation may have been broken off between the state
    folder and Keycloak.

    Raises OpsError where the state folder lacks the account's secret.
    """
    # Takes 0.2 s to import, which commands without it shall not pay.
    from keycloak import KeycloakAdmin, KeycloakOpenIDConnection
    from keycloak.exceptions import KeycloakAuthenticationError

    newest, *older = [value] if value else values(project.state, account.secret)

    class Connection(KeycloakOpenIDConnection):
        def get_token(self) -> None:
            try:
                super().get_token()
            except KeycloakAuthenticationError:
                if not older:
                    raise
                self.client_secret_key = self.keycloak_openid.client_secret_key = older.pop(0)
                self.get_token()

    ports = {**project.ports, **({"ops": port} if port else {})}
    connection = Connection(
        server_url=placeholders(project.settings, ports)["CC03_OPS_URL"] + "/auth/",
        realm_name=REALM, user_realm_name=account.realm, client_id=account.client_id,
        client_secret_key=newest, grant_type="client_credentials",
        verify=str(project.state.site_roots), timeout=ASK_SECONDS,
    )  # fmt: skip
    return KeycloakAdmin(connection=connection)


def secret(project: Project, name: str) -> str:
    """The present value: the newest, whatever release runs; what was rotated never comes back.

    Raises OpsError where the state folder has none.
    """
    return values(project.state, name)[0]
