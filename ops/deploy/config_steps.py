"""Steps that bring configuration to a service: validate it, write it beside the one in use, switch to it, have it read."""

from __future__ import annotations

import secrets
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from ops.core import files
from ops.core.plan import Step
from ops.core.state import State
from ops.engines.engine import OneOff
from ops.stack.render import hosts_of

if TYPE_CHECKING:
    from ops.execution import Execution


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
        execution.engine.run(OneOff(image, service.check or (), mounts=mounts, user=user, hosts=hosts))


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
