"""The commands of the operator, timed as they are typed; and the stack's start beside that of its two slowest parts."""

from __future__ import annotations

import statistics
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path

from ops.core.lock import hold
from ops.core.machine import REPOSITORY
from ops.core.plan import Step
from ops.core.process import run
from ops.deploy.steps import CreateContainers, CreateVolume, RemoveContainer, StartContainer, await_healthy
from ops.execution import Execution
from ops.lifecycle.steps import RemoveVolume
from ops.project import Project, open_project
from ops.stack.render import volume_name
from tests.bench.figures import Figure

INV_SECONDS = 900.0


def inv(*arguments: str) -> float:
    """Seconds that a command takes; raises OpsError where it fails."""
    program = Path(sys.executable).parent / "inv"
    return run((str(program), "--search-root", str(REPOSITORY), *arguments), timeout=INV_SECONDS).seconds


def _median(times: int, *arguments: str) -> float:
    return statistics.median(inv(*arguments) for _ in range(times))


def nothing_to_do() -> Iterator[Figure]:
    """Needs a live stack."""
    inv("build")
    yield Figure("inv --list", _median(5, "--list"), "s", 0.4, note="median of 5")
    yield Figure("inv deploy, nothing to do", _median(5, "deploy", "--yes"), "s", 2.0, note="median of 5")
    yield Figure("inv build, nothing to do", _median(5, "build"), "s", 2.0, note="median of 5")


def _timed(perform: Callable[[Step], None], *steps: Step) -> float:
    began = time.monotonic()
    for step in steps:
        perform(step)
    return time.monotonic() - began


class Alone:
    """Starts single services of a deployed stack, everything else stopped, on a fresh database, by the deploy's own steps."""

    def __init__(self, project: Project) -> None:
        self.project = project
        self.execution = Execution(project)

    def clear(self) -> None:
        for name in ("keycloak", "postgres"):
            service = self.project.stack.services[name]
            RemoveContainer(name, name, slot=name, grace=service.grace).run(self.execution)
        volume = volume_name(self.project.name, "postgres-data")
        RemoveVolume(volume, volume, name=volume).run(self.execution)
        CreateVolume(volume, volume, name=volume).run(self.execution)

    def start(self, name: str) -> float:
        """Seconds from nothing to healthy."""
        deadline = self.project.stack.services[name].start_seconds
        return _timed(
            lambda step: step.run(self.execution),
            CreateContainers(name, name, slots=(name,)),
            StartContainer(name, name, slot=name),
            await_healthy(name, deadline=deadline),
        )


def start(rounds: int) -> Iterator[Figure]:
    """The whole stack from built images, and PostgreSQL and Keycloak alone, in turn. Leaves the stack deployed."""
    whole, postgres, keycloak = [], [], []
    for _ in range(rounds):
        inv("destroy", "--no-keep-data", "--yes")
        whole.append(inv("deploy", "--yes"))
        inv("stop")
        project = open_project()
        with hold(project.state.lock, "bench"):
            alone = Alone(project)
            alone.clear()
            postgres.append(alone.start("postgres"))
            keycloak.append(alone.start("keycloak"))
    inv("destroy", "--no-keep-data", "--yes")
    inv("deploy", "--yes")
    ratios = [all_of_it / (one + other) for all_of_it, one, other in zip(whole, postgres, keycloak, strict=True)]
    note = f"median of {rounds}, from no container, network, volume or secret to everything healthy"
    yield Figure("postgres alone, until ready", statistics.median(postgres), "s")
    yield Figure("keycloak alone, until ready", statistics.median(keycloak), "s", note="on a fresh database")
    yield Figure("deploy, images built", statistics.median(whole), "s", 60.0, note=note)
    yield Figure("deploy / (postgres + keycloak alone)", statistics.median(ratios), "", 1.3, note="of the same round, median")
