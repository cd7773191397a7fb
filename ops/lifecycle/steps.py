"""Steps that only a destroyed stack needs: its packet filter, its volumes, its state folder."""

from __future__ import annotations

import shutil
from dataclasses import dataclass
from typing import TYPE_CHECKING

from ops.core.plan import Step

if TYPE_CHECKING:
    from ops.execution import Execution


@dataclass(frozen=True)
class RemoveFirewall(Step):
    """Remove the project's packet filter from the kernel."""

    def run(self, execution: Execution) -> None:
        execution.engine.remove_firewall()


@dataclass(frozen=True)
class RemoveVolume(Step):
    name: str = ""

    def run(self, execution: Execution) -> None:
        execution.engine.remove_volume(self.name)


@dataclass(frozen=True)
class RemoveState(Step):
    """Delete the project's state folder: releases, secrets, the CA, logs."""

    def run(self, execution: Execution) -> None:
        from ops.store import encryption
        from ops.store.encrypted_copies import HOME

        if (execution.state.root / HOME).is_dir():
            encryption.forget(execution.state.root)
        shutil.rmtree(execution.state.root)
