"""Steps that seal a release and make one the current one."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from ops.core import files, machine
from ops.core.plan import Step
from ops.core.process import account

if TYPE_CHECKING:
    from ops.execution import Execution


@dataclass(frozen=True)
class WriteRelease(Step):
    """Seal everything that makes up a release under one digest, then make it the current one."""

    number: int = 0
    manifest: Mapping[str, Any] | None = None
    files: Mapping[str, str] | None = None
    """Path within the release's folder -> text."""

    def run(self, execution: Execution) -> None:
        from ops.stack.checkout import origin
        from ops.store.releases import write_release

        tags = dict((self.manifest or {}).get("images", {}))
        have = execution.engine.images(tags.values())
        facts = {"at": machine.now(), "by": account(), **origin(execution.host.repository)}
        ids = {name: have[tag] for name, tag in tags.items() if tag in have}
        write_release(execution.state, self.number, {**facts, **(self.manifest or {}), "image_ids": ids}, self.files or {})


@dataclass(frozen=True)
class ActivateRelease(Step):
    """Make a sealed release the current one."""

    number: int = 0

    def run(self, execution: Execution) -> None:
        files.link(execution.state.current, str(self.number))


def seals(step: Step) -> bool:
    """Whether a step makes another release the current one."""
    return isinstance(step, WriteRelease | ActivateRelease)
