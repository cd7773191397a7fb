"""Requests to Keycloak's admin API, whose refusals are told as any other failure is."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from ops.core.errors import OpsError
from ops.keycloak.admin import Account, connect
from ops.keycloak.failures.facts import REALM

if TYPE_CHECKING:
    from keycloak import KeycloakOpenIDConnection

    from ops.project import Project

PAGE = 500
"""Entries asked for at once."""


@dataclass(frozen=True)
class Answer:
    """status: of HTTP. location: the address of what was made."""

    status: int
    content: Any = None
    location: str = ""


@dataclass(frozen=True)
class Api:
    """The admin API of one realm."""

    connection: KeycloakOpenIDConnection
    realm: str = REALM

    @classmethod
    def of(cls, project: Project, account: Account, realm: str = REALM) -> Api:
        return cls(connect(project, account).connection, realm)

    def ask(self, method: str, path: str, body: Any = None, *, ok: tuple[int, ...] = (), **query: Any) -> Answer:
        """One request.

        Parameters
        ----------
        path: below the realm. body: what is sent as JSON. ok: statuses of 400 and more that are answers too.

        Raises OpsError where Keycloak refuses it or cannot be reached.
        """
        from keycloak.exceptions import KeycloakError

        send = getattr(self.connection, f"raw_{method.lower()}")
        given = {} if method == "GET" else {"data": None if body is None else json.dumps(body)}
        try:
            answer = send(f"admin/realms/{self.realm}{path}", **given, **query)
        except (KeycloakError, OSError) as problem:
            raise unreachable(problem) from problem
        if answer.status_code >= 400 and answer.status_code not in ok:
            raise _refused(method, path, answer.status_code, answer.text)
        content = answer.json() if answer.text and "json" in answer.headers.get("Content-Type", "") else None
        return Answer(answer.status_code, content, answer.headers.get("Location", ""))

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
    """Why, as Keycloak tells it; empty where somebody else has answered in its place, with a page."""
    try:
        said = json.loads(text)
        return str(said.get("errorMessage") or said.get("error_description") or said.get("error") or "")[:300]
    except (ValueError, AttributeError):
        return ""


def _refused(method: str, path: str, status: int, text: str) -> OpsError:
    why = f"HTTP {status}: {_said(text) or 'it did not say why'}"
    return OpsError(f"Keycloak refused {method} {path.partition('?')[0]}", why, "inv keycloak")


def unreachable(problem: Exception) -> OpsError:
    """Why no answer came, or no token for the account that asks."""
    status, body = getattr(problem, "response_code", None), getattr(problem, "response_body", None) or b""
    if status is None:
        why = str(problem) or type(problem).__name__
    else:
        why = f"HTTP {status}: {_said(body.decode(errors='replace')) or 'nginx answers in its place'}"
    return OpsError("Keycloak's admin API does not answer", why[:300], "inv keycloak")
