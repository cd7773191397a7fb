"""The authorization code flow as a browser goes through it: the login page, its form, the code that comes back."""

from __future__ import annotations

import base64
import hashlib
import html
import re
import secrets
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Protocol
from urllib.parse import parse_qs, urlsplit

import requests
from requests.adapters import HTTPAdapter

from ops.core.site import LOOPBACK
from ops.keycloak.failures.facts import REALM

FRONTEND = "cc03-frontend"
"""The application that users log in to: a public client, so with PKCE."""
OPENID = f"/auth/realms/{REALM}/protocol/openid-connect"
FORM = re.compile(r'<form[^>]*id="kc-form-login"[^>]*action="([^"]+)"')
MESSAGE = re.compile(
    r"""<(\w+)[^>]*(?:id=['"](?:input-error[\w-]*|kc-error-message)['"]|class=['"][^'"]*(?:instruction|alert)[^'"]*['"])[^>]*>"""
    r"(.*?)</\1>", re.DOTALL,
)  # fmt: skip
"""Where Keycloak's pages say what is wrong."""


FURTHER = re.compile(r"""id=['"]kc-(?!form-login|error|page|content|header)[\w-]*form['"]""")
"""A form that comes after the password: a second factor, a required action."""


class Answered(Protocol):
    """What is read of an answer."""

    @property
    def status_code(self) -> int: ...
    @property
    def text(self) -> str: ...
    @property
    def headers(self) -> Mapping[str, str]: ...


def action_of(page: str) -> str:
    """Where the login form of a page is sent to; empty: there is none."""
    found = FORM.search(page)
    return html.unescape(found[1]) if found else ""


def code_of(answer: Answered, redirect: str, state: str) -> str:
    """The code with which a login comes back to the application; empty: it does not."""
    location = answer.headers.get("Location", "")
    asked = parse_qs(urlsplit(location).query)
    back = answer.status_code in (302, 303) and location.startswith(redirect) and asked.get("state") == [state]
    return asked.get("code", [""])[0] if back else ""


def asks_more(answer: Answered) -> bool:
    """Whether the password was accepted and a further step is asked for, which the account of the probe cannot take."""
    if answer.status_code in (302, 303):
        return "/login-actions/required-action" in answer.headers.get("Location", "")
    return answer.status_code == 200 and not action_of(answer.text) and bool(FURTHER.search(answer.text))


def refusal(answer: Answered, otherwise: str) -> str:
    """What an answer says instead of going on, in a line."""
    location = answer.headers.get("Location", "")
    if error := parse_qs(urlsplit(location).query).get("error"):
        return f"HTTP {answer.status_code} {error[0]}"
    message = MESSAGE.search(answer.text)
    said = " ".join(re.sub(r"<[^>]*>", " ", message[2]).split())[:160] if message else ""
    what = otherwise if answer.status_code == 200 else f"HTTP {answer.status_code}"
    return f"{what}: {said}" if said else what


class Named(HTTPAdapter):
    """Connects to this host and asks for a site by its name, whatever DNS says."""

    def __init__(self, name: str) -> None:
        self.name = name
        super().__init__()

    def init_poolmanager(self, *given: Any, **options: Any) -> None:
        super().init_poolmanager(*given, **options, server_hostname=self.name, assert_hostname=self.name)


class Browser:
    """Keeps cookies, follows no redirect by itself, and trusts the given roots alone."""

    def __init__(self, url: str, ca: Path, seconds: float) -> None:
        parts = urlsplit(url)
        self.base, self.seconds = f"https://{LOOPBACK}:{parts.port or 443}", seconds
        self.session = requests.Session()
        self.session.trust_env = False
        self.session.verify = str(ca)
        # nginx would keep a request for a Keycloak that is away waiting: here the answer of this moment is asked for.
        self.session.headers.update({"Host": parts.netloc, "Prefer": "wait=0"})
        self.session.mount("https://", Named(parts.hostname or "localhost"))

    def __call__(self, method: str, where: str, **options: Any) -> requests.Response:
        parts = urlsplit(where)
        path = f"{parts.path}?{parts.query}" if parts.query else parts.path
        return self.session.request(method, self.base + path, allow_redirects=False, timeout=self.seconds, **options)

    def get(self, where: str, **options: Any) -> requests.Response:
        return self("GET", where, **options)


class BrowserLogin:
    """One login, step by step.

    client: has the form of `Browser`. url: of the application, without a slash at its end.
    """

    def __init__(self, client: Any, url: str, client_id: str = FRONTEND) -> None:
        self.client, self.client_id, self.redirect = client, client_id, f"{url}/"
        self.verifier, self.state = secrets.token_urlsafe(48), secrets.token_urlsafe(8)

    def authorize(self, **changed: str) -> requests.Response:
        """The login page, where nobody is logged in."""
        challenge = base64.urlsafe_b64encode(hashlib.sha256(self.verifier.encode()).digest()).rstrip(b"=").decode()
        asked = {
            "client_id": self.client_id, "response_type": "code", "scope": "openid profile", "redirect_uri": self.redirect,
            "state": self.state, "code_challenge": challenge, "code_challenge_method": "S256", **changed,
        }  # fmt: skip
        found: requests.Response = self.client.get(
            f"{OPENID}/auth", params={name: value for name, value in asked.items() if value}
        )
        return found

    def send(self, action: str, username: str, password: str) -> requests.Response:
        found: requests.Response = self.client("POST", action, data={"username": username, "password": password})
        return found

    def exchange(self, code: str) -> requests.Response:
        return self._token(grant_type="authorization_code", code=code, redirect_uri=self.redirect, code_verifier=self.verifier)

    def refresh(self, token: str) -> requests.Response:
        return self._token(grant_type="refresh_token", refresh_token=token)

    def log_out(self, token: str) -> None:
        self.client("POST", f"{OPENID}/logout", data={"client_id": self.client_id, "refresh_token": token})

    def _token(self, **grant: str) -> requests.Response:
        found: requests.Response = self.client("POST", f"{OPENID}/token", data={"client_id": self.client_id, **grant})
        return found


def why_not(url: str, ca: Path, username: str, password: str, seconds: float) -> str:
    """Why a user cannot log in with a browser; empty: it opened the page, sent the form, and its code was good for tokens.

    Where the realm asks everybody for more than a password, that the form was accepted is all that can be seen.
    """
    login = BrowserLogin(Browser(url, ca, seconds), url)
    try:
        page = login.authorize()
        action = action_of(page.text) if page.status_code == 200 else ""
        if not action:
            return f"the login page: {refusal(page, 'no login form')}"
        answer = login.send(action, username, password)
        code = code_of(answer, login.redirect, login.state)
        if asks_more(answer):
            return ""
        if not code:
            return f"the login form: {refusal(answer, 'the form came back, or another one, and no code')}"
        granted = login.exchange(code)
        if granted.status_code != 200:
            return f"the code: HTTP {granted.status_code} {granted.text[:160]}"
        login.log_out(str(granted.json().get("refresh_token", "")))
    except (requests.RequestException, ValueError) as problem:
        return " ".join(str(problem).split())[:200] or type(problem).__name__
    return ""
