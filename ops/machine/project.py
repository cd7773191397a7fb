"""Everything that a command needs before it decides: the checkout read, addresses allocated, the wanted release rendered."""

from __future__ import annotations

import dataclasses
import os
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from typing import Any

from ops import podman
from ops.compose import parse_stack, placeholders
from ops.errors import HostLacks
from ops.machine import state as files
from ops.machine.checkout import config_of, config_version, read_settings, wanted_images
from ops.machine.health import Target
from ops.machine.host import REPOSITORY, Host, host_facts, port_is_free, routed_subnets
from ops.machine.state import State, state_root
from ops.model import Allocation, Stack
from ops.plan.allocate import allocate, allocate_ports, as_json
from ops.plan.deploy import Wanted, grace
from ops.plan.host import containers_conf
from ops.plan.images import WantedImage
from ops.render import address, container_name, digest, render_release
from ops.settings import Settings


@dataclass(frozen=True)
class Project:
    """One project as the checkout describes it, on this host."""

    settings: Settings
    host: Host

    @property
    def name(self) -> str:
        return self.settings.project

    @property
    def state(self) -> State:
        return self.host.state

    @cached_property
    def remembered(self) -> Mapping[str, Any] | None:
        return files.read_json(self.state.allocation)

    @cached_property
    def ports(self) -> dict[str, int]:
        wanted = {name: int(self.settings.get("ports", name)) for name in ("http", "https", "ops")}
        held = {port for other in self._others() for port in other["ports"].values()}
        return allocate_ports(
            wanted,
            self.remembered,
            own_project=self.settings.own_project,
            free=lambda port: port not in held and port_is_free(port),
        )

    def _others(self) -> list[Mapping[str, Any]]:
        """What other projects of this host remember: a stopped or removed one will want its addresses and ports back."""
        paths = self.state.root.parent.glob("*/allocation.json")
        found = (files.read_json(path) for path in paths if path != self.state.allocation)
        return [allocation for allocation in found if allocation]

    @cached_property
    def stack(self) -> Stack:
        text = (self.host.repository / "compose" / "compose.yaml").read_text(encoding="utf-8")
        return parse_stack(text, self.settings, self.ports, self.host.repository, self.state.root)

    @cached_property
    def allocation(self) -> Allocation:
        remembered = self.remembered
        complete = remembered and set(self.stack.networks) <= set(remembered["subnets"])
        if complete:
            return allocate(self.stack, self.ports, remembered, ())
        held = [subnet for other in self._others() for subnet in other["subnets"].values()]
        taken = (*routed_subnets(), *self.host.run(podman.list_subnets()).stdout.split(), *held)
        return allocate(self.stack, self.ports, remembered, taken)

    @cached_property
    def images(self) -> dict[str, WantedImage]:
        stamp = self.state.root / "refresh"
        return wanted_images(self.stack, self.host.repository, stamp.read_text() if stamp.exists() else "")

    def config(self, without: frozenset[str] = frozenset()) -> dict[str, dict[str, str]]:
        """Service -> its mounted files. `without`: optional services that are left out, and named in no file."""
        slots = {name: () if name in without else service.slots() for name, service in self.stack.services.items()}
        values = placeholders(self.settings, self.ports)
        return {
            service.name: config_of(service, slots, values, self.host.repository)
            for service in self.stack.services.values()
            if service.has_config and service.name not in without
        }

    def targets(self, without: frozenset[str] = frozenset()) -> tuple[Target, ...]:
        """What health is asked of, for every container that should run."""
        return tuple(
            Target(
                slot=slot, service=service.name, container=container_name(self.name, slot),
                address=address(self.allocation, service.networks[0], slot), probe=service.probe,
                ca=str(self.state.ca / "root.pem"), start_seconds=service.start_seconds, grace=grace(service),
            )
            for service in self.stack.services.values() if service.name not in without for slot in service.slots()
        )  # fmt: skip

    def wanted(self, secret_versions: Mapping[str, int], without: frozenset[str]) -> Wanted:
        """The release that should run, given which secrets exist and which optional images cannot be had."""
        versions = {name: secret_versions.get(name, 1) for name in self.stack.secrets}
        content = self.config(without)
        config = {name: config_version(files) for name, files in content.items()}
        compose = render_release(
            self.stack, self.allocation, images={name: image.tag for name, image in self.images.items()}, versions=versions,
            config_hashes=config, state=self.state.root, without=without,
            log_megabytes=self.settings.get("logs", "max_size_mb"),
        )  # fmt: skip
        supervise = {"targets": [dataclasses.asdict(target) for target in self.targets(without)]}
        return Wanted(
            stack=self.stack, allocation=self.allocation, images=self.images, compose=compose,
            config=config, config_files=content, versions=versions,
            supervise=supervise, supervise_version=digest([supervise, ticker_sources(self.host)]),
            build_deadline=self.settings.get("deadlines", "build"), certificate_names=self._certificate_names(),
        )  # fmt: skip

    def _certificate_names(self) -> dict[str, tuple[str, ...]]:
        names = {s.name: (s.name, "localhost", "127.0.0.1") for s in self.stack.services.values() if s.has_tls}
        return names | {"nginx": tuple(dict.fromkeys((*names["nginx"], self.settings.domain)))}

    def remember(self) -> None:
        """Keep the allocation, so that every later command on this project uses the same addresses and ports."""
        content = files.dump(as_json(self.allocation))
        if not self.state.allocation.exists() or self.state.allocation.read_text() != content:
            files.write(self.state.allocation, content)


TICKER_FILES = (
    "__init__.py", "errors.py", "machine/__init__.py", "machine/run.py", "machine/health.py", "machine/lock.py",
    "machine/lost.py", "machine/ticker.py",
)  # fmt: skip
"""What the health ticker needs; it runs from a copy in the state folder, so that losing the checkout loses no supervision."""


def ticker_sources(host: Host) -> dict[str, str]:
    return {name: (host.repository / "ops" / name).read_text(encoding="utf-8") for name in TICKER_FILES}


def open_project(*, root_needed: bool = True) -> Project:
    """Read the checkout and prepare the state folder.

    Raises UsageProblem for settings that cannot be meant, HostLacks where root is needed and the caller is not.
    """
    settings = read_settings(REPOSITORY)
    if root_needed and os.geteuid() != 0:
        raise HostLacks(
            "this command needs root", "it gives containers fixed addresses, limits and low ports", "run it again with sudo"
        )
    project = Project(settings, Host(settings.project, State(state_root() / settings.project)))
    project.state.prepare()
    conf = containers_conf(host_facts())
    if not project.state.containers_conf.exists() or project.state.containers_conf.read_text() != conf:
        files.write(project.state.containers_conf, conf)
    return project
