"""The operator's commands on users: what they say happens, and their one-time passwords stand nowhere."""

from __future__ import annotations

import html
import json
import re
import secrets
from collections.abc import Iterator
from typing import Any
from urllib.parse import parse_qs, urlsplit

import pytest

from tests.smoke.accounts import PREFIX, Accounts, Login
from tests.smoke.live import Live

GUESSES = 5
"""Failures after which the realm locks a user (failureFactor)."""


class Operator:
    """`inv keycloak.user` on one user."""

    def __init__(self, live: Live, name: str) -> None:
        self.live, self.name = live, name

    def __call__(self, action: str, *options: str) -> dict[str, Any]:
        answer = self.live.inv("keycloak.user", action, self.name, *options, "--json")
        assert answer.returncode == 0, answer.stdout + answer.stderr
        outcome: dict[str, Any] = json.loads(answer.stdout)
        return outcome

    def listed(self) -> dict[str, Any]:
        answer = self.live.inv("keycloak.user", "list", "--search", self.name, "--json")
        (found,) = json.loads(answer.stdout)
        assert isinstance(found, dict)
        return found


@pytest.fixture
def operator(live: Live, accounts: Accounts) -> Iterator[Operator]:
    name = PREFIX + secrets.token_hex(5)
    yield Operator(live, name)
    for user in accounts.admin("GET", "/users", params={"username": name, "exact": "true"}).json():
        accounts.admin("DELETE", f"/users/{user['id']}")


def added(operator: Operator) -> str:
    who = ("--email", f"{operator.name}@smoke.invalid", "--first", "Smoke", "--last", "User", "--role", "editor")
    return str(operator("add", *who)["one_time_password"])


def log_in_and_change(live: Live, name: str, one_time: str) -> tuple[Login, str]:
    """The first login, in which the password must be changed. Returns the browser and the new password."""
    login, password = Login(live), secrets.token_urlsafe(16)
    asked = login.submit(name, one_time)
    assert "UPDATE_PASSWORD" in asked.headers.get("Location", ""), f"{asked.status_code}: it was not asked to change it"
    page = login.client.get(asked.headers["Location"])
    form = re.search(r'<form[^>]*id="kc-passwd-update-form"[^>]*action="([^"]+)"', page.text)
    assert form, page.text[:300]
    fields = {"password-new": password, "password-confirm": password}
    changed = login.client("POST", html.unescape(form[1]), data=fields)
    code = parse_qs(urlsplit(changed.headers["Location"]).query)["code"][0]
    assert login.exchange(code).status_code == 200
    return login, password


def test_new_user_logs_in_once_with_what_was_printed_and_it_is_kept_nowhere(live: Live, operator: Operator) -> None:
    one_time = added(operator)
    log_in_and_change(live, operator.name, one_time)

    found = operator.listed()
    assert (found["roles"], found["sessions"], found["required_actions"]) == (["editor", "viewer"], 1, [])
    assert found["last_login"] is not None
    assert Login(live).submit(operator.name, one_time).status_code == 200, "the one-time password works twice"
    state = live.project.state
    for path in (state.audit, state.journal, *state.logs.glob("*.log")):
        assert not path.exists() or one_time not in path.read_text(errors="replace"), path
    assert operator.name in state.audit.read_text()


def test_disabled_user_loses_every_session(live: Live, operator: Operator) -> None:
    login, password = log_in_and_change(live, operator.name, added(operator))

    assert operator("disable", "--yes")["sessions_ended"] == 1
    assert "code=" not in login.authorize(prompt="none").headers.get("Location", "")
    assert Login(live).submit(operator.name, password).status_code == 200
    assert operator.listed()["enabled"] is False
    assert operator("enable")["was_enabled"] is False
    assert Login(live).tokens(operator.name, password)


def test_locked_user_is_unlocked_and_the_new_password_is_a_one_time_one(live: Live, operator: Operator) -> None:
    added(operator)
    for _ in range(GUESSES):
        Login(live).submit(operator.name, "wrong" * 4)
    assert operator.listed()["locked"] is True

    unlocked = operator("unlock")
    # Guesses that follow each other too quickly lock as well, and those that follow a lock are not counted.
    assert unlocked["was_locked"] is True and 1 <= unlocked["failures"] <= GUESSES
    assert operator("unlock")["was_locked"] is False
    one_time = operator("reset")["one_time_password"]
    log_in_and_change(live, operator.name, one_time)


def test_user_that_exists_or_does_not_is_told(live: Live, operator: Operator) -> None:
    added(operator)
    again = live.inv("keycloak.user", "add", operator.name, "--email", "x@smoke.invalid", "--first", "X", "--last", "Y")
    unknown = live.inv("keycloak.user", "reset", operator.name + "x")

    assert (again.returncode, unknown.returncode) == (2, 2)
    assert "already" in again.stderr
    assert f'there is no user "{operator.name}x"' in unknown.stderr


def test_user_is_shown_and_deleted_with_every_session(live: Live, operator: Operator) -> None:
    login, password = log_in_and_change(live, operator.name, added(operator))

    shown = operator("show")
    assert (shown["roles"], shown["sessions"], shown["enabled"], shown["locked"]) == (["editor", "viewer"], 1, True, False)
    assert shown["last_login"] is not None
    assert "password" in shown["credentials"]
    assert operator("delete", "--yes")["sessions_ended"] == 1
    assert "code=" not in login.authorize(prompt="none").headers.get("Location", "")
    assert Login(live).submit(operator.name, password).status_code == 200
    assert live.inv("keycloak.user", "show", operator.name).returncode == 2
    assert live.inv("keycloak.user", "delete", "operator", "--yes").returncode == 2
