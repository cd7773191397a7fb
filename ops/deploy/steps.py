"""The kinds of steps of a deploy: containers, their configuration, and what they stand on. Each with its data and its run."""

from __future__ import annotations

import secrets
import time
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ops.core import files, machine
from ops.core.errors import OpsError
from ops.core.plan import OfContainer, Step
from ops.core.process import Result
from ops.core.state import State
from ops.engines.engine import OneOff, Proof
from ops.stack.model import EDGE, Seen
from ops.stack.render import excerpt, hosts_of, next_of, one_off
from ops.stack.yaml_model import load_yaml

if TYPE_CHECKING:
    from ops.execution import Execution

RECONNECT_AFTER = 1.5
"""Seconds from the order to stop an nginx until it surely takes no new connection; Podman passes it on within a tenth."""
CHECK_SECONDS = 120.0
"""For the question what a database lacks."""
BACKUP_SECONDS = 6 * 3600.0
REFUSED = 9
"""Exit code of an image that was asked to migrate, has a contracting migration to do, and is not allowed to."""

# Containers.


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
        slots = [*self.slots, *map(next_of, self.staged)]
        if not slots:
            return
        passing = [*map(next_of, self.staged), *filter(one_off, self.slots)]
        if passing:
            # What a killed command has left of these is of no use to anybody.
            execution.engine.discard(passing)
        compose = load_yaml((execution.state.current / "compose.yaml").read_text(encoding="utf-8"))
        execution.create(self.key, excerpt(compose, self.slots, self.staged), slots)


@dataclass(frozen=True)
class PromoteContainer(Step):
    """Give a staged container the name of its slot, which has become free."""

    slot: str = ""

    def run(self, execution: Execution) -> None:
        execution.engine.promote(self.slot)


@dataclass(frozen=True)
class StartContainer(OfContainer):
    def run(self, execution: Execution) -> None:
        execution.touch()
        execution.engine.start(self.slot)


@dataclass(frozen=True)
class RestartContainer(OfContainer):
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
class StopContainer(OfContainer):
    grace: int = 30

    def run(self, execution: Execution) -> None:
        queue_requests(execution, self.slot)
        execution.begin_gap(self.slot)
        execution.engine.stop(self.slot, self.grace)


@dataclass(frozen=True)
class RemoveContainer(OfContainer):
    """Stop within the grace period, then remove. Volumes stay."""

    grace: int = 30

    def run(self, execution: Execution) -> None:
        execution.touch()
        queue_requests(execution, self.slot)
        execution.begin_gap(self.slot)
        execution.engine.remove(self.slot, self.grace)


@dataclass(frozen=True)
class AwaitHealthy(Step):
    """Wait until a container does what its users need."""

    proof: Proof = field(default_factory=lambda: Proof(""))

    @property
    def slot(self) -> str:
        return self.proof.slot

    def run(self, execution: Execution) -> None:
        proof = replace(self.proof, errors=execution.errors)
        execution.engine.prove(proof, execution.targets[self.slot], execution.reporter(self))
        execution.end_gap(self.slot)


def await_healthy(slot: str, after: Iterable[Step] = (), title: str = "", **proof: Any) -> AwaitHealthy:
    """The step that waits for a container.

    proof: `deadline`, `settle`, `smoke` and `once` of `Proof`.
    """
    return AwaitHealthy(f"healthy {slot}", title or f"wait for {slot}", tuple(after), Proof(slot, **proof))


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
        from ops.store.releases import record_schema

        report = execution.reporter(self)
        report("asking the new image what the database lacks")
        asked = self._once(execution, f"{self.slot}-check", CHECK_SECONDS, created=self.prepared)
        found = asked.last_json() if asked.returncode == 0 else None
        if found is not None and not found.get("pending"):
            return
        contracting = list((found or {}).get("contracting", []))
        if contracting and not self.contracting:
            raise self._refusal(contracting)
        if self.backup:
            report("backing up, before the database is changed")
            self._back_up(execution)
        report("migrating")
        suffix = "-contracting" if self.contracting and contracting else ""
        done = self._once(execution, self.slot + suffix, self.deadline)
        if done.returncode == REFUSED:
            raise self._refusal(contracting)
        if done.returncode:
            raise OpsError(
                f"the migration of {self.service}'s database failed", f"exit code {done.returncode}: {done.last_words(5)}",
                "correct the migration, then inv deploy; what it had completed stays, and the old release runs on it",
            )  # fmt: skip
        result = done.last_json() or {}
        record_schema(
            execution.state, at=machine.now(), release=self.release, service=self.service,
            revision=result.get("revision"), applied=result.get("applied", []), contracted=contracting,
            backed_up=bool(self.backup),
        )  # fmt: skip

    def _once(self, execution: Execution, slot: str, deadline: float, *, created: bool = False) -> Result:
        if not created:
            CreateContainers(f"create {slot}", slot, slots=(slot,)).run(execution)
        return execution.engine.run_once(slot, deadline)

    def _refusal(self, contracting: list[str]) -> OpsError:
        return OpsError(
            f"a migration of {self.service} removes what older releases need",
            f"contracting: {', '.join(contracting) or 'see the log'}; after it no rollback goes to a release before this one",
            "inv deploy --contracting, once you are sure that no older release will be needed",
        )

    def _back_up(self, execution: Execution) -> None:
        answer = execution.engine.exec(self.backup_slot, self.backup, ok=None, timeout=BACKUP_SECONDS)
        if answer.returncode:
            raise OpsError(
                "the backup before the migration failed, so nothing was migrated", answer.last_words(),
                "inv logs backup --since 10m; then inv deploy again",
            )  # fmt: skip


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


# Configuration.


def stage(state: State, service: str, version: str, content: Mapping[str, str]) -> Path:
    """The folder that holds this version of a service's configuration, written whole or not at all."""
    folder = state.config / service / version
    if folder.is_dir():
        return folder
    fresh = folder.with_name(f".{version}.{secrets.token_hex(4)}")
    for path, text in content.items():
        (fresh / path).parent.mkdir(parents=True, exist_ok=True)
        files.write(fresh / path, text)
    fresh.mkdir(parents=True, exist_ok=True)
    fresh.rename(folder)
    return folder


@dataclass(frozen=True)
class CheckConfig(Step):
    """Let the service's own program validate configuration that was written but is not yet in use."""

    service: str = ""
    version: str = ""
    files: Mapping[str, str] | None = None

    def run(self, execution: Execution) -> None:
        from ops.host.files import reader

        service, state = execution.stack.services[self.service], execution.state
        mounts = {stage(state, self.service, self.version, self.files or {}): "/etc/cc03/current:ro"}
        if service.has_tls:
            mounts[state.certs / self.service] = "/etc/tls:ro"
        hosts = hosts_of(execution.stack, execution.allocation, service)
        # A release with other ids is checked before the owner of its files is changed.
        user = reader(state.certs / self.service, str(service.definition.get("user", "0")))
        image = execution.images[self.service].tag
        answer = execution.engine.run(OneOff(image, service.check or (), mounts=mounts, user=user, hosts=hosts), ok=None)
        if answer.returncode:
            raise OpsError(
                f"the configuration of {self.service} is not valid", f"{answer.last_words()} (exit code {answer.returncode})",
                f"correct config/{self.service}, then inv deploy",
            )  # fmt: skip


@dataclass(frozen=True)
class WriteConfig(Step):
    """Write a service's configuration beside the one in use, then switch the `current` link in one rename."""

    service: str = ""
    version: str = ""
    files: Mapping[str, str] | None = None
    """Path within the configuration -> text."""

    def run(self, execution: Execution) -> None:
        stage(execution.state, self.service, self.version, self.files or {})
        files.link(execution.state.config / self.service / "current", self.version)


@dataclass(frozen=True)
class ReloadService(Step):
    """Make a running container take up its configuration, and remember that it did."""

    service: str = ""
    slots: tuple[str, ...] = ()
    argv: tuple[str, ...] = ()
    version: str = ""

    def run(self, execution: Execution) -> None:
        execution.touch()
        for slot in self.slots:
            execution.engine.exec(slot, self.argv)
        mark_loaded(execution.state, self.service, self.version)


@dataclass(frozen=True)
class MarkLoaded(Step):
    """Remember that a service's containers started on this configuration."""

    service: str = ""
    version: str = ""

    def run(self, execution: Execution) -> None:
        mark_loaded(execution.state, self.service, self.version)


def mark_loaded(state: State, service: str, version: str) -> None:
    files.write(state.config / service / "loaded", version + "\n")


# What containers stand on.


@dataclass(frozen=True)
class CreateNetwork(Step):
    name: str = ""
    subnet: str = ""
    internal: bool = True

    def run(self, execution: Execution) -> None:
        execution.engine.create_network(self.name, self.subnet, internal=self.internal)


@dataclass(frozen=True)
class RemoveNetwork(Step):
    name: str = ""

    def run(self, execution: Execution) -> None:
        execution.engine.remove_network(self.name)


@dataclass(frozen=True)
class LoadFirewall(Step):
    """Load the project's packet filter into the kernel, in place of what it has of it."""

    rules: str = ""

    def run(self, execution: Execution) -> None:
        execution.engine.load_firewall(self.rules)


def firewall_steps(wanted: str, seen: Seen) -> list[Step]:
    """None where the kernel has these rules already."""
    if not wanted or seen.firewall == wanted:
        return []
    return [LoadFirewall("firewall", "load the packet filter of the published network", rules=wanted)]


@dataclass(frozen=True)
class CreateVolume(Step):
    name: str = ""

    def run(self, execution: Execution) -> None:
        execution.engine.create_volume(self.name)


@dataclass(frozen=True)
class Supervise(Step):
    """Write the list that the health supervisor works from, and have exactly one of this version run."""

    content: Mapping[str, Any] | None = None
    version: str = ""

    def run(self, execution: Execution) -> None:
        from ops.project import supervisor_sources

        execution.engine.supervise(supervisor_sources(execution.host), self.content or {}, self.version)


@dataclass(frozen=True)
class EndSupervision(Step):
    """Stop the health ticker, so that it does not mend what is being stopped."""

    def run(self, execution: Execution) -> None:
        execution.engine.end_supervision()
