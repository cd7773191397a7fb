"""Everything that a command needs before it decides: the checkout read, addresses allocated, the wanted release rendered."""

from __future__ import annotations

import dataclasses
import os
import sys
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ops import supervisor
from ops.core import files, lock
from ops.core.errors import HostLacks, UsageProblem, did_you_mean
from ops.core.machine import REPOSITORY, port_is_free, routed_subnets
from ops.core.state import State, state_root
from ops.engines.engine import Engine
from ops.engines.podman.engine import PodmanEngine
from ops.engines.podman.host import Host
from ops.engines.podman.supervisor.command import COMMAND
from ops.engines.podman.supervisor.health import Target
from ops.stack.allocate import allocate, allocate_ports, as_json
from ops.stack.applied_settings import with_settings
from ops.stack.certificates import TLS, leaves, listeners
from ops.stack.checkout import config_of, config_version, read_settings, realm_of, wanted_images
from ops.stack.cluster_settings import Kubernetes
from ops.stack.compose import parse_stack, placeholders
from ops.stack.images import WantedImage
from ops.stack.model import Allocation, Stack, names_on_cluster
from ops.stack.render import address, container_name, digest, render_release
from ops.stack.settings import Settings
from ops.stack.wanted import Wanted
from ops.stack.yaml_model import load_yaml
from ops.store import encryption
from ops.store.releases import current_number, load_release
from ops.store.versions import secret_versions

if TYPE_CHECKING:
    from ops.engines.kubernetes.api import Api

REFRESH = "refresh"
"""Name of the file with the stamps of the last `inv build --refresh`."""


@dataclass(frozen=True)
class Project:
    """One project as the checkout describes it, on this host."""

    settings: Settings
    host: Host
    stamps: str | None = None
    """Stamps of a refresh that is under way; None: those of the last one."""

    @property
    def name(self) -> str:
        return self.settings.project

    @property
    def state(self) -> State:
        return self.host.state

    @cached_property
    def engine(self) -> Engine:
        """What runs this project's containers; of a project on a cluster, what builds its images. The one place that names an
        engine."""
        return PodmanEngine(self.host, self.name)

    @property
    def cluster(self) -> Kubernetes | None:
        """The cluster that the stack runs on; None: it runs on this host."""
        return self.settings.engine.kubernetes

    @cached_property
    def kubernetes(self) -> Api:
        """The API of that cluster. Raises HostLacks where there is none."""
        from ops.engines.kubernetes.api import Api

        if self.cluster is None:
            raise HostLacks(
                "this project has no cluster", f"{self.settings.source} names none", "engine.kubernetes in that file"
            )
        return Api(self.cluster, self.name)

    def prepare(self) -> None:
        """Make the state folder, and whatever else this machine needs before something is changed."""
        if self.cluster:
            self.state.prepare()
        else:
            self.host.prepare()

    @cached_property
    def remembered(self) -> Mapping[str, Any] | None:
        return files.read_json(self.state.allocation)

    @cached_property
    def ports(self) -> dict[str, int]:
        if self.cluster:
            return dict(self.settings.ports.published)
        held = {port for other in self._others() for port in other["ports"].values()}
        return allocate_ports(
            self.settings.ports.published,
            self.remembered,
            own_project=self.settings.own_project,
            free=lambda port: port not in held and port_is_free(port),
        )

    def _others(self) -> list[Mapping[str, Any]]:
        """What other projects of this host remember: a stopped or removed one will want its addresses and ports back."""
        paths = self.state.root.parent.glob("*/allocation.json")
        found = (files.read_json(path) for path in paths if path != self.state.allocation)
        return [allocation for allocation in found if allocation]

    def _refuse_taken(self) -> None:
        others = self._others()
        subnets = {subnet for other in others for subnet in other["subnets"].values()}
        ports = {port for other in others for port in other["ports"].values()}
        # The ports of the project that stack.yaml names are the operator's choice, and looked at before a deploy.
        own = set() if self.settings.own_project else set(self.ports.values())
        taken = [*sorted(subnets & set(self.allocation.subnets.values())), *sorted(ports & own)]
        if taken:
            raise HostLacks(
                f"another project has just taken {taken[0]}, which {self.name} was to have",
                "two projects were deployed for the first time at the same moment", "inv deploy, which takes what is free then",
            )  # fmt: skip

    @cached_property
    def _compose(self) -> str:
        return (self.host.repository / "compose" / "compose.yaml").read_text(encoding="utf-8")

    @cached_property
    def declaration(self) -> Mapping[str, Any]:
        """compose.yaml of the checkout, as it is written."""
        found: Mapping[str, Any] = load_yaml(self._compose)
        return found

    @cached_property
    def stack(self) -> Stack:
        return parse_stack(self._compose, self.settings, self.ports, self.host.repository, self.state.root, self.scaled)

    def afresh(self) -> Project:
        """The same project, which reads this host anew: another command may have changed what was read before."""
        return dataclasses.replace(self)

    def with_stamps(self, stamps: str) -> Project:
        """The same project with images of a refresh, before it has succeeded."""
        return dataclasses.replace(self, stamps=stamps)

    @property
    def kept_stamps(self) -> str:
        """Stamps of the last refresh that has succeeded; empty where there was none."""
        path = self.state.root / REFRESH
        return path.read_text() if path.exists() else ""

    @cached_property
    def scaled(self) -> dict[str, int]:
        """What `inv scale` has said. A number that stack.yaml has been given since is newer, and wins."""
        said: Mapping[str, Any] = files.read_json(self.state.scale) or {}
        return {
            name: int(entry["replicas"])
            for name, entry in said.items()
            if entry["instead_of"] == self.settings.replicas_of(name)
        }

    @cached_property
    def allocation(self) -> Allocation:
        remembered = self.remembered
        if remembered and set(self.stack.networks) <= set(remembered["subnets"]):
            return allocate(self.stack, self.ports, remembered, ())
        held = [subnet for other in self._others() for subnet in other["subnets"].values()]
        taken = (*routed_subnets(), *self.engine.subnets(), *held)
        return allocate(self.stack, self.ports, remembered, taken)

    @cached_property
    def images(self) -> dict[str, WantedImage]:
        stamps = self.kept_stamps if self.stamps is None else self.stamps
        return wanted_images(self.stack, self.host.repository, stamps)

    def config(self, without: frozenset[str] = frozenset()) -> dict[str, dict[str, str]]:
        """Service -> its mounted files. `without`: optional services that are left out, and named in no file."""
        return self._config(
            {name: () if name in without else one.slots() for name, one in self.stack.services.items()}, without
        )

    def cluster_config(self) -> dict[str, dict[str, str]]:
        """Service -> its mounted files on a cluster, where names stand for all pods of a service."""
        return self._config({name: names_on_cluster(one) for name, one in self.stack.services.items()})

    def _config(
        self, slots: Mapping[str, tuple[str, ...]], without: frozenset[str] = frozenset()
    ) -> dict[str, dict[str, str]]:  # fmt: skip
        values = placeholders(self.settings, self.ports)
        return {
            service.name: with_settings(service.name, config_of(service, slots, values, self.host.repository), self.settings)
            for service in self.stack.services.values()
            if service.has_config and service.name not in without
        }

    @cached_property
    def realm(self) -> str:
        """Declaration of Keycloak's realm."""
        from ops.composition import check_realm

        return realm_of(placeholders(self.settings, self.ports), self.host.repository, check_realm)

    def archive(self) -> None:
        """Have the backup's archive of this host hold what it has now."""
        from ops.composition import ARCHIVE

        ARCHIVE(self)

    @property
    def public_url(self) -> str:
        """Of the release that runs: the issuer that its API accepts; the checkout's where it has none."""
        for definition in self.deployed.compose["services"].values():
            url, realm, _ = str((definition.get("environment") or {}).get("CC03_ISSUER", "")).partition("/auth/realms/")
            if realm:
                return url
        return placeholders(self.settings, self.ports)["CC03_PUBLIC_URL"]

    def targets(self, without: frozenset[str] = frozenset()) -> tuple[Target, ...]:
        """What health is asked of, for every container that should run."""
        return targets_of(self.state, self.stack, self.allocation, without)

    def wanted(self, secret_versions: Mapping[str, int], without: frozenset[str]) -> Wanted:
        """The release that should run, given which secrets exist and which optional images cannot be had."""
        versions = {name: secret_versions.get(name, 1) for name in self.stack.secrets}
        content = self.config(without)
        config = {name: config_version(files) for name, files in content.items()}
        compose = render_release(
            self.stack, self.allocation, images={name: image.tag for name, image in self.images.items()}, versions=versions,
            config_hashes=config, state=self.state.root, without=without,
            log_megabytes=self.settings.logs.max_size_mb, seccomp=str(self.host.seccomp or ""),
        )  # fmt: skip
        served = leaves(self.stack, self.certificate_names(), self.settings.domain, without)
        supervise = {
            "targets": [dataclasses.asdict(target) for target in self.targets(without)],
            "listeners": [dataclasses.asdict(at) for at in listeners(self.state.root, self.stack, self.allocation, served)],
        }
        return Wanted(
            stack=self.stack, allocation=self.allocation, images=self.images, compose=compose,
            config=config, config_files=content, versions=versions,
            supervise=supervise, supervise_version=digest([supervise, supervisor_sources(self.host)]),
            build_deadline=self.settings.deadlines.build, certificate_names=self.certificate_names(),
            settings={
                **dict(sorted(self.settings.given().items())),
                **{f"replicas.{name}": number for name, number in self.scaled.items()},
            },
            realm=self.realm,
        )  # fmt: skip

    @cached_property
    def deployed(self) -> Wanted:
        """What runs here: the current release, which may be another than the checkout's; before the first one, the checkout."""
        # A damaged release is told by `inv releases` and by a rollback; to stop or remove what runs, the checkout will do.
        return self.release or self.wanted(secret_versions(self.state), frozenset())

    @property
    def release(self) -> Wanted | None:
        """The current release; None where there is none, or a damaged one."""
        number = current_number(self.state)
        with suppress(HostLacks):
            return self.wanted_again(number) if number is not None else None
        return None

    def wanted_again(self, number: int) -> Wanted:
        """A sealed release as what should run. Raises HostLacks where it is gone or damaged."""
        return load_release(self.state, number, supervisor_sources(self.host))

    def certificate_names(self) -> dict[str, tuple[str, ...]]:
        """Service -> host names and addresses of its certificate."""
        names = {s.name: (s.name, "localhost", "127.0.0.1") for s in self.stack.services.values() if s.has_tls}
        return names | {"nginx": tuple(dict.fromkeys((*names["nginx"], self.settings.domain)))}

    def remember(self) -> None:
        """Keep the allocation, so that every later command on this project uses the same addresses and ports; and who works on
        it.

        Raises HostLacks where another project has taken one of them since they were chosen.
        """
        content = files.dump(as_json(self.allocation))
        with lock.hold(self.state.root.parent / ".allocations.lock", "allocation", patiently=True):
            if not self.state.allocation.exists() or self.state.allocation.read_text() != content:
                self._refuse_taken()
                files.write(self.state.allocation, content)
        # The health supervisor has this checkout renew certificates.
        here = {"python": sys.executable, "repository": str(self.host.repository)}
        files.write(self.state.ticker / COMMAND, files.dump(here))


def targets_of(
    state: State, stack: Stack, allocation: Allocation, without: frozenset[str] = frozenset(), *, surge: bool = False
) -> tuple[Target, ...]:  # fmt: skip
    """What health is asked of in a stack. `surge`: also of the extra containers that run during a change."""
    return tuple(
        Target(
            slot=slot, service=service.name, container=container_name(stack.project, slot),
            address=address(allocation, service.listens_on[0], service.address_name(slot)), probe=service.probe,
            ca=str(state.ca / "root.pem"), start_seconds=service.start_seconds, grace=service.grace,
            socket=service.socket or "", holder=container_name(stack.project, service.shares) if service.shares else "",
            needs=tuple(service.needs), live=service.live or "",
            certificate=str(state.certs / service.name / TLS) if service.has_tls else "",
        )
        for service in stack.services.values() if service.name not in without
        for slot in (*service.slots(), *((service.surge_slot,) if service.rolls and surge else ()))
    )  # fmt: skip


FORMER_MODULES = {
    f"{name}.py": "from runpy import run_module\n\nrun_module('ops.supervisor', run_name='__main__')\n"
    for name in ("machine/ticker", "engines/podman/supervisor/__main__")
}
"""What a systemd unit of an earlier release starts."""


def supervisor_sources(host: Host) -> dict[str, str]:
    """File below `ops/` -> text, of the copy that the health supervisor runs from: losing the checkout loses no supervision."""
    ops = host.repository / "ops"
    paths = {ops / name for name in supervisor.MODULES}.union(*((ops / name).glob("*.py") for name in supervisor.PACKAGES))
    paths |= {folder / "__init__.py" for path in paths for folder in path.parents if folder.is_relative_to(ops)}
    copied = {str(path.relative_to(ops)): path.read_text(encoding="utf-8") for path in sorted(paths)}
    return {**copied, "machine/__init__.py": "", **FORMER_MODULES}


BUILDS, RUNS = "builds", "runs"
"""What a command can do for a project on a cluster: work with images of this host, or with the cluster itself."""


def open_project(*, root_needed: bool = True, secrets_needed: bool = True, cluster: str = "") -> Project:
    """Read the checkout. Nothing is made on this host: `Project.prepare` does that, where a command has something to apply.
    Only secrets that are encrypted at rest are decrypted into memory, where they are not there since the last boot.

    cluster: what the command can do where the stack runs on a cluster; empty: nothing, and it is refused.

    Raises UsageProblem for settings that cannot be meant, HostLacks where root is needed and the caller is not, and where
    secrets are encrypted and their key is not here.
    """
    settings = read_settings(REPOSITORY)
    if settings.engine.kubernetes and not cluster:
        _refuse_on_cluster(settings)
    remote = cluster == RUNS and settings.engine.kubernetes
    if root_needed and not remote and os.geteuid() != 0:
        raise HostLacks(
            "this command needs root", "it gives containers fixed addresses, limits and low ports", "run it again with sudo"
        )
    state = State(_state_folder(settings))
    if root_needed and secrets_needed and not settings.engine.kubernetes:
        encryption.open_again(state.root)
    return Project(settings, Host(settings.project, state))


def _state_folder(settings: Settings) -> Path:
    cluster = settings.engine.kubernetes
    if cluster is None:
        return state_root() / settings.project
    return state_root() / "clusters" / f"{cluster.namespace}-{digest([cluster.context, settings.project])[:8]}"


def _refuse_on_cluster(settings: Settings) -> None:
    """Raises UsageProblem: what a command would do on this host, it must not do instead."""
    raise UsageProblem(
        "this command does not work on a cluster yet",
        f"{settings.source} names engine.kubernetes, and the command knows containers of this host only",
        "docs/how-to/cluster.md lists what works there, and what to use instead",
    )


def on_cluster() -> Any:
    """As of `ops.composition`, which is loaded where the stack runs on a cluster alone."""
    from ops import composition

    return composition.on_cluster()


def must_exist(project: Project) -> Project:
    """The same project.

    Raises HostLacks, naming the projects that there are, where this host has nothing of it: its name may be mistyped.
    """
    if project.state.allocation.exists() or project.engine.containers() or project.engine.volumes():
        return project
    known = sorted(path.parent.name for path in project.state.root.parent.glob("*/allocation.json"))
    raise HostLacks(
        f"no project {project.name} on this host",
        f"known here: {', '.join(known)}" if known else "none has been deployed here yet",
        "correct CC03_PROJECT, or project in config/stack.yaml; inv deploy makes a new one",
    )


def known_service(project: Project, name: str | None) -> None:
    """Raises UsageProblem, with a suggestion, for a service that the stack does not have."""
    if name is not None and name not in project.stack.services:
        raise UsageProblem(f'there is no service "{name}"', did_you_mean(name, project.stack.services), "inv status")
