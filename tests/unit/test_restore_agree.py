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
    monkeypatch.setattr(restoring, "secret_versions", lambda _: {})
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
