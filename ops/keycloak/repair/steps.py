"""Steps of a repair of Keycloak: its database, configuration, certificate, secrets and realm."""

from __future__ import annotations

import shutil
import time
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from ops.core import state as files
from ops.core.errors import OpsError
from ops.core.plan import Step
from ops.deploy.config_steps import stage

if TYPE_CHECKING:
    from ops.execution import Execution


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
        from ops.engines.podman import postgres
        from ops.keycloak import admin
        from ops.keycloak.repair import undo

        container = execution.name("postgres")
        if self.undo_query:
            text = postgres.query(execution.host, container, self.database, self.undo_query)
            undo.keep(execution.state, "sql", finding=self.finding, database=self.database, statements=text)
        secrets = {variable: admin.secret(execution.project, name) for variable, name in self.secrets.items()}
        postgres.execute(execution.host, container, self.database, self.statements, secrets)


@dataclass(frozen=True)
class UndoStatements(Step):
    """Run the statements that were kept before a change."""

    entry: str = ""
    """Name of the kept undo (ops/keycloak/repair/undo.py)."""

    def run(self, execution: Execution) -> None:
        from ops.engines.podman import postgres
        from ops.keycloak.repair import undo

        kept = undo.read(execution.state, self.entry)
        if kept.get("statements"):
            postgres.execute(execution.host, execution.name("postgres"), str(kept["database"]), str(kept["statements"]), {})


@dataclass(frozen=True)
class ReplaceConfig(Step):
    """Put a service's configuration back to what was sealed; the folder that somebody edited is kept beside it."""

    service: str = ""
    version: str = ""
    files: Mapping[str, str] | None = None

    def run(self, execution: Execution) -> None:
        from ops.keycloak.repair import undo
        from ops.keycloak.schema.dumps import STAMP

        place = execution.state.config / self.service
        edited = place / self.version
        if edited.exists():
            name = f"{self.version}.edited-{time.strftime(STAMP, time.gmtime())}"
            undo.keep(execution.state, "config", service=self.service, version=self.version, edited=name)
            edited.rename(place / name)
        stage(execution.state, self.service, self.version, self.files or {})
        files.link(place / "current", self.version)


@dataclass(frozen=True)
class BringBackConfig(Step):
    """The undo of it: the edited folder in its place again."""

    service: str = ""
    version: str = ""
    entry: str = ""

    def run(self, execution: Execution) -> None:
        from ops.keycloak.repair import undo

        place, name = execution.state.config / self.service, str(undo.read(execution.state, self.entry).get("edited", ""))
        if name and (place / name).is_dir():
            shutil.rmtree(place / self.version, ignore_errors=True)
            (place / name).rename(place / self.version)


@dataclass(frozen=True)
class RescueSecret(Step):
    """Write a secret that the state folder has lost back there, from a container that still holds it."""

    name: str = ""
    version: int = 1

    def run(self, execution: Execution) -> None:
        from ops.engines.podman.observe import inspected_containers
        from ops.engines.podman.supervisor.health import state_of
        from ops.keycloak.probe.container import Files

        for item in inspected_containers(execution.host).values():
            value = Files.of(item).text(f"run/secrets/{self.name}").strip() if state_of(item) == "running" else ""
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
        from ops.keycloak.repair import undo

        name = undo.keep(execution.state, "certificate", service=self.service, owner=self.owner)
        place = execution.state.certs / self.service
        if place.is_dir():
            shutil.copytree(place, undo.folder(execution.state) / name, symlinks=True)


@dataclass(frozen=True)
class BringBackCertificate(Step):
    service: str = ""
    entry: str = ""
    owner: int = 0

    def run(self, execution: Execution) -> None:
        from ops.keycloak.repair import undo

        kept = undo.folder(execution.state) / self.entry
        for path in sorted(kept.iterdir()) if kept.is_dir() else ():
            target = execution.state.certs / self.service / path.name
            if path.is_symlink():
                files.link(target, str(path.readlink()))
                continue
            content = path.read_bytes()
            private = b"PRIVATE KEY" in content
            files.write(target, content, mode=0o600 if private else 0o644, owner=self.owner if private else None)


@dataclass(frozen=True)
class MendRealm(Step):
    """One repair through the admin API. `named`: what of it the finding names (ops/keycloak/repair/admin_api.py)."""

    finding: str = ""
    named: tuple[str, ...] = ()

    def run(self, execution: Execution) -> None:
        from ops.keycloak.repair import admin_api as mend

        mend.repair(execution.project, self.finding, self.named)


@dataclass(frozen=True)
class UndoRealm(Step):
    """Send back the representations that were kept before a repair through the admin API."""

    entry: str = ""

    def run(self, execution: Execution) -> None:
        from ops.keycloak.repair import admin_api as mend
        from ops.keycloak.repair import undo

        calls = undo.read(execution.state, self.entry).get("calls", [])
        mend.revert(execution.project, [(str(method), str(path), body) for method, path, body in calls])


@dataclass(frozen=True)
class RecoverAdmin(Step):
    """With Keycloak stopped: a temporary service account by `bootstrap-admin service`, in a one-off container."""

    service: Mapping[str, Any] | None = None
    """The compose mapping of Keycloak's container in the release that runs."""

    def run(self, execution: Execution) -> None:
        from ops.keycloak.repair import admin_api as recover

        recover.bootstrap(execution.project, self.service or {})


@dataclass(frozen=True)
class RestoreOperations(Step):
    """In the name of the temporary account: make the operations client good again, try it, and remove the temporary one."""

    def run(self, execution: Execution) -> None:
        from ops.keycloak.repair import admin_api as recover

        recover.restore_operations(execution.project)


@dataclass(frozen=True)
class VerifyLogins(Step):
    """Discovery document, a token by password, one by client credentials and a userinfo call, all through nginx."""

    deadline: int = 30
    """Seconds within which all of them must have been answered well."""

    def run(self, execution: Execution) -> None:
        from ops.keycloak.probe.verify import ready, verify

        ready(execution.project, execution.reporter(self))
        verify(execution.project, self.deadline, execution.reporter(self))
