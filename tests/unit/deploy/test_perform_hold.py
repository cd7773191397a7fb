"""Keycloak's requests wait in nginx before it is told to end, whatever ends it."""

from __future__ import annotations

import threading
from types import SimpleNamespace
from typing import Any

import pytest

from ops.core.plan import Step
from ops.deploy import perform
from ops.deploy.perform import Execution
from ops.deploy.steps import RemoveContainer, RestartContainer, StopContainer

SERVICES = {
    "keycloak": SimpleNamespace(hold=("hold", "keycloak"), slots=lambda: ("keycloak",)),
    "redis": SimpleNamespace(hold=None, slots=lambda: ("redis",)),
}


@pytest.fixture
def ran(monkeypatch: pytest.MonkeyPatch) -> list[tuple[str, ...]]:
    monkeypatch.setattr(perform, "recover", lambda *_: None)
    monkeypatch.setattr(Execution, "_list", lambda _: None)
    return []


@pytest.fixture
def performer(ran: list[tuple[str, ...]]) -> Execution:
    def run(argv: tuple[str, ...], **_: Any) -> None:
        ran.append(argv)

    made = Execution.__new__(Execution)
    vars(made).update(
        project=SimpleNamespace(name="cc03"), host=SimpleNamespace(run=run), stack=SimpleNamespace(services=SERVICES),
        down_since={}, _touched=True, _guard=threading.Lock(),
    )  # fmt: skip
    return made


@pytest.mark.parametrize("kind", [StopContainer, RestartContainer, RemoveContainer])
def test_nginx_is_told_before_keycloak_is(kind: type[Any], performer: Execution, ran: list[tuple[str, ...]]) -> None:
    step: Step = kind("end", "end keycloak", slot="keycloak")
    performer.perform(step)
    told, ended = ran
    assert told == ("podman", "exec", "cc03-nginx", "hold", "keycloak")
    assert ended[1] in ("stop", "restart", "rm") and "cc03-keycloak" in ended


def test_others_end_without_that(performer: Execution, ran: list[tuple[str, ...]]) -> None:
    performer.perform(RemoveContainer("end", "end redis", slot="redis"))
    performer.perform(RemoveContainer("end", "end what the stack does not have any more", slot="former"))
    assert [argv[1] for argv in ran] == ["rm", "rm"]
