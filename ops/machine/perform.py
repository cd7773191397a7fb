"""How each kind of step is done on this host."""

from __future__ import annotations

import json
import secrets
import shutil
import time
from collections.abc import Callable, Mapping
from functools import singledispatchmethod
from pathlib import Path
from typing import Any

import yaml

from ops import podman
from ops.errors import NeedsPerson, OpsError
from ops.machine import state as files
from ops.machine.authority import issue_certificate
from ops.machine.health import Target, assess
from ops.machine.images import build_image, fetch_image, obtain_base
from ops.machine.lost import recover
from ops.machine.observe import run_healthcheck
from ops.machine.project import Project, ticker_sources
from ops.machine.run import shown
from ops.machine.supervise import end_supervision, start_ticker
from ops.machine.wait import until
from ops.model import LABEL_PROJECT, Step
from ops.render import container_name, hosts_of, secret_name
from ops.steps import (
    AwaitHealthy,
    BuildImage,
    CheckConfig,
    CreateContainers,
    CreateNetwork,
    CreateVolume,
    EndSupervision,
    FetchImage,
    GenerateSecret,
    IssueCertificate,
    MarkLoaded,
    ObtainBase,
    ReloadService,
    RemoveContainer,
    RemoveNetwork,
    RemoveSecret,
    RemoveState,
    RemoveVolume,
    RestartContainer,
    RunOnce,
    StartContainer,
    StopContainer,
    StoreSecret,
    Supervise,
    WriteConfig,
    WriteRelease,
)

SECRET_BYTES = 32
"""256 bits: out of reach of guessing for as long as any of the protocols here will be in use."""


class Performer:
    """Does steps, one method a kind. `report` receives a line for whoever watches (build progress)."""

    def __init__(self, project: Project, report: Callable[[str, str], None] = lambda key, text: None) -> None:
        self.project = project
        self.host = project.host
        self.state = project.state
        self.report = report
        self.labels = {LABEL_PROJECT: project.name}
        self.targets = {target.slot: target for target in project.targets()}

    def name(self, slot: str) -> str:
        return container_name(self.project.name, slot)

    @singledispatchmethod
    def perform(self, step: Step) -> None:
        raise TypeError(f"nobody knows how to do {type(step).__name__}")

    @perform.register
    def _(self, step: ObtainBase) -> None:
        obtain_base(self.host, step, lambda text: self.report(step.key, text))

    @perform.register
    def _(self, step: BuildImage) -> None:
        build_image(self.host, step, lambda text: self.report(step.key, text))

    @perform.register
    def _(self, step: FetchImage) -> None:
        fetch_image(self.host, step)

    @perform.register
    def _(self, step: GenerateSecret) -> None:
        folder = self.state.secrets / step.name
        folder.mkdir(exist_ok=True, mode=0o700)
        files.write(folder / "1", secrets.token_urlsafe(SECRET_BYTES), mode=0o600)

    @perform.register
    def _(self, step: StoreSecret) -> None:
        name = secret_name(self.project.name, step.name, step.version)
        value = (self.state.secrets / step.name / str(step.version)).read_text()
        # The state folder is the source of truth; a secret of this name that it did not know of was left by a lost one.
        self.host.run(podman.secret_remove(name), ok=None)
        self.host.run(podman.secret_create(name), stdin=value)

    @perform.register
    def _(self, step: IssueCertificate) -> None:
        issue_certificate(self.state, self.project.name, step.service, step.owner, step.names)

    @perform.register
    def _(self, step: CreateNetwork) -> None:
        self.host.run(podman.network_create(step.name, step.subnet, internal=step.internal, labels=self.labels))

    @perform.register
    def _(self, step: CreateVolume) -> None:
        self.host.run(podman.volume_create(step.name, self.labels))

    @perform.register
    def _(self, step: CheckConfig) -> None:
        service = self.project.stack.services[step.service]
        staged = self._stage(step.service, step.version, step.files or {})
        mounts = {staged: "/etc/cc03/current"}
        if service.has_tls:
            mounts[self.state.certs / step.service] = "/etc/tls"
        hosts = hosts_of(self.project.stack, self.project.allocation, service)
        user = str(service.definition.get("user", "0"))
        self.host.run(podman.run_check(self.project.images[step.service].tag, service.check or (), mounts, user, hosts))

    @perform.register
    def _(self, step: WriteConfig) -> None:
        self._stage(step.service, step.version, step.files or {})
        files.link(self.state.config / step.service / "current", step.version)

    def _stage(self, service: str, version: str, content: Mapping[str, str]) -> Path:
        """The folder that holds this version of a service's configuration, written whole or not at all."""
        folder = self.state.config / service / version
        if folder.is_dir():
            return folder
        fresh = folder.with_name(f".{version}.{secrets.token_hex(4)}")
        for path, text in content.items():
            (fresh / path).parent.mkdir(parents=True, exist_ok=True)
            files.write(fresh / path, text)
        fresh.mkdir(parents=True, exist_ok=True)
        fresh.rename(folder)
        return folder

    @perform.register
    def _(self, step: WriteRelease) -> None:
        folder = self.state.releases / str(step.number)
        shutil.rmtree(folder, ignore_errors=True)
        folder.mkdir()
        manifest = {
            "number": step.number,
            "at": time.strftime("%Y-%m-%dT%H:%M:%S%z"),
            **(step.manifest or {}),
            "compose": step.compose,
        }
        files.write(folder / "compose.yaml", yaml.safe_dump(dict(step.compose or {}), sort_keys=False, width=120))
        files.write(folder / "release.json", files.dump(manifest))
        files.link(self.state.current, str(step.number))

    @perform.register
    def _(self, step: CreateContainers) -> None:
        argv = podman.compose_create(self.state.current / "compose.yaml", self.project.name, step.slots)
        answer = self.host.run(argv, timeout=180, ok=None)
        missing = [slot for slot in step.slots if not self._exists(slot)]
        if missing:
            # A killed `create` can leave the name behind in the storage, where only `--storage` reaches it.
            for slot in missing:
                self.host.run(podman.remove_leftover(self.name(slot)), ok=None)
            answer = self.host.run(
                podman.compose_create(self.state.current / "compose.yaml", self.project.name, missing), ok=None, timeout=180
            )
        # podman-compose exits 0 although a container could not be created, so only what exists counts.
        missing = [slot for slot in step.slots if not self._exists(slot)]
        if missing:
            raise OpsError(f"cannot create {', '.join(missing)}", answer.last_words(), f"inv deploy --plan; {shown(argv)}")

    def _exists(self, slot: str) -> bool:
        return self.host.run(podman.inspect_containers([self.name(slot)]), ok=None).returncode == 0

    def _recover(self, slot: str) -> None:
        recover(self.name(slot), lambda *arguments: self.host.run(("podman", *arguments), ok=None))

    @perform.register
    def _(self, step: StartContainer) -> None:
        self._recover(step.slot)
        self.host.run(podman.start([self.name(step.slot)]), timeout=120)

    @perform.register
    def _(self, step: RestartContainer) -> None:
        self._recover(step.slot)
        self.host.run(podman.restart(self.name(step.slot), step.grace), timeout=step.grace + 120)

    @perform.register
    def _(self, step: StopContainer) -> None:
        self._recover(step.slot)
        self.host.run(podman.stop(self.name(step.slot), step.grace), timeout=step.grace + 60)

    @perform.register
    def _(self, step: RemoveContainer) -> None:
        self._recover(step.slot)
        self.host.run(podman.stop(self.name(step.slot), step.grace), timeout=step.grace + 60, ok=None)
        self.host.run(podman.remove(self.name(step.slot)), timeout=120)

    @perform.register
    def _(self, step: AwaitHealthy) -> None:
        target = self.targets[step.slot]
        reason = until(self._health(target), step.deadline)
        if reason:
            raise NeedsPerson(
                f"{step.slot} is not healthy after {step.deadline} s", reason,
                f"inv logs {target.service} --since 10m; then inv deploy, which goes on from here",
            )  # fmt: skip

    def _health(self, target: Target) -> Callable[[], str]:
        """A question to be asked again and again. Podman is asked only when the main process is another one."""
        check = run_healthcheck(self.host)
        known: dict[str, Any] = {}

        def ask() -> str:
            pid = known.get("State", {}).get("Pid")
            if not pid or not Path(f"/proc/{pid}").exists():
                answer = self.host.run(podman.inspect_containers([target.container]), ok=None)
                known.clear()
                known.update(json.loads(answer.stdout)[0] if answer.returncode == 0 else {})
            return assess(target, known or None, check)

        return ask

    @perform.register
    def _(self, step: RunOnce) -> None:
        name = self.name(step.slot)
        self.host.run(podman.remove(name), ok=None)
        self.perform(CreateContainers(step.key, step.title, slots=(step.slot,)))
        try:
            self.host.run(podman.start_attached(name), timeout=step.deadline)
        finally:
            self.host.run(podman.remove(name), ok=None)

    @perform.register
    def _(self, step: ReloadService) -> None:
        for slot in step.slots:
            self.host.run(podman.exec_in(self.name(slot), step.argv))
        files.write(self.state.config / step.service / "loaded", step.version + "\n")

    @perform.register
    def _(self, step: MarkLoaded) -> None:
        files.write(self.state.config / step.service / "loaded", step.version + "\n")

    @perform.register
    def _(self, step: Supervise) -> None:
        start_ticker(self.state, ticker_sources(self.host), step.content or {}, step.version, self.host.environment)

    @perform.register
    def _(self, step: EndSupervision) -> None:
        end_supervision(self.state)

    @perform.register
    def _(self, step: RemoveVolume) -> None:
        self.host.run(podman.volume_remove(step.name))

    @perform.register
    def _(self, step: RemoveNetwork) -> None:
        self.host.run(podman.network_remove(step.name))

    @perform.register
    def _(self, step: RemoveSecret) -> None:
        self.host.run(podman.secret_remove(step.name))

    @perform.register
    def _(self, step: RemoveState) -> None:
        shutil.rmtree(self.state.root)
