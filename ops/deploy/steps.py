"""Steps that change containers: each kind with its data, and how it is done."""

from __future__ import annotations

import time
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from ops.core import files
from ops.core.plan import Step
from ops.core.process import Result
from ops.engines.engine import Proof
from ops.stack.model import EDGE
from ops.stack.render import excerpt, next_of, one_off
from ops.stack.yaml_model import load_yaml

if TYPE_CHECKING:
    from ops.execution import Execution

RECONNECT_AFTER = 1.5
"""Seconds from the order to stop an nginx until it surely takes no new connection; Podman passes it on within a tenth."""


def queue_requests(execution: Execution, slot: str) -> None:
    """Have nginx keep what comes for a container that is about to stop. Where nginx cannot (it is away, or of an older
    release), a request that arrives as its port closes is cut, as one is at a crash."""
    for service in execution.stack.services.values():
        if service.queue_requests and slot in service.slots():
            execution.engine.exec(EDGE, service.queue_requests, ok=None)


@dataclass(frozen=True)
class RememberScale(Step):
    """Have later deploys make as many containers as well."""

    said: Mapping[str, Any] = field(default_factory=dict)
    """What scale.json says then: service -> number, and what stack.yaml said instead."""

    def run(self, execution: Execution) -> None:
        files.write(execution.state.scale, files.dump(dict(self.said)))


@dataclass(frozen=True)
class CreateContainers(Step):
    """Create containers of the current release, all in one call."""

    slots: tuple[str, ...] = ()
    staged: tuple[str, ...] = ()
    """Slots whose new container is made beside the one in place, to be promoted later."""

    def run(self, execution: Execution) -> None:

        from ops.secrets.at_rest import secret_files

        slots = [*self.slots, *map(next_of, self.staged)]
        if not slots:
            return
        passing = [*map(next_of, self.staged), *filter(one_off, self.slots)]
        if passing:
            # What a killed command has left of these is of no use to anybody.
            execution.engine.discard(passing)
        compose = load_yaml((execution.state.current / "compose.yaml").read_text(encoding="utf-8"))
        part = secret_files.part_as_is(execution.state, excerpt(compose, self.slots, self.staged))
        execution.engine.create(self.key, part, slots)


@dataclass(frozen=True)
class PromoteContainer(Step):
    """Give a staged container the name of its slot, which has become free."""

    slot: str = ""

    def run(self, execution: Execution) -> None:
        execution.engine.promote(self.slot)


@dataclass(frozen=True)
class StartContainer(Step):
    slot: str = ""

    def run(self, execution: Execution) -> None:
        execution.touch()
        execution.engine.start(self.slot)


@dataclass(frozen=True)
class RestartContainer(Step):
    slot: str = ""
    grace: int = 30
    patience: int = 0
    """Seconds in which it may still become healthy by itself, and is then left alone; 0: it is restarted whatever it says."""

    def run(self, execution: Execution) -> None:
        if self.patience and execution.engine.heals(self.slot, execution.targets[self.slot], self.patience):
            return
        execution.touch()
        queue_requests(execution, self.slot)
        execution.begin_gap(self.slot)
        execution.engine.restart(self.slot, self.grace)


@dataclass(frozen=True)
class StopContainer(Step):
    slot: str = ""
    grace: int = 30

    def run(self, execution: Execution) -> None:
        queue_requests(execution, self.slot)
        execution.begin_gap(self.slot)
        execution.engine.stop(self.slot, self.grace)


@dataclass(frozen=True)
class RemoveContainer(Step):
    """Stop within the grace period, then remove. Volumes stay."""

    slot: str = ""
    grace: int = 30

    def run(self, execution: Execution) -> None:
        execution.touch()
        queue_requests(execution, self.slot)
        execution.begin_gap(self.slot)
        execution.engine.remove(self.slot, self.grace)


@dataclass(frozen=True)
class AwaitHealthy(Step):
    """Wait until a container does what its users need."""

    slot: str = ""
    deadline: int = 120
    settle: int = 0
    """Seconds during which it must have been good without a break."""
    smoke: str = ""
    """Path that it must answer through nginx; empty where nginx has no way to it yet."""
    once: bool = False
    """Whether an end of its process fails the step at once, instead of being left to the restart policy."""

    def run(self, execution: Execution) -> None:
        proof = Proof(self.slot, self.deadline, self.settle, self.smoke, self.once, execution.errors)
        execution.engine.prove(proof, execution.targets[self.slot], execution.reporter(self))
        execution.end_gap(self.slot)


@dataclass(frozen=True)
class Migrate(Step):
    """Ask the new image what the database lacks; where that is something: back up, then run the migration, once.

    The protocol is that of docs/how-to/replace-the-application.md.
    """

    slot: str = ""
    service: str = ""
    release: int = 0
    contracting: bool = False
    """Whether a migration may take away what an older release needs."""
    backup: tuple[str, ...] = ()
    """argv of a verified backup, run in the container `backup_slot`; empty where there is nothing yet to back up."""
    backup_slot: str = ""
    prepared: bool = False
    """Whether the container that asks what is pending has been created already."""
    deadline: int = 900

    def run(self, execution: Execution) -> None:
        from ops.deploy import migrate

        def once(slot: str, deadline: float, prepared: bool) -> Result:
            if not prepared:
                CreateContainers(f"create {slot}", slot, slots=(slot,)).run(execution)
            return execution.engine.run_once(slot, deadline)

        migrate.migrate(execution.engine, execution.state, self, once, execution.reporter(self))


@dataclass(frozen=True)
class Reconnect(Step):
    """Have containers close their long-lived connections in an orderly way, once a stopping nginx takes no new ones."""

    slots: tuple[str, ...] = ()
    argv: tuple[str, ...] = ()

    def run(self, execution: Execution) -> None:
        time.sleep(RECONNECT_AFTER)
        for slot in self.slots:
            # One that ends meanwhile closes them by itself.
            execution.engine.exec(slot, self.argv, ok=None)
