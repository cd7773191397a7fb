"""Keycloak's admin API on the operator's listener, which is bound to this host alone: one client for every command."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from ops.core.errors import OpsError
from ops.keycloak.failures.facts import OPS_CLIENT, REALM
from ops.stack.compose import placeholders
from ops.store.versions import values

if TYPE_CHECKING:
    from keycloak import KeycloakOpenIDConnection

    from ops.project import Project

ASK_SECONDS = 20
"""For one request: making a realm is the longest, and takes 3 s on a cold JVM."""
PAGE = 500
"""Entries asked for at once."""


@dataclass(frozen=True)
class Account:
    """Who asks. realm: where the account lives. user: who logs in through the client with a password; empty: the client."""

    realm: str
    client_id: str
    secret: str
    """Name of its secret in the state folder."""
    user: str = ""


OPERATIONS = Account("master", OPS_CLIENT, "keycloak-ops")
"""May do everything: makes realms, and repairs the account below."""
KEEPER = Account(REALM, "cc03-keeper", "keycloak-keeper")
"""Holds the rights on this one realm that keeping it as declared takes, and no others."""
HUMAN = Account("master", "admin-cli", "keycloak-admin", user="admin")
"""The user that Keycloak's first start makes (bootstrap-admin-username)."""


class Unreachable(OpsError):
    """Nobody answers, or the answer is not Keycloak's."""


class Refused(OpsError):
    """Keycloak does not know the account, or not its secret."""


class NoRealm(Refused):
    """There is no such realm, or nothing of Keycloak at that address."""


class Forbidden(OpsError):
    """The account has not the right to do that."""


def secret(project: Project, name: str) -> str:
    """The newest value, whatever release runs: what was rotated never comes back.

    Raises OpsError where the state folder has none.
    """
    return values(project.state, name)[0]


def connect(
    project: Project, account: Account = KEEPER, *, port: int | None = None, value: str = ""
) -> KeycloakOpenIDConnection:
    """A connection in the name of an account. Nothing is asked before the first request.

    port: of the operator's listener, where it is not the one that the checkout says. value: the account's secret, where it is
    not the newest one. Without it the previous one is tried as well: a rotation may have been interrupted between the state
    folder and Keycloak.
    Raises OpsError where the state folder lacks the account's secret.
    """
    # Takes 0.2 s to import, which commands without it shall not pay.
    from keycloak import KeycloakOpenIDConnection
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
    return Connection(
        server_url=placeholders(project.settings, ports)["CC03_OPS_URL"] + "/auth/",
        realm_name=REALM, user_realm_name=account.realm, client_id=account.client_id,
        grant_type="password" if account.user else "client_credentials",
        username=account.user or None, password=newest if account.user else None,
        client_secret_key=None if account.user else newest,
        verify=str(project.state.site_roots), timeout=ASK_SECONDS,
    )  # fmt: skip


@dataclass(frozen=True)
class Answer:
    """status: of HTTP. location: the address of what was made. said: why it was refused, as Keycloak tells it."""

    status: int
    content: Any = None
    location: str = ""
    said: str = ""


@dataclass(frozen=True)
class Api:
    """The admin API of one realm. realm: empty for all of it, with paths that begin with a realm's name."""

    connection: KeycloakOpenIDConnection
    realm: str = REALM

    @classmethod
    def of(cls, project: Project, account: Account, realm: str = REALM, *, value: str = "") -> Api:
        """value: as of `connect`."""
        return cls(connect(project, account, value=value), realm)

    def log_in(self) -> None:
        """Get a token. Raises Refused where Keycloak denies it, Unreachable where none comes."""
        with _told(self.connection):
            self.connection.get_token()

    def why_refused(self) -> str:
        """Why no token was given; empty: one was."""
        try:
            self.log_in()
        except OpsError as problem:
            return problem.why
        return ""

    def ask(self, method: str, path: str, body: Any = None, *, ok: tuple[int, ...] = (), **query: Any) -> Answer:
        """One request.

        path: below the realm. body: what is sent as JSON. ok: statuses of 400 and more that are answers too.
        Raises Unreachable, Refused (no token), Forbidden, or OpsError with what Keycloak says.
        """
        send = getattr(self.connection, f"raw_{method.lower()}")
        given = {} if method == "GET" else {"data": None if body is None else json.dumps(body)}
        with _told(self.connection):
            answer = send(f"admin/realms/{self.realm}{path}".rstrip("/"), **given, **query)
        status, what = answer.status_code, f"Keycloak refused {method} {path.partition('?')[0]}"
        if status in (502, 503, 504):
            raise Unreachable("Keycloak does not answer", f"HTTP {status}: nginx answers in its place", "inv keycloak")
        said = _said(answer.text) if status >= 400 else ""
        if status == 403 and status not in ok:
            raise Forbidden(what, f"HTTP 403: {self.connection.client_id} has no role for that", "inv keycloak.plan")
        if status >= 400 and status not in ok:
            raise OpsError(what, f"HTTP {status}: {said or 'it did not say why'}", "inv keycloak")
        content = answer.json() if answer.text and "json" in answer.headers.get("Content-Type", "") else None
        return Answer(status, content, answer.headers.get("Location", ""), said)

    def get(self, path: str, **query: Any) -> Any:
        return self.ask("GET", path, **query).content

    def pages(self, path: str, *, most: int | None = None, **query: Any) -> Iterator[Mapping[str, Any]]:
        """Every entry of a list, page by page; at most so many."""
        first = 0
        while most is None or first < most:
            found = self.get(path, first=first, max=PAGE, **query)
            yield from found
            if len(found) < PAGE:
                return
            first += PAGE


def _said(text: str) -> str:
    """Why, as Keycloak tells it, in one line; empty where somebody else has answered in its place, with a page."""
    try:
        said = json.loads(text)
        words = said.get("errorMessage") or said.get("error_description") or said.get("error") or ""
    except (ValueError, AttributeError):
        return ""
    return " ".join(str(words).split())[:300]


@contextmanager
def _told(connection: KeycloakOpenIDConnection) -> Iterator[None]:
    """Errors of the library as ours: why no answer came, or no token for the account that asks."""
    from keycloak.exceptions import KeycloakError

    try:
        yield
    except (KeycloakError, OSError) as problem:
        status, body = getattr(problem, "response_code", None), getattr(problem, "response_body", None) or b""
        if status is None:
            cause = problem.__cause__
            why = (f"{problem} ({type(cause).__name__})" if cause else str(problem)) or type(problem).__name__
            raise Unreachable("Keycloak does not answer", why[:300], "inv keycloak") from problem
        said = _said(body.decode(errors="replace"))
        if status in (400, 401, 403, 404):
            what, why = f"Keycloak gives {connection.client_id} no token", f"HTTP {status}: {said or 'it did not say why'}"
            raise (NoRealm if status == 404 else Refused)(what, why, "inv keycloak") from problem
        why = f"HTTP {status}: {said or 'nginx answers in its place'}"
        raise Unreachable("Keycloak does not answer", why, "inv keycloak") from problem
