"""Steps that make and remove what containers stand on: networks, packet filter, volumes, supervision, the state folder."""

from __future__ import annotations

import shutil
from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from ops.core.plan import Step
from ops.stack.model import Seen

if TYPE_CHECKING:
    from ops.execution import Execution


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
class RemoveFirewall(Step):
    """Remove the project's packet filter from the kernel."""

    def run(self, execution: Execution) -> None:
        execution.engine.remove_firewall()


@dataclass(frozen=True)
class CreateVolume(Step):
    name: str = ""

    def run(self, execution: Execution) -> None:
        execution.engine.create_volume(self.name)


@dataclass(frozen=True)
class RemoveVolume(Step):
    name: str = ""

    def run(self, execution: Execution) -> None:
        execution.engine.remove_volume(self.name)


@dataclass(frozen=True)
class Supervise(Step):
    """Write the list that the health ticker works from, and have exactly one ticker of this version running."""

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


@dataclass(frozen=True)
class RemoveState(Step):
    """Delete the project's state folder: releases, secrets, the CA, logs."""

    def run(self, execution: Execution) -> None:
        from ops.store import encryption
        from ops.store.encrypted_copies import HOME

        if (execution.state.root / HOME).is_dir():
            encryption.forget(execution.state.root)
        shutil.rmtree(execution.state.root)
