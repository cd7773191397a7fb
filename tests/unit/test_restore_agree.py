"""Keycloak's accounts after a restore: only a client that is refused is made anew, never one of a Keycloak that is slow."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import cast

import pytest

from ops.errors import OpsError
from ops.machine.backup import restoring
from ops.machine.keycloak import login, probe, rotate
from ops.machine.keycloak.edge import Answer
from ops.machine.project import Project
from ops.machine.secrets import checkers
from ops.machine.state import State
from ops.model import Step

SERVICE = SimpleNamespace(stop_seconds=10)
PROJECT = cast(
    Project,
    SimpleNamespace(
        state=SimpleNamespace(site_roots=Path("ca.pem")),
        deployed=SimpleNamespace(stack=SimpleNamespace(services={"keycloak": SERVICE}), compose={"services": {"keycloak": {}}}),
    ),
)


@pytest.fixture
def steps(monkeypatch: pytest.MonkeyPatch) -> Iterator[list[Step]]:
    """Those that were performed, where nothing but the operations client is wrong."""
    monkeypatch.setattr(login.Login, "as_operations", lambda own: own.as_client("ops", "value"))
    monkeypatch.setattr(login, "Place", lambda *_: SimpleNamespace(ops_url="https://ops"))
    monkeypatch.setattr(restoring, "grace", lambda _: 10)
    monkeypatch.setattr(restoring, "declared", lambda _: None)
    monkeypatch.setattr(restoring, "bring_about", lambda *_, **__: None)
    monkeypatch.setattr(probe, "ready", lambda *_: None)
    monkeypatch.setattr(restoring, "present_secrets", lambda _: {})
    monkeypatch.setattr(rotate, "ANSWERS_WITHIN", 2.0)
    yield []


def answers(monkeypatch: pytest.MonkeyPatch, *said: Answer) -> None:
    rest = list(said)
    monkeypatch.setattr(login, "request", lambda *_, **__: rest.pop(0) if len(rest) > 1 else rest[0])


SLOW, REFUSED, GRANTED = (
    Answer(0, "timed out"),
    Answer(401, '{"error": "unauthorized_client"}'),
    Answer(200, '{"access_token": "t"}'),
)


@pytest.mark.parametrize(("said", "anew"), [((SLOW, GRANTED), False), ((GRANTED,), False), ((SLOW, REFUSED), True)])
def test_only_a_refused_client_is_made_anew(
    steps: list[Step], monkeypatch: pytest.MonkeyPatch, said: tuple[Answer, ...], anew: bool
) -> None:
    answers(monkeypatch, *said)

    restoring.agree(PROJECT, steps.append, lambda _: None, 60)

    assert bool(steps) is anew


def test_a_keycloak_that_says_nothing_is_not_taken_for_one_that_refuses(
    steps: list[Step], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(rotate, "ANSWERS_WITHIN", 0.0)
    answers(monkeypatch, SLOW)

    with pytest.raises(OpsError, match="Keycloak does not answer"):
        restoring.agree(PROJECT, steps.append, lambda _: None, 60)
    assert steps == []


def test_every_account_that_refuses_its_present_secret_is_given_it(steps: list[Step], monkeypatch: pytest.MonkeyPatch) -> None:
    """The declaration of the realm cannot tell the password of a user, which is of another time after a restore."""
    present = {"keycloak-ops": 3, "keycloak-probe-user": 2, "keycloak-admin": 4, "postgres-app": 5, "operator-password": 1}
    right, given = {"keycloak-ops"}, []
    answers(monkeypatch, GRANTED)
    monkeypatch.setattr(restoring, "present_secrets", lambda _: present)
    monkeypatch.setattr(checkers, "accepts", lambda _, to, secret, version: secret in right)
    monkeypatch.setattr(checkers, "hand_over", lambda _, step: given.append((step.to, step.secret, step.version)))

    restoring.agree(PROJECT, steps.append, lambda _: None, 60)

    assert given == [("user admin", "keycloak-admin", 4), ("account cc03-probe", "keycloak-probe-user", 2)]
    assert steps == []


def test_containers_log_in_with_the_version_of_their_release_and_commands_with_the_newest(tmp_path: Path) -> None:
    """A rotation that was interrupted before the release has made a version that no container has."""
    state = State(tmp_path)
    for secret, count in {"postgres-app": 3, "keycloak-probe-user": 3, "redis-app": 1, "of-another-release": 1}.items():
        (state.secrets / secret).mkdir(parents=True)
        for number in range(1, count + 1):
            (state.secrets / secret / str(number)).write_text("value")
    deployed = SimpleNamespace(
        stack=SimpleNamespace(secrets=("postgres-app", "keycloak-probe-user", "redis-app")),
        versions={"postgres-app": 2, "keycloak-probe-user": 2, "redis-app": 1},
    )

    assert restoring.present_secrets(cast(Project, SimpleNamespace(state=state, deployed=deployed))) == {
        "postgres-app": 2, "keycloak-probe-user": 3, "redis-app": 1,
    }  # fmt: skip
