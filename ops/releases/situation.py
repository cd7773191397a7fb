"""What the state folder says of the stack as a whole: its release, what was done last, whether it was stopped on purpose."""

from __future__ import annotations

from typing import TYPE_CHECKING

from ops.core.errors import HostLacks
from ops.core.journal import interrupted, under_way
from ops.core.records import newest
from ops.core.state import State
from ops.releases.headline import Situation, stopped_by
from ops.store.releases import activations, current_number

if TYPE_CHECKING:
    from ops.project import Project

TAIL_BYTES = 128 << 10
"""Of the audit log: some hundred operations. The whole of it is read by inv audit.log."""


def situation(state: State) -> Situation:
    return Situation(
        release=current_number(state), activations=activations(state), operations=newest(state.audit, TAIL_BYTES)[0],
        stopped=is_stopped(state), broken_off="" if under_way(state) else interrupted(state.journal) or "",
    )  # fmt: skip


def is_stopped(state: State) -> bool:
    """Whether `inv stop` was the last word: nothing is supervised, and nothing is expected to run."""
    return (state.ticker / "stopped").exists()


def must_run(project: Project) -> Project:
    """The same project. Raises HostLacks where it was stopped on purpose: nothing answers, and nothing is wrong with it."""
    if is_stopped(project.state):
        by = stopped_by(situation(project.state).operations)
        raise HostLacks("the stack is stopped", f"{by}; this command needs it", "inv start, then the same command")
    return project


def open_running() -> Project:
    """The project of this checkout, which there is on this host, and which is not stopped. Raises as its three parts do."""
    from ops.project import must_exist, open_project

    return must_run(must_exist(open_project()))
