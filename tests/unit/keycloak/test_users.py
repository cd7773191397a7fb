"""What a command line about users means, and what a list of them shows."""

from __future__ import annotations

import json
import random
from collections.abc import Iterator
from contextlib import contextmanager
from types import SimpleNamespace
from typing import Any, cast

import pytest

from ops.core.errors import UsageProblem
from ops.keycloak.users import commands, users
from ops.keycloak.users.users import Asked, Observed, User, first_password_spent

ADD = Asked("add", "alice", "alice@example.test", "Alice", "Example", ("editor",))
RAW = {
    "id": "1", "username": "alice", "email": "alice@example.test", "enabled": True, "requiredActions": ["UPDATE_PASSWORD"],
    "bruteForceStatus": {"disabled": True, "numFailures": 7},
}  # fmt: skip


def changed(asked: Asked, **fields: Any) -> Asked:
    return Asked(**{**asked.__dict__, **fields})


@pytest.mark.parametrize(
    ("asked", "said"),
    [
        (changed(ADD, action="ad"), 'did you mean "add"?'),
        (changed(ADD, name=""), "needs NAME"),
        (changed(ADD, name="alice smith"), "is no name for a user"),
        (changed(ADD, name="-alice"), "is no name for a user"),
        (changed(ADD, email=""), "add needs --email"),
        (changed(ADD, first=" "), "add needs --first"),
        (changed(ADD, last=""), "add needs --last"),
        (changed(ADD, email="alice"), "is no e-mail address"),
        (changed(ADD, name="", email="alice"), 'add needs NAME; "alice" is no e-mail address'),
        (Asked("add"), "add needs NAME, --email, --first, --last "),
        (changed(ADD, name="-a", last=""), 'add needs --last; "-a" is no name for a user'),
        (Asked("delete"), "delete needs NAME"),
        (Asked("show", "alice", search="a", keep_sessions=True), "show takes no --search and no --keep-sessions"),
        (changed(ADD, keep_sessions=True), "add takes no --keep-sessions"),
        (Asked("list", "alice"), "list takes no NAME"),
        (Asked("list", roles=("editor",)), "list takes no --role"),
        (Asked("reset", "alice", search="a"), "reset takes no --search"),
        (Asked("disable"), "needs NAME"),
        (Asked("unlock", "alice", email="a@b"), "unlock takes no --email"),
    ],
)
def test_command_line_that_cannot_be_meant_is_refused(asked: Asked, said: str) -> None:
    with pytest.raises(UsageProblem) as refused:
        commands.check(asked)

    assert said in f"{refused.value.what} {refused.value.why}"


@pytest.mark.parametrize(
    "asked",
    [ADD, Asked("reset", "alice", keep_sessions=True), Asked("list", search="ali"), Asked("list"), Asked("disable", "x")],
)
def test_command_line_that_can_be_meant_is_taken_as_it_is(asked: Asked) -> None:
    assert commands.check(asked) == asked


@pytest.mark.parametrize("name", ["operator", "cc03-probe", "service-account-cc03-keeper"])
def test_user_that_the_stack_needs_or_declares_is_not_deleted(name: str) -> None:
    with pytest.raises(UsageProblem, match="cannot be deleted"):
        commands.refuse_to_delete(name, ["operator", "cc03-probe"])
    commands.refuse_to_delete("alice", ["operator", "cc03-probe"])


@pytest.mark.parametrize(
    ("policy", "said"),
    [
        ("length(12) and maxLength(128) and notUsername and notEmail and passwordHistory(5)",
         "at least 12 characters, at most 128 characters, not the user name, not the e-mail address, none of the last 5"),
        ("hashIterations(210000) and notUsername(undefined) and digits(2)", "not the user name, digits: 2 or more"),
        ("", ""),
    ],
)  # fmt: skip
def test_all_rules_for_a_password_are_said_at_once(policy: str, said: str) -> None:
    assert users.password_rules(policy) == said


def test_details_of_a_user() -> None:
    raw = {**RAW, "firstName": "Alice", "lastName": "Example", "createdTimestamp": 1_700_000_000_000}
    found = users.details(
        raw, ["editor", "viewer", "default-roles-cc03", "offline_access"], {"disabled": True, "numFailures": 7}, 2, None,
        [{"type": "password", "createdDate": 1_700_000_600_000}, {"type": "otp", "createdDate": 1_700_000_700_000}],
    )  # fmt: skip

    assert found["roles"] == ["editor", "viewer"]
    assert found["credentials"] == {"password": 1_700_000_600.0, "otp": 1_700_000_700.0}
    lines = dict(users.detail_lines(found))
    assert lines["state"] == "locked, 7 failed login(s) counted"
    assert lines["must at the next login"] == "update password"
    assert lines["last login"] == "-"
    assert lines["full name"] == "Alice Example"
    assert {"otp since", "password since"} < set(lines)


def test_names_are_small_letters_as_keycloak_keeps_them() -> None:
    assert commands.check(changed(ADD, name="Alice")).name == "alice"


def test_role_that_does_not_exist_is_refused_with_a_suggestion() -> None:
    known = ["admin", "editor", "viewer", "offline_access", "default-roles-cc03"]
    users.refuse_unknown_roles(["editor", "viewer"], known)

    with pytest.raises(UsageProblem) as refused:
        users.refuse_unknown_roles(["editr"], known)
    assert refused.value.why == 'did you mean "editor"?'
    with pytest.raises(UsageProblem):
        users.refuse_unknown_roles(["offline_access"], known)


def test_one_time_password_can_be_read_out_and_satisfies_policies() -> None:
    made = {users.password(random.Random(number).choice) for number in range(200)}  # noqa: S311  (a test)

    assert len(made) == 200
    for one in made:
        assert [len(group) for group in one.split("-")] == [5, 5, 5, 5]
        assert not set(one) & set(users.UNCLEAR)
        assert any(c.isupper() for c in one) and any(c.islower() for c in one) and any(c.isdigit() for c in one)


def test_new_user_has_to_change_the_password() -> None:
    made = users.new_user(ADD, "one-time")

    assert made["credentials"] == [{"type": "password", "value": "one-time", "temporary": True}]
    assert (made["requiredActions"], made["enabled"], made["username"]) == (["UPDATE_PASSWORD"], True, "alice")


def test_list_shows_direct_roles_those_of_the_default_role_lock_sessions_and_last_login() -> None:
    seen = Observed(
        members={"editor": frozenset("1"), "admin": frozenset("2"), "default-roles-cc03": frozenset("12")},
        default=("viewer", "offline_access"), sessions={"1": 3}, logins={"1": 1000.0},
    )  # fmt: skip

    assert users.user_of(RAW, seen) == User(
        "alice", "alice@example.test", ("editor", "viewer"), True, True, 1000.0, 3, ("UPDATE_PASSWORD",)
    )
    assert users.user_of({"id": "9", "username": "bob"}, seen) == User("bob", enabled=False, locked=False)


def test_session_that_two_clients_share_counts_once() -> None:
    sessions = [{"id": "a", "userId": "1"}, {"id": "a", "userId": "1"}, {"id": "b", "userId": "1"}, {"id": "c", "userId": "2"}]

    assert users.session_counts(sessions) == {"1": 2, "2": 1}


def test_last_login_is_the_newest_event_in_seconds() -> None:
    times = [("1", 5000), ("1", 9000), (None, 1), ("2", 7000)]
    events = [{"userId": user, "time": at} for user, at in times]

    assert users.last_logins(events) == {"1": 9.0, "2": 7.0}


def test_row_tells_disabled_before_locked() -> None:
    assert users.row(User("a", enabled=False, locked=True))[3] == "disabled"
    assert users.row(User("a", locked=True))[3] == "locked"
    assert users.row(User("a", required_actions=("UPDATE_PASSWORD",)))[2:] == (
        "-", "yes", "-", "0", "update password",
    )  # fmt: skip


def test_list_for_programs_has_plain_values(capsys: pytest.CaptureFixture[str]) -> None:
    found = [User("a", "a@b", ("editor",), True, False, 1.5, 2, ("UPDATE_PASSWORD",))]
    asked = cast(users.Users, SimpleNamespace(list=lambda search: found))
    commands._list(asked, Asked("list"), as_json=True)

    assert json.loads(capsys.readouterr().out) == [{
        "name": "a", "email": "a@b", "enabled": True, "locked": False, "roles": ["editor"], "last_login": 1.5, "sessions": 2,
        "required_actions": ["UPDATE_PASSWORD"],
    }]  # fmt: skip


DAY = 86_400_000


@pytest.mark.parametrize(
    ("actions", "age", "why"),
    [
        (["UPDATE_PASSWORD"], 40, ""),
        (["UPDATE_PASSWORD"], DAY, "inv keycloak.user reset has replaced it"),
        ([], DAY, "it was used, and the user has chosen another password"),
        ([], None, "the user has no password"),
    ],
)
def test_first_password_is_valid_until_it_was_used_or_replaced(actions: list[str], age: int | None, why: str) -> None:
    user = {"createdTimestamp": 1_700_000_000_000, "requiredActions": actions}
    passwords = [] if age is None else [{"type": "password", "createdDate": 1_700_000_000_000 + age}]

    assert first_password_spent(user, [*passwords, {"type": "otp", "createdDate": 0}]) == why


# What a command does.


class Realm:
    """The admin API of a realm with one user, who has two sessions and seven failed logins. asked: what changed something."""

    def __init__(self) -> None:
        self.asked: list[tuple[str, str, Any]] = []

    def get(self, path: str, **_: Any) -> Any:
        answers = {
            "/users": [{**RAW, "createdTimestamp": 0}], "": {"passwordPolicy": "length(12)"},
            f"{users.LOCKS}/1": RAW["bruteForceStatus"],
            "/users/1/sessions": [{"id": "a"}], "/users/1/offline-sessions/c": [{"id": "b"}],
            "/roles": [{"name": "editor"}], "/roles/editor": {"name": "editor"},
        }  # fmt: skip
        return answers[path]

    def pages(self, path: str, **_: Any) -> Any:
        return {"/clients": [{"id": "c"}], "/users": [RAW]}[path]

    def ask(self, method: str, path: str, body: Any = None, **_: Any) -> Any:
        self.asked.append((method, path, body))
        return SimpleNamespace(location="https://x/2")


@pytest.fixture
def changed_by(monkeypatch: pytest.MonkeyPatch) -> Any:
    realm, told = Realm(), list[tuple[str, ...]]()
    project = SimpleNamespace(realm="realm: cc03\nusers: [{username: operator}]\n")

    @contextmanager
    def recorded(_: Any, plan: Any) -> Iterator[None]:
        told.append((plan.steps[0].title, *plan.destroys))
        yield

    def change(asked: Asked) -> tuple[dict[str, Any], list[tuple[str, ...]], list[tuple[str, str, Any]]]:
        return commands._change(cast(Any, project), users.Users(cast(Any, realm)), asked, True), told, realm.asked

    monkeypatch.setattr(commands, "recorded", recorded)
    monkeypatch.setattr(users, "password", lambda _: "one-time")
    return change


RULES = {"password_rules": "at least 12 characters"}
LOGOUT = [("POST", "/users/1/logout", None), ("DELETE", "/sessions/b?isOffline=true", None)]
UNLOCK = ("DELETE", f"{users.LOCKS}/1", None)


@pytest.mark.parametrize(
    ("asked", "outcome", "told", "requests"),
    [
        (Asked("unlock", "alice"), {"was_locked": True, "failures": 7, "enabled": True}, ("unlock alice",), [UNLOCK]),
        (
            Asked("reset", "alice"),
            {"one_time_password": "one-time", "sessions_ended": 2, "enabled": True, **RULES},
            ("give alice a new one-time password",),
            [
                ("PUT", "/users/1/reset-password", {"type": "password", "value": "one-time", "temporary": True}), *LOGOUT,
                UNLOCK,
            ],
        ),
        (
            Asked("disable", "alice"), {"sessions_ended": 2, "was_enabled": True},
            ("disable alice", "alice can not log in any more; 2 open session(s) end"),
            [("PUT", "/users/1", {**RAW, "createdTimestamp": 0, "enabled": False}), *LOGOUT],
        ),
        (
            Asked("enable", "alice"), {"was_enabled": True}, ("enable alice",),
            [("PUT", "/users/1", {**RAW, "createdTimestamp": 0, "enabled": True})],
        ),
        (
            Asked("delete", "alice"), {"sessions_ended": 2},
            ("delete alice", "user alice, with roles and password; 2 open session(s) end"),
            [*LOGOUT, ("DELETE", "/users/1", None)],
        ),
        (
            changed(ADD, name="bob"), {"one_time_password": "one-time", "roles": ["editor"], **RULES},
            ("add user bob, roles: editor",),
            [
                ("POST", "/users", users.new_user(changed(ADD, name="bob"), "one-time")),
                ("POST", "/users/2/role-mappings/realm", [{"name": "editor"}]),
            ],
        ),
    ],
    ids=lambda one: one.action if isinstance(one, Asked) else "",
)  # fmt: skip
def test_change_says_what_came_of_it(
    asked: Asked, outcome: dict[str, Any], told: tuple[str, ...], requests: list[Any], changed_by: Any
) -> None:
    found, said, sent = changed_by(asked)

    assert list(found.items()) == list(outcome.items())
    assert (said, sent) == ([told], requests)


def test_user_that_there_is_not_is_no_change(changed_by: Any) -> None:
    with pytest.raises(UsageProblem, match='there is no user "alic"'):
        changed_by(Asked("disable", "alic"))
    with pytest.raises(UsageProblem, match='there is a user "alice" already'):
        changed_by(ADD)
    with pytest.raises(UsageProblem, match="operator cannot be deleted"):
        changed_by(Asked("delete", "operator"))
