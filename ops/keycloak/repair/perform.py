"""How the steps of `inv keycloak.fix` are done on this host. Registered with the Execution when that is imported."""

from __future__ import annotations

import json
import shutil
import time

from ops.core import state as files
from ops.core.errors import NeedsPerson, OpsError
from ops.deploy.perform import Execution, does
from ops.deploy.steps import AwaitHealthy, RestartContainer
from ops.engines.podman import argv as podman
from ops.engines.podman import postgres
from ops.engines.podman.observe import inspected_containers
from ops.engines.podman.supervisor.health import state_of
from ops.keycloak import admin
from ops.keycloak.probe import account as probe
from ops.keycloak.probe.container import Files
from ops.keycloak.probe.verify import verify
from ops.keycloak.repair import admin_api as mend
from ops.keycloak.repair import bootstrap_admin as recover
from ops.keycloak.repair import undo
from ops.keycloak.repair.containers import STOPPED
from ops.keycloak.schema.dumps import STAMP
from ops.keycloak.steps import (
    BringBackCertificate,
    BringBackConfig,
    CopyOut,
    Halt,
    KeepCertificate,
    MendRealm,
    RecoverAdmin,
    ReplaceConfig,
    RescueSecret,
    RestoreOperations,
    Resume,
    Revive,
    RunStatements,
    SetAside,
    StartStranger,
    StopStranger,
    TagImage,
    TakeBack,
    UndoRealm,
    UndoStatements,
    VerifyLogins,
)

HALTS, HALT_PAUSE = 3, 0.7
"""Attempts to stop one that is restarted again and again, and seconds after which it would have been: Podman takes 0.3."""


@does(RunStatements)
def _statements(self: Execution, step: RunStatements) -> None:
    container = self.name("postgres")
    if step.undo_query:
        text = postgres.query(self.host, container, step.database, step.undo_query)
        undo.keep(self.state, "sql", finding=step.finding, database=step.database, statements=text)
    secrets = {variable: admin.secret(self.project, name) for variable, name in step.secrets.items()}
    postgres.execute(self.host, container, step.database, step.statements, secrets)


@does(UndoStatements)
def _undo_statements(self: Execution, step: UndoStatements) -> None:
    kept = undo.read(self.state, step.entry)
    if kept.get("statements"):
        postgres.execute(self.host, self.name("postgres"), str(kept["database"]), str(kept["statements"]), {})


@does(Halt)
def _halt(self: Execution, step: Halt) -> None:
    _stays_stopped(self, step.slot, step.grace)


def _stays_stopped(self: Execution, slot: str, grace: int) -> bool:
    """Stop a container, and whether it stays so. Podman (4.3.1) does nothing where the stop comes between two attempts of
    its restart policy, which then goes on: one that ends within milliseconds can hardly be met while it runs."""
    name = self.name(slot)
    for _ in range(HALTS):
        self._recover(slot)
        self.host.run(podman.stop(name, grace), timeout=grace + 60)
        before = _state(self, name)
        time.sleep(HALT_PAUSE)
        if _state(self, name) == before and before[0] in STOPPED:
            return True
    return False


def _state(self: Execution, name: str) -> tuple[str, int]:
    item = json.loads(self.host.run(podman.inspect_containers([name])).stdout)[0]
    return str(item["State"]["Status"]), int(item.get("RestartCount", 0))


@does(SetAside)
def _set_aside(self: Execution, step: SetAside) -> None:
    self._touch()
    self._recover(step.slot)
    there = set(self.host.run(podman.container_names(self.project.name)).stdout.split())
    aside = next(name for number in range(1, 100) if self.name(name := f"{step.slot}-aside-{number}") not in there)
    undo.keep(self.state, "aside", slot=step.slot, aside=aside, serving=step.serving)
    # Podman stops no container that is paused.
    self.host.run(podman.unpause(self.name(step.slot)), ok=None)
    if not _stays_stopped(self, step.slot, step.grace) and not step.serving:
        # It would go on holding its addresses, which the new one needs. Nothing is lost with it: it serves nobody, its data
        # is in PostgreSQL, and H2 files have been copied out.
        self.host.run(podman.remove(self.name(step.slot)), timeout=120)
        return
    self.host.run(podman.rename(self.name(step.slot), self.name(aside)))


@does(TakeBack)
def _take_back(self: Execution, step: TakeBack) -> None:
    kept = undo.read(self.state, step.entry)
    there = set(self.host.run(podman.container_names(self.project.name)).stdout.split())
    aside = self.name(str(kept.get("aside", "")))
    if aside in there:
        self._recover(step.slot)
        self.host.run(podman.remove_all([self.name(step.slot)]), timeout=120)
        self.host.run(podman.rename(aside, self.name(step.slot)))
    if kept.get("serving"):
        self.host.run(podman.start([self.name(step.slot)]), timeout=120)


@does(Resume)
def _resume(self: Execution, step: Resume) -> None:
    self.host.run(podman.unpause(self.name(step.slot)))


@does(Revive)
def _revive(self: Execution, step: Revive) -> None:
    waiting = AwaitHealthy(step.key, step.title, slot=step.slot, deadline=step.patience)
    try:
        self.perform(waiting)
    except NeedsPerson:
        self.perform(RestartContainer(step.key, step.title, slot=step.slot, grace=step.grace))


@does(StopStranger)
def _stop_stranger(self: Execution, step: StopStranger) -> None:
    undo.keep(self.state, "stranger", name=step.name)
    self.host.run(podman.stop(step.name, step.grace), timeout=step.grace + 60)


@does(StartStranger)
def _start_stranger(self: Execution, step: StartStranger) -> None:
    self.host.run(podman.start([step.name]))


@does(CopyOut)
def _copy_out(self: Execution, step: CopyOut) -> None:
    folder = self.state.root / "dumps" / f"h2-{time.strftime(STAMP, time.gmtime())}"
    folder.mkdir(parents=True, mode=0o700)
    name = self.name(step.slot)
    # `podman cp` does not see what is mounted into a paused container, and H2 lies on such a mount.
    found = Files.of(inspected_containers(self.host)[step.slot])
    # A file that is written to meanwhile would be copied torn.
    self.host.run(podman.pause(name), ok=None)
    try:
        for path in step.paths:
            if source := found.find(path.lstrip("/")):
                shutil.copyfile(source, folder / source.name)
            else:
                self.report(step.key, f"{path} went with the process that had it")
    finally:
        self.host.run(podman.unpause(name), ok=None)
    self.report(step.key, str(folder))


@does(ReplaceConfig)
def _replace_config(self: Execution, step: ReplaceConfig) -> None:
    place = self.state.config / step.service
    edited = place / step.version
    if edited.exists():
        name = f"{step.version}.edited-{time.strftime(STAMP, time.gmtime())}"
        undo.keep(self.state, "config", service=step.service, version=step.version, edited=name)
        edited.rename(place / name)
    self._stage(step.service, step.version, step.files or {})
    files.link(place / "current", step.version)


@does(BringBackConfig)
def _bring_back_config(self: Execution, step: BringBackConfig) -> None:
    place, name = self.state.config / step.service, str(undo.read(self.state, step.entry).get("edited", ""))
    if name and (place / name).is_dir():
        shutil.rmtree(place / step.version, ignore_errors=True)
        (place / name).rename(place / step.version)


@does(RescueSecret)
def _rescue_secret(self: Execution, step: RescueSecret) -> None:
    for item in inspected_containers(self.host).values():
        value = Files.of(item).text(f"run/secrets/{step.name}").strip() if state_of(item) == "running" else ""
        if value:
            files.write(self.state.secrets / step.name / str(step.version), value, mode=0o600)
            return
    raise OpsError(f"no running container holds the secret {step.name}", "each one that mounts it has ended",
                   "restore the state folder's secrets from the backup")  # fmt: skip


@does(TagImage)
def _tag_image(self: Execution, step: TagImage) -> None:
    self.host.run(podman.image_tag(step.image, step.tag))


@does(KeepCertificate)
def _keep_certificate(self: Execution, step: KeepCertificate) -> None:
    name = undo.keep(self.state, "certificate", service=step.service, owner=step.owner)
    place = self.state.certs / step.service
    if place.is_dir():
        shutil.copytree(place, undo.folder(self.state) / name, symlinks=True)


@does(BringBackCertificate)
def _bring_back_certificate(self: Execution, step: BringBackCertificate) -> None:
    kept = undo.folder(self.state) / step.entry
    for path in sorted(kept.iterdir()) if kept.is_dir() else ():
        target = self.state.certs / step.service / path.name
        if path.is_symlink():
            files.link(target, str(path.readlink()))
            continue
        content = path.read_bytes()
        private = b"PRIVATE KEY" in content
        files.write(target, content, mode=0o600 if private else 0o644, owner=step.owner if private else None)


@does(MendRealm)
def _mend_realm(self: Execution, step: MendRealm) -> None:
    mend.mend(self.project, step.finding, step.named)


@does(UndoRealm)
def _undo_realm(self: Execution, step: UndoRealm) -> None:
    calls = undo.read(self.state, step.entry).get("calls", [])
    mend.put_back(self.project, [(str(method), str(path), body) for method, path, body in calls])


@does(RecoverAdmin)
def _recover_admin(self: Execution, step: RecoverAdmin) -> None:
    recover.bootstrap(self.project, step.service or {})


@does(RestoreOperations)
def _restore_operations(self: Execution, step: RestoreOperations) -> None:
    recover.restore_operations(self.project)


@does(VerifyLogins)
def _verify_logins(self: Execution, step: VerifyLogins) -> None:
    probe.ready(self.project, lambda text: self.report(step.key, text))
    verify(self.project, step.deadline, lambda text: self.report(step.key, text))
