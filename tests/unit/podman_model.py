"""Podman as far as the steps of a plan need it, and a project on it whose state folder is real."""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from types import SimpleNamespace
from typing import Any, cast

import pytest

from ops.core.errors import OpsError
from ops.core.process import Result
from ops.core.state import State
from ops.engines.podman import engine, observe
from ops.engines.podman.host import Host
from ops.execution import Execution
from ops.project import Project
from ops.stack.wanted import Wanted
from ops.store import releases
from tests.unit.builders import REPOSITORY, wanted

RELEASE = wanted()


@dataclass
class Podman:
    """Stands for the programs of a host. answers: words of a command -> its output, or what is raised. there: names of
    containers; before: called with each command, while it has had no effect yet."""

    there: set[str] = field(default_factory=set)
    ran: list[tuple[str, ...]] = field(default_factory=list)
    given: list[str | None] = field(default_factory=list)
    answers: dict[str, str | OpsError] = field(default_factory=dict)
    creates: bool = True
    before: Callable[[tuple[str, ...]], None] = lambda _: None

    def run(self, argv: Sequence[str], *, ok: Any = (0,), stdin: str | None = None, **_: Any) -> Result:
        command = tuple(argv)
        self.before(command)
        self.ran.append(command)
        self.given.append(stdin)
        said = " ".join(command)
        answer = next((answer for words, answer in self.answers.items() if words in said), "")
        if isinstance(answer, OpsError):
            if ok is None:
                return Result(command, 1, "", answer.why, 0.0)
            raise answer
        if command[0] == "podman-compose" and self.creates:
            made = json.loads(Path(command[command.index("--file") + 1]).read_text())["services"].values()
            self.there |= {one["container_name"] for one in made}
        if command[:2] == ("podman", "rm"):
            self.there -= set(command)
        if command[:3] == ("podman", "ps", "--all") and "{{.Names}}" in command and "label" in said:
            answer = "\n".join(sorted(self.there))
        return Result(command, 0, answer, "", 0.0)

    @property
    def verbs(self) -> list[str]:
        return [" ".join(command[:2]) for command in self.ran]


@pytest.fixture
def podman(monkeypatch: pytest.MonkeyPatch) -> Podman:
    monkeypatch.setattr(engine, "recover", lambda *_: None)
    monkeypatch.setattr(observe, "inspected_containers", lambda _: {})
    monkeypatch.setattr("ops.stack.checkout.origin", lambda _: {"commit": "abc"})
    monkeypatch.setattr(observe, "own_images", lambda *_: {"localhost/cc03/nginx:1": "id-of-nginx"})
    return Podman()


@pytest.fixture
def project(tmp_path: Path, podman: Podman) -> Project:
    state = State(tmp_path / "cc03")
    state.prepare()
    host = SimpleNamespace(run=podman.run, repository=REPOSITORY, state=state)
    return cast(Project, SimpleNamespace(
        name="cc03", host=host, state=state, stack=RELEASE.stack, images=RELEASE.images, allocation=RELEASE.allocation,
        engine=engine.PodmanEngine(cast(Host, host), "cc03"),
    ))  # fmt: skip


@pytest.fixture
def performer(project: Project) -> Execution:
    return Execution(project)


def sealed(project: Project, release: Wanted = RELEASE) -> None:
    releases.write_release(project.state, 1, {}, {"compose.yaml": json.dumps(release.compose)})
