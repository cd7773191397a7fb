"""Steps of a repair that stop, set aside, restore and copy from containers."""

from __future__ import annotations

import shutil
import time
from dataclasses import dataclass
from typing import TYPE_CHECKING

from ops.core.errors import NeedsPerson
from ops.core.plan import Step
from ops.deploy.steps import AwaitHealthy, RestartContainer

if TYPE_CHECKING:
    from ops.execution import Execution

HALTS, HALT_PAUSE = 3, 0.7
"""Attempts to stop one that is restarted again and again, and seconds after which it would have been: Podman takes 0.3."""


@dataclass(frozen=True)
class Halt(Step):
    """Stop a container that may be in the middle of being restarted, until it stays stopped."""

    slot: str = ""
    grace: int = 30

    def run(self, execution: Execution) -> None:
        _stays_stopped(execution, self.slot, self.grace)


@dataclass(frozen=True)
class SetAside(Step):
    """Stop a container and give it another name, so that it can come back if the one in its place is no good."""

    slot: str = ""
    grace: int = 30
    serving: bool = False
    """Whether it carried load, and is started again where it is taken back."""

    def run(self, execution: Execution) -> None:
        from ops.keycloak.repair import undo

        execution.touch()
        engine, there = execution.engine, execution.engine.slots()
        aside = next(name for number in range(1, 100) if (name := f"{self.slot}-aside-{number}") not in there)
        undo.keep(execution.state, "aside", slot=self.slot, aside=aside, serving=self.serving)
        # Podman stops no container that is paused.
        engine.resume(self.slot, ok=None)
        if not _stays_stopped(execution, self.slot, self.grace) and not self.serving:
            # It would go on holding its addresses, which the new one needs. Nothing is lost with it: it serves nobody, its data
            # is in PostgreSQL, and H2 files have been copied out.
            engine.remove(self.slot)
            return
        engine.rename(self.slot, aside)


@dataclass(frozen=True)
class TakeBack(Step):
    """Put the container that was set aside back in its place, and start it if it carried load."""

    slot: str = ""
    entry: str = ""
    """Name of the kept undo (ops/keycloak/repair/undo.py)."""

    def run(self, execution: Execution) -> None:
        from ops.keycloak.repair import undo

        kept = undo.read(execution.state, self.entry)
        engine, aside = execution.engine, str(kept.get("aside", ""))
        if aside in engine.slots():
            engine.discard([self.slot])
            engine.rename(aside, self.slot)
        if kept.get("serving"):
            engine.start(self.slot)


@dataclass(frozen=True)
class Resume(Step):
    """Let a paused container go on."""

    slot: str = ""

    def run(self, execution: Execution) -> None:
        execution.engine.resume(self.slot)


@dataclass(frozen=True)
class Revive(Step):
    """Give a container that has lost what it needs the time to recover by itself; restart it if it does not."""

    slot: str = ""
    patience: int = 15
    """Seconds. Keycloak's pool is back 1 to 6 s after PostgreSQL."""
    grace: int = 30

    def run(self, execution: Execution) -> None:
        waiting = AwaitHealthy(self.key, self.title, slot=self.slot, deadline=self.patience)
        try:
            waiting.run(execution)
        except NeedsPerson:
            RestartContainer(self.key, self.title, slot=self.slot, grace=self.grace).run(execution)


@dataclass(frozen=True)
class StopStranger(Step):
    """Stop, and keep, a container that is not this project's."""

    name: str = ""
    grace: int = 30

    def run(self, execution: Execution) -> None:
        from ops.engines.podman import argv as podman
        from ops.keycloak.repair import undo

        undo.keep(execution.state, "stranger", name=self.name)
        execution.host.run(podman.stop(self.name, self.grace), timeout=self.grace + 60)


@dataclass(frozen=True)
class StartStranger(Step):
    """The undo of it."""

    name: str = ""

    def run(self, execution: Execution) -> None:
        from ops.engines.podman import argv as podman

        execution.host.run(podman.start([self.name]))


@dataclass(frozen=True)
class CopyOut(Step):
    """Copy files of a container into the state folder, with the container paused meanwhile."""

    slot: str = ""
    paths: tuple[str, ...] = ()

    def run(self, execution: Execution) -> None:
        from ops.engines.podman.observe import inspected_containers
        from ops.keycloak.probe.container import Files
        from ops.keycloak.schema.dumps import STAMP

        folder = execution.state.root / "dumps" / f"h2-{time.strftime(STAMP, time.gmtime())}"
        folder.mkdir(parents=True, mode=0o700)
        # `podman cp` does not see what is mounted into a paused container, and H2 lies on such a mount.
        found = Files.of(inspected_containers(execution.host)[self.slot])
        # A file that is written to meanwhile would be copied torn.
        execution.engine.pause(self.slot, ok=None)
        try:
            for path in self.paths:
                if source := found.find(path.lstrip("/")):
                    shutil.copyfile(source, folder / source.name)
                else:
                    execution.report(self.key, f"{path} went with the process that had it")
        finally:
            execution.engine.resume(self.slot, ok=None)
        execution.report(self.key, str(folder))


def _stays_stopped(execution: Execution, slot: str, grace: int) -> bool:
    """Stop a container, and whether it stays so. Podman (4.3.1) does nothing where the stop comes between two attempts of
    its restart policy, which then goes on: one that ends within milliseconds can hardly be met while it runs."""
    from ops.keycloak.repair.containers import STOPPED

    for _ in range(HALTS):
        execution.engine.stop(slot, grace)
        before = execution.engine.status(slot)
        time.sleep(HALT_PAUSE)
        if execution.engine.status(slot) == before and before[0] in STOPPED:
            return True
    return False
