"""Temporary users of the realm, made by the operations client of Keycloak and logged in as a browser would."""

from __future__ import annotations

import secrets
import time
from dataclasses import dataclass, field
from typing import Any
from urllib.parse import parse_qs, urlsplit

import requests

from ops.keycloak.probe.browser import FRONTEND, BrowserLogin, action_of
from tests.smoke.live import Client, Live

PREFIX = "smoke-"
REALM = "/auth/realms/cc03"
ADMIN = "/auth/admin/realms/cc03"
ABANDONED_AFTER = 600
"""Seconds after which a user of an earlier run can only be one that was killed."""


@dataclass
class Account:
    """One user with its password. A token is asked for when the last one gets old."""

    live: Live
    identity: str
    username: str
    password: str
    role: str
    _token: str = field(default="", repr=False)
    _until: float = 0.0

    @property
    def token(self) -> str:
        if time.monotonic() > self._until:
            answer = Login(self.live).tokens(self.username, self.password)
            self._token, self._until = answer["access_token"], time.monotonic() + answer["expires_in"] - 60
        return self._token

    def log_in_anew(self) -> None:
        """Whatever is known from before: the user, the password and the session may have gone since."""
        self._until = 0.0
        assert self.token

    @property
    def headers(self) -> dict[str, str]:
        return {"Authorization": f"Bearer {self.token}"}

    def __call__(self, method: str, path: str, **options: Any) -> requests.Response:
        """A request to the API in this user's name."""
        return self.live.site(method, f"/api/v1{path}", headers={**self.headers, **options.pop("headers", {})}, **options)


class Login(BrowserLogin):
    """The authorization code flow with PKCE, step by step, with a cookie jar of its own."""

    def __init__(self, live: Live, client_id: str = FRONTEND) -> None:
        super().__init__(Client(live.site.base, live.ca), live.site.base, client_id)

    def submit(self, username: str, password: str) -> requests.Response:
        """Fill in Keycloak's form. Success is a redirect that carries a code."""
        return self.fill_in(self.authorize(), username, password)

    def fill_in(self, page: requests.Response, username: str, password: str) -> requests.Response:
        """The form of a page that was asked for before."""
        action = action_of(page.text)
        assert page.status_code == 200 and action, f"no login form: {page.status_code} {page.text[:300]}"
        return self.send(action, username, password)

    def tokens(self, username: str, password: str) -> dict[str, Any]:
        answer = self.submit(username, password)
        location = answer.headers.get("Location", "")
        assert answer.status_code == 302 and location.startswith(self.redirect), f"login refused: {answer.status_code}"
        exchanged = self.exchange(parse_qs(urlsplit(location).query)["code"][0])
        assert exchanged.status_code == 200, exchanged.text
        tokens: dict[str, Any] = exchanged.json()
        return tokens


class Accounts:
    """Makes users through the admin API, and removes them again."""

    def __init__(self, live: Live) -> None:
        self._live = live
        self._made: list[str] = []
        self._headers: dict[str, str] = {}
        self._until = 0.0

    def admin(self, method: str, path: str, **options: Any) -> requests.Response:
        """A request to the realm's admin API, which only the operator's listener has."""
        if time.monotonic() > self._until:
            self._log_in()
        answer = self._live.ops(method, f"{ADMIN}{path}", headers=self._headers, **options)
        assert answer.status_code < 400, f"{method} {path}: {answer.status_code} {answer.text[:300]}"
        return answer

    def _log_in(self) -> None:
        grant = {
            "grant_type": "client_credentials", "client_id": "cc03-ops", "client_secret": self._live.secret("keycloak-ops"),
        }  # fmt: skip
        answer = self._live.ops("POST", "/auth/realms/master/protocol/openid-connect/token", data=grant)
        assert answer.status_code == 200, f"the operations client is refused: {answer.text[:300]}"
        self._headers = {"Authorization": f"Bearer {answer.json()['access_token']}"}
        self._until = time.monotonic() + answer.json()["expires_in"] - 20

    def create(self, role: str) -> Account:
        """A user with a role of the realm. A viewer is given none: every user is one."""
        username, password = PREFIX + secrets.token_hex(5), secrets.token_urlsafe(24)
        user = {
            "username": username, "enabled": True, "email": f"{username}@smoke.invalid", "emailVerified": True,
            "firstName": "Smoke", "lastName": role.capitalize(),
            "credentials": [{"type": "password", "value": password, "temporary": False}],
        }  # fmt: skip
        identity = self.admin("POST", "/users", json=user).headers["Location"].rpartition("/")[2]
        self._made.append(identity)
        if role != "viewer":
            self.admin("POST", f"/users/{identity}/role-mappings/realm", json=[self.admin("GET", f"/roles/{role}").json()])
        return Account(self._live, identity, username, password, role)

    def remove_abandoned(self) -> None:
        """What a killed run has left behind."""
        oldest = (time.time() - ABANDONED_AFTER) * 1000
        for user in self.admin("GET", "/users", params={"search": PREFIX, "max": "500"}).json():
            if user["username"].startswith(PREFIX) and user["createdTimestamp"] < oldest:
                self.admin("DELETE", f"/users/{user['id']}")

    def log_in_anew(self) -> None:
        """The session of before is not to be counted upon: Keycloak's database may be another one."""
        self._until = 0.0

    def forget(self, account: Account) -> None:
        """Somebody else has removed it."""
        self._made.remove(account.identity)

    def remove(self) -> None:
        while self._made:
            self.admin("DELETE", f"/users/{self._made[-1]}")
            self._made.pop()
