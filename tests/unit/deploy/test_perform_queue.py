"""nginx queues Keycloak's requests before Keycloak is stopped, whatever stops it."""

from __future__ import annotations

import threading
from types import SimpleNamespace
from typing import Any, cast

import pytest

from ops.core.plan import Step
from ops.deploy.steps import RemoveContainer, RestartContainer, StopContainer
from ops.engines.podman import engine
from ops.engines.podman.host import Host
from ops.execution import Execution

SERVICES = {
    "keycloak": SimpleNamespace(queue_requests=("hold", "keycloak"), slots=lambda: ("keycloak",)),
    "redis": SimpleNamespace(queue_requests=None, slots=lambda: ("redis",)),
}


@pytest.fixture
def ran(monkeypatch: pytest.MonkeyPatch) -> list[tuple[str, ...]]:
    monkeypatch.setattr(engine, "recover", lambda *_: None)
    monkeypatch.setattr(engine.PodmanEngine, "_list", lambda _: None)
    return []


@pytest.fixture
def performer(ran: list[tuple[str, ...]]) -> Execution:
    def run(argv: tuple[str, ...], **_: Any) -> None:
        ran.append(argv)

    made = Execution.__new__(Execution)
    vars(made).update(
        project=SimpleNamespace(engine=engine.PodmanEngine(cast(Host, SimpleNamespace(run=run)), "cc03")),
        stack=SimpleNamespace(services=SERVICES), _down_since={}, _touched=True, _guard=threading.Lock(),
    )  # fmt: skip
    return made


@pytest.mark.parametrize("kind", [StopContainer, RestartContainer, RemoveContainer])
def test_requests_are_queued_before_keycloak_is_stopped(
    kind: type[Any], performer: Execution, ran: list[tuple[str, ...]]
) -> None:
    step: Step = kind("end", "end keycloak", slot="keycloak")
    step.run(performer)
    queued, ended = ran
    assert queued == ("podman", "exec", "cc03-nginx", "hold", "keycloak")
    assert ended[1] in ("stop", "restart", "rm") and "cc03-keycloak" in ended


def test_others_are_stopped_without_that(performer: Execution, ran: list[tuple[str, ...]]) -> None:
    RemoveContainer("end", "end redis", slot="redis").run(performer)
    RemoveContainer("end", "end what the stack does not have any more", slot="former").run(performer)
    assert [argv[1] for argv in ran] == ["rm", "rm"]
