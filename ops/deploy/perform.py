"""How each kind of step is done on this host."""

from __future__ import annotations

import secrets
import shutil
import threading
import time
from collections.abc import Callable, Mapping
from functools import singledispatchmethod
from pathlib import Path
from typing import TypeVar, cast

import yaml

from ops.certificates.authority import issue_certificate
from ops.core import files as disk
from ops.core import state as files
from ops.core.errors import NeedsPerson, OpsError
from ops.core.plan import Step
from ops.core.process import Result, account, shown
from ops.deploy.migrate import migrate
from ops.deploy.steps import (
    ActivateRelease,
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
    LoadFirewall,
    MarkLoaded,
    Migrate,
    ObtainBase,
    PromoteContainer,
    Reconnect,
    ReloadService,
    RememberScale,
    RemoveContainer,
    RemoveFirewall,
    RemoveNetwork,
    RemoveSecret,
    RemoveState,
    RemoveVolume,
    RestartContainer,
    StartContainer,
    StopContainer,
    StoreSecret,
    Supervise,
    WriteConfig,
    WriteRelease,
)
from ops.engines.podman import argv as podman
from ops.engines.podman.create import create_calls
from ops.engines.podman.host import REMOVING
from ops.engines.podman.images import build_image, fetch_image, obtain_base
from ops.engines.podman.observe import images, inspected_containers
from ops.engines.podman.owners import reader
from ops.engines.podman.prove import heals, prove
from ops.engines.podman.supervise import end_supervision, start_supervisor
from ops.engines.podman.supervisor import firewall
from ops.engines.podman.supervisor.dead_monitor import recover
from ops.engines.podman.supervisor.metrics import CONTAINERS, container_list
from ops.project import Project, supervisor_sources, targets_of
from ops.releases.store import write_release
from ops.secrets.at_rest import enable as switch
from ops.secrets.at_rest import encrypted_copies as mirror
from ops.secrets.at_rest import secret_files as handed
from ops.stack.checkout import origin
from ops.stack.model import EDGE, LABEL_PROJECT
from ops.stack.render import container_name, excerpt, hosts_of, next_of, one_off, secret_name
from ops.stack.wanted import Wanted

SECRET_BYTES = 32
"""256 bits: out of reach of guessing for as long as any of the protocols here will be in use."""
RECONNECT_AFTER = 1.5
"""Seconds from the order to stop an nginx until it surely takes no new connection; Podman passes it on within a tenth."""


class Execution:
    """Does steps, one method a kind.

    `report` receives a line for whoever watches (build progress). `wanted`: the release that is brought about, where that is
    not what the checkout says. `first_touch`: called once, before the first step that users could notice.
    """

    def __init__(
        self, project: Project, report: Callable[[str, str], None] = lambda key, text: None, wanted: Wanted | None = None,
        first_touch: Callable[[], None] = lambda: None,
    ) -> None:  # fmt: skip
        self.project = project
        self.host = project.host
        self.state = project.state
        self.report = report
        self.labels = {LABEL_PROJECT: project.name}
        self.stack = wanted.stack if wanted else project.stack
        self.images = wanted.images if wanted else project.images
        self.allocation = wanted.allocation if wanted else project.allocation
        self.targets = {target.slot: target for target in targets_of(self.state, self.stack, self.allocation, surge=True)}
        self.down_since: dict[str, float] = {}
        self.gaps: dict[str, float] = {}
        """Slot -> seconds from the order to stop its old container until the new one was good."""
        self.away: dict[str, list[tuple[float, float]]] = {}
        """Slot -> beginning and end of each time without it, in seconds since the epoch."""
        self._first_touch = first_touch
        self._touched = False
        self._guard = threading.Lock()

    def _touch(self) -> None:
        """Called before a container that runs, or is about to, is touched."""
        with self._guard:
            if not self._touched:
                self._first_touch()
                self._touched = True

    def name(self, slot: str) -> str:
        return container_name(self.project.name, slot)

    def do(self, step: Step) -> None:
        """Perform a step. Where secrets are encrypted at rest, what it has renamed or removed of them is so on disk as well
        before the next one begins."""
        self.perform(step)
        mirror.sync(self.state.root)

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
        disk.make_folder(folder, mode=0o700)
        files.write(folder / str(step.version), secrets.token_urlsafe(SECRET_BYTES), mode=0o600)

    @perform.register
    def _(self, step: StoreSecret) -> None:
        name = secret_name(self.project.name, step.name, step.version)
        value = (self.state.secrets / step.name / str(step.version)).read_text()
        if not value.strip():
            # Before the copy that Podman has is removed: it may be the last one.
            raise OpsError(
                f"the state folder holds no value of the secret {step.name}",
                "its file is empty",
                "inv keycloak.fix takes Keycloak's back from a container that holds it; else restore it from the backup",
            )
        if mirror.is_on(self.state.root):
            return  # who is created is given a file
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
    def _(self, step: LoadFirewall) -> None:
        firewall.load(self.state.root, step.rules)
        firewall.admit(self.state.root)

    @perform.register
    def _(self, step: RemoveFirewall) -> None:
        firewall.remove(self.state.root)

    @perform.register
    def _(self, step: CreateVolume) -> None:
        self.host.run(podman.volume_create(step.name, self.labels))

    @perform.register
    def _(self, step: CheckConfig) -> None:
        service = self.stack.services[step.service]
        staged = self._stage(step.service, step.version, step.files or {})
        mounts = {staged: "/etc/cc03/current"}
        if service.has_tls:
            mounts[self.state.certs / step.service] = "/etc/tls"
        hosts = hosts_of(self.stack, self.allocation, service)
        # A release with other ids is checked before the owner of its files is changed.
        user = reader(self.state.certs / step.service, str(service.definition.get("user", "0")))
        self.host.run(podman.run_check(self.images[step.service].tag, service.check or (), mounts, user, hosts))

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
        have, tags = images(self.host), dict((step.manifest or {}).get("images", {}))
        facts = {"at": time.strftime("%Y-%m-%dT%H:%M:%S%z"), "by": account(), **origin(self.host.repository)}
        ids = {name: have[tag][0] for name, tag in tags.items() if tag in have}
        write_release(self.state, step.number, {**facts, **(step.manifest or {}), "image_ids": ids}, step.files or {})

    @perform.register
    def _(self, step: RememberScale) -> None:
        files.write(self.state.scale, files.dump(dict(step.said)))

    @perform.register
    def _(self, step: ActivateRelease) -> None:
        files.link(self.state.current, str(step.number))

    @perform.register
    def _(self, step: CreateContainers) -> None:
        names = [self.name(slot) for slot in (*step.slots, *map(next_of, step.staged))]
        if not names:
            return
        passing = [*map(next_of, step.staged), *filter(one_off, step.slots)]
        if passing:
            # What a killed command has left of these is of no use to anybody.
            self.host.run(podman.remove_all([self.name(slot) for slot in passing]))
        compose = yaml.safe_load((self.state.current / "compose.yaml").read_text(encoding="utf-8"))
        part = handed.part_as_is(self.state, excerpt(compose, step.slots, step.staged))
        calls = create_calls(self.state, self.project.name, step.key, part)
        answers = [self.host.run(argv, timeout=180, ok=None) for argv in calls]
        if missing := self._missing(names):
            # A killed `create` can leave the name behind in the storage, where only `--storage` reaches it.
            for name in missing:
                self.host.run(podman.remove_leftover(name), ok=None)
            answers = [self.host.run(argv, ok=None, timeout=180) for argv in calls]
        # podman-compose exits 0 although a container could not be created, so only what exists counts.
        if missing := self._missing(names):
            said = "; ".join(answer.last_words() for answer in answers)
            raise OpsError(f"cannot create {', '.join(missing)}", said, f"inv deploy --plan; {'; '.join(map(shown, calls))}")

    def _missing(self, names: list[str]) -> list[str]:
        there = set(self.host.run(podman.container_names(self.project.name)).stdout.split())
        return [name for name in names if name not in there]

    @perform.register
    def _(self, step: PromoteContainer) -> None:
        self.host.run(podman.rename(self.name(next_of(step.slot)), self.name(step.slot)))
        self._list()

    def _recover(self, slot: str) -> None:
        recover(self.name(slot), lambda *arguments: self.host.run(("podman", *arguments), ok=None))

    def _hold(self, slot: str) -> None:
        """Have nginx keep what comes for it from now on. Where nginx cannot (it is away, or of an older release), a request
        that arrives as its port closes is cut, as one is at a crash."""
        for service in self.stack.services.values():
            if service.hold and slot in service.slots():
                self.host.run(podman.exec_in(self.name(EDGE), service.hold), ok=None)

    def _list(self) -> None:
        """Tell cAdvisor what runs: it is not healthy before it has measured something, and the ticker begins at the end."""
        with self._guard:
            found = inspected_containers(self.host).values()
            files.write(self.state.metrics / CONTAINERS, container_list(found))

    @perform.register
    def _(self, step: StartContainer) -> None:
        self._touch()
        self._recover(step.slot)
        self.host.run(podman.start([self.name(step.slot)]), timeout=120)
        self._list()

    @perform.register
    def _(self, step: RestartContainer) -> None:
        if step.patience and heals(self.host, step, self.targets[step.slot]):
            return
        self._touch()
        self._recover(step.slot)
        self._hold(step.slot)
        self.down_since.setdefault(step.slot, time.monotonic())
        self.host.run(podman.restart(self.name(step.slot), step.grace), timeout=step.grace + 120)
        self._list()

    @perform.register
    def _(self, step: StopContainer) -> None:
        self._recover(step.slot)
        self._hold(step.slot)
        self.down_since.setdefault(step.slot, time.monotonic())
        self.host.run(podman.stop(self.name(step.slot), step.grace), timeout=step.grace + 60)

    @perform.register
    def _(self, step: RemoveContainer) -> None:
        self._touch()
        self._recover(step.slot)
        self._hold(step.slot)
        self.down_since.setdefault(step.slot, time.monotonic())
        self.host.run(podman.remove(self.name(step.slot), step.grace), timeout=step.grace + 120)

    @perform.register
    def _(self, step: AwaitHealthy) -> None:
        edge = container_name(self.project.name, EDGE)
        prove(self.host, step, self.targets[step.slot], edge, lambda text: self.report(step.key, text))
        if step.slot in self.down_since:
            seconds, now = time.monotonic() - self.down_since.pop(step.slot), time.time()
            self.gaps[step.slot] = round(seconds, 2)
            self.away.setdefault(step.slot, []).append((now - seconds, now))

    @perform.register
    def _(self, step: Migrate) -> None:
        migrate(self.host, step, self._run_once, self.name, lambda text: self.report(step.key, text))

    def _run_once(self, slot: str, deadline: float, prepared: bool) -> Result:
        name = self.name(slot)
        if not prepared:
            self.perform(CreateContainers(f"create {slot}", slot, slots=(slot,)))
        try:
            return self.host.run(podman.start_attached(name), timeout=deadline, ok=None)
        finally:
            self.host.run(podman.remove(name), ok=None)

    @perform.register
    def _(self, step: Reconnect) -> None:
        time.sleep(RECONNECT_AFTER)
        for slot in step.slots:
            # One that ends meanwhile closes them by itself.
            self.host.run(podman.exec_in(self.name(slot), step.argv), ok=None)

    @perform.register
    def _(self, step: ReloadService) -> None:
        self._touch()
        for slot in step.slots:
            self.host.run(podman.exec_in(self.name(slot), step.argv))
        files.write(self.state.config / step.service / "loaded", step.version + "\n")

    @perform.register
    def _(self, step: MarkLoaded) -> None:
        files.write(self.state.config / step.service / "loaded", step.version + "\n")

    @perform.register
    def _(self, step: Supervise) -> None:
        start_supervisor(self.state, supervisor_sources(self.host), step.content or {}, step.version, self.host.environment)

    @perform.register
    def _(self, step: EndSupervision) -> None:
        end_supervision(self.state)

    @perform.register
    def _(self, step: RemoveVolume) -> None:
        self.host.run(podman.volume_remove(step.name), timeout=REMOVING)

    @perform.register
    def _(self, step: RemoveNetwork) -> None:
        # One of the project's own would have been removed before.
        if others := self.host.run(podman.attached_to(step.name)).stdout.split():
            raise NeedsPerson(
                f"cannot remove the network {step.name}", f"used by what is not this project's: {', '.join(others)}",
                f"podman rm --force {' '.join(others)}, if nobody needs it; then the same command again",
            )  # fmt: skip
        self.host.run(podman.network_remove(step.name))

    @perform.register
    def _(self, step: RemoveSecret) -> None:
        self.host.run(podman.secret_remove(step.name))

    @perform.register
    def _(self, step: RemoveState) -> None:
        if (self.state.root / mirror.HOME).is_dir():
            switch.forget(self.state.root)
        shutil.rmtree(self.state.root)


S = TypeVar("S")
Doing = Callable[[Execution, S], None]


def does(kind: type[S]) -> Callable[[Doing[S]], Doing[S]]:
    """Declare how a kind of step is done, outside of the class above."""

    def declare(function: Doing[S]) -> Doing[S]:
        method = cast("singledispatchmethod[None]", vars(Execution)["perform"])
        method.register(kind, function)
        return function

    return declare
