"""Steps of a repair of Keycloak: its container, database, configuration, certificate, secrets and realm."""

from __future__ import annotations

import shutil
import time
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from ops.core import files
from ops.core.errors import NeedsPerson, OpsError
from ops.core.plan import Step
from ops.deploy.steps import AwaitHealthy, RestartContainer, stage
from ops.engines.engine import Proof
from ops.keycloak.repair.undo_steps import folder, keep

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
    """Whether it served, and is started again where the repair is reverted."""

    def run(self, execution: Execution) -> None:
        execution.touch()
        engine, there = execution.engine, execution.engine.slots()
        aside = next(name for number in range(1, 100) if (name := f"{self.slot}-aside-{number}") not in there)
        keep(execution.state, "aside", slot=self.slot, aside=aside, serving=self.serving)
        # Podman stops no container that is paused.
        engine.resume(self.slot, ok=None)
        if not _stays_stopped(execution, self.slot, self.grace) and not self.serving:
            # It would go on holding its addresses, which the new one needs. Nothing is lost with it: it serves nobody, its data
            # is in PostgreSQL, and H2 files have been copied out.
            engine.remove(self.slot)
            return
        engine.rename(self.slot, aside)


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
        waiting = AwaitHealthy(self.key, self.title, proof=Proof(self.slot, self.patience))
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
        from ops.keycloak.probe.container import stop_stranger

        keep(execution.state, "stranger", name=self.name)
        stop_stranger(execution.host, self.name, self.grace)


@dataclass(frozen=True)
class CopyOut(Step):
    """Copy files of a container into the state folder, with the container paused meanwhile."""

    slot: str = ""
    paths: tuple[str, ...] = ()

    def run(self, execution: Execution) -> None:
        from ops.core.plan import STAMP
        from ops.keycloak.probe.container import Files, inspected

        place = execution.state.root / "dumps" / f"h2-{time.strftime(STAMP, time.gmtime())}"
        place.mkdir(parents=True, mode=0o700)
        # `podman cp` does not see what is mounted into a paused container, and H2 lies on such a mount.
        found = Files.of(inspected(execution.project)[self.slot])
        # A file that is written to meanwhile would be copied torn.
        execution.engine.pause(self.slot, ok=None)
        try:
            for path in self.paths:
                if source := found.find(path.lstrip("/")):
                    shutil.copyfile(source, place / source.name)
                else:
                    execution.report(self.key, f"{path} went with the process that had it")
        finally:
            execution.engine.resume(self.slot, ok=None)
        execution.report(self.key, str(place))


@dataclass(frozen=True)
class RunStatements(Step):
    """Run SQL as PostgreSQL's superuser, in one transaction, after the statements that undo it have been kept."""

    database: str = "postgres"
    statements: str = ""
    undo_query: str = ""
    """A query that prints, before anything is changed, one statement a row that puts back what is there now."""
    secrets: Mapping[str, str] = field(default_factory=dict)
    """Variable of psql -> name of the secret whose present value it gets."""
    finding: str = ""

    def run(self, execution: Execution) -> None:
        from ops.engines import postgres
        from ops.keycloak import admin

        if self.undo_query:
            text = postgres.query(execution.engine, self.database, self.undo_query)
            keep(execution.state, "sql", finding=self.finding, database=self.database, statements=text)
        secrets = {variable: admin.secret(execution.project, name) for variable, name in self.secrets.items()}
        postgres.execute(execution.engine, self.database, self.statements, secrets)


@dataclass(frozen=True)
class ReplaceConfig(Step):
    """Put a service's configuration back to what was sealed; the folder that somebody edited is kept beside it."""

    service: str = ""
    version: str = ""
    files: Mapping[str, str] | None = None

    def run(self, execution: Execution) -> None:
        from ops.core.plan import STAMP

        place = execution.state.config / self.service
        edited = place / self.version
        if edited.exists():
            name = f"{self.version}.edited-{time.strftime(STAMP, time.gmtime())}"
            keep(execution.state, "config", service=self.service, version=self.version, edited=name)
            edited.rename(place / name)
        stage(execution.state, self.service, self.version, self.files or {})
        files.link(place / "current", self.version)


@dataclass(frozen=True)
class RescueSecret(Step):
    """Write a secret that the state folder has lost back there, from a container that still holds it."""

    name: str = ""
    version: int = 1

    def run(self, execution: Execution) -> None:
        from ops.keycloak.probe.container import Files, inspected, state

        for item in inspected(execution.project).values():
            value = Files.of(item).text(f"run/secrets/{self.name}").strip() if state(item) == "running" else ""
            if value:
                files.write(execution.state.secrets / self.name / str(self.version), value, mode=0o600)
                return
        raise OpsError(f"no running container holds the secret {self.name}", "each one that mounts it has ended",
                       "restore the state folder's secrets from the backup")  # fmt: skip


@dataclass(frozen=True)
class TagImage(Step):
    """Give an image that was sealed with a release its tag again, which somebody has given to another one."""

    image: str = ""
    """Its id."""
    tag: str = ""

    def run(self, execution: Execution) -> None:
        execution.engine.tag_image(self.image, self.tag)


@dataclass(frozen=True)
class KeepCertificate(Step):
    """Keep a service's certificate before another one is issued."""

    service: str = ""
    owner: int = 0

    def run(self, execution: Execution) -> None:
        name = keep(execution.state, "certificate", service=self.service, owner=self.owner)
        place = execution.state.certs / self.service
        if place.is_dir():
            shutil.copytree(place, folder(execution.state) / name, symlinks=True)


@dataclass(frozen=True)
class RepairRealm(Step):
    """One repair through the admin API. `named`: what of it the finding names (ops/keycloak/repair/admin_api.py)."""

    finding: str = ""
    named: tuple[str, ...] = ()

    def run(self, execution: Execution) -> None:
        from ops.keycloak.repair import admin_api

        admin_api.repair(execution.project, self.finding, self.named)


@dataclass(frozen=True)
class RecoverAdmin(Step):
    """With Keycloak stopped: a temporary service account by `bootstrap-admin service`, in a one-off container."""

    service: Mapping[str, Any] | None = None
    """The compose mapping of Keycloak's container in the release that runs."""

    def run(self, execution: Execution) -> None:
        from ops.keycloak.repair import admin_api

        admin_api.bootstrap(execution.project, self.service or {})


@dataclass(frozen=True)
class RestoreOperations(Step):
    """In the name of the temporary account: make the operations client good again, try it, and remove the temporary one."""

    def run(self, execution: Execution) -> None:
        from ops.keycloak.repair import admin_api

        admin_api.restore_operations(execution.project)


@dataclass(frozen=True)
class VerifyLogins(Step):
    """Discovery document, a token by password, one by client credentials and a userinfo call, all through nginx."""

    deadline: int = 30
    """Seconds within which all of them must have been answered well."""

    def run(self, execution: Execution) -> None:
        from ops.keycloak.probe.verify import ready, verify

        ready(execution.project, execution.reporter(self))
        verify(execution.project, self.deadline, execution.reporter(self))


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
