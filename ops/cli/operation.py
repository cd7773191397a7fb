"""What a command that changes something is, as data: what it decides, what it asks, and what reverts it. See execute.py."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Protocol

if TYPE_CHECKING:
    from pathlib import Path

    from ops.cli.show import LiveProgress, PlainProgress
    from ops.cli.watch import Watch
    from ops.core.plan import Plan
    from ops.execution import Execution
    from ops.project import Project
    from ops.stack.wanted import Wanted

DONE, REVERTED, FAILED = "done", "reverted", "failed"


def _nothing(*_: object) -> None:
    return None


@dataclass(frozen=True)
class Revert:
    """How the previous state is restored where a plan fails, and how that is described."""

    decide: Callable[[], Decision]
    title: str
    """What is done, as in `putting release 3 back`."""
    restored: str
    """What holds afterwards; `{seconds}` is filled in."""
    by_hand: str
    """What to type where the previous state could not be restored."""
    again: str = ""
    """The command to repeat once the cause is corrected; empty: the failure says itself what to do next."""
    unchanged: str = ""
    """Said in the place of `restored` where there is nothing to revert."""
    interrupts: bool = True
    """Whether an interrupt is reverted as well; otherwise what was done stays."""


class Observer(Protocol):
    """Watches users while a plan is executed."""

    def first_touch(self) -> None:
        """Called once, before the first step that users could notice."""

    def executed(self) -> None:
        """Called when the steps have ended, whichever way."""


class NoObserver:
    def first_touch(self) -> None: ...

    def executed(self) -> None: ...


@dataclass(frozen=True)
class Decision:
    """What is to be done, from what this host is like now."""

    project: Project
    plan: Plan
    wanted: Wanted | None = None
    """The release that the steps belong to; None: the one that runs."""
    left: Callable[[], Plan] | None = None
    """Reads and plans again: what is still to be done. None: the plan is the wish itself, and nothing can be left over."""
    refuse: Callable[[], None] = _nothing
    """Raises where this plan may not be executed; not asked for a plan that is only shown."""
    nothing_to_do: Callable[[], None] = _nothing
    """Called under the lock where the plan is empty."""
    observe: Callable[[], AbstractContextManager[Observer]] = lambda: nullcontext(NoObserver())
    executed: Callable[[Decision, Execution], None] = _nothing
    """Called when the steps of this plan, or of the one that reverts it, have ended, whichever way."""
    revert: Revert | None = None
    failed: Callable[[BaseException, int], BaseException] = lambda problem, done: problem
    """What is raised for a problem that is not reverted. Given the problem, and how many steps were done."""
    ended: Callable[[str, str], None] = _nothing
    """Told the outcome (DONE, REVERTED, FAILED), and why."""


@dataclass(frozen=True)
class Operation:
    """A command that changes something, as data.

    decide: reads the host and plans; called again for every new look at it. plan_only: show the plan, and do nothing.
    yes: do not ask. word: what has to be typed where something is destroyed. check: raises where the host cannot carry the
    plan out; asked only when there is something to do.
    """

    project: Project
    verb: str
    decide: Callable[[], Decision]
    plan_only: bool = False
    yes: bool = False
    word: str = "yes"
    check: Callable[[Project], None] | None = None
    plans_first: bool = True
    """Whether a plan is made before the lock is taken: an empty one then leaves no trace, and needs no lock."""
    locks_to_plan: bool = False
    """Whether a plan that is only shown needs the lock as well."""
    shows_plan: bool = False
    """Whether the whole plan is shown before it is executed, and not only what it destroys."""
    locks: bool = True
    """Whether the project's lock is taken: not where the caller holds it, nor for a job that may run beside a deploy."""
    remembers: bool = True
    """Whether addresses and ports of the checkout are those of the project from now on."""
    journal: Path | None = None
    """None: the project's own, which belongs to the holder of the lock."""
    progress: Callable[[LiveProgress | PlainProgress], LiveProgress | PlainProgress | Watch] = lambda shown: shown
    tidy: Callable[[], None] | None = None
    """Removes what planning has left on this host; called under the lock, whatever has become of the plan."""


@dataclass(frozen=True)
class UnderWay:
    """A plan that is being executed, for the hooks that features have registered (ops/composition.py)."""

    project: Project
    plan: Plan
    hooks: list[Mapping[str, Any]] = field(default_factory=list)
    """Outcome of each program in config/hooks/, for the audit log."""

    def say(self, text: str) -> None:
        from ops.cli import show

        show.aside(text)

    def note(self, text: str, kind: str = "[yellow]note:[/yellow]") -> None:
        note(text, kind)


def note(text: str, kind: str = "[yellow]note:[/yellow]") -> None:
    from ops.cli import show

    show.err.print(f"{kind} {text}")


def planned(project: Project, decide: Callable[[], Plan]) -> Callable[[], Decision]:
    """The decision of a command whose plan is all there is to it: afterwards, nothing of it may be left to do."""
    return lambda: Decision(project, decide(), left=decide)
