"""Who operates on a project, what it is at, and what a killed one has left: the lock and the journal, read together."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import datetime

from ops.core.journal import Run, interrupted, open_run
from ops.core.lock import SUPERVISOR, Holder, hold, holder
from ops.core.state import State


@dataclass(frozen=True)
class Ongoing:
    """An operation that holds the project's lock. `steps`: titles of those under way, the one longest under way first."""

    verb: str
    pid: int
    since: str
    steps: tuple[str, ...]

    def described(self, now: float) -> str:
        """One line for a screen. `now`: seconds of the epoch."""
        age = f" for {max(0, now - datetime.fromisoformat(self.since).timestamp()):.0f} s" if self.since else ""
        at = _at(self.steps)
        who = f"the {SUPERVISOR} repairs a container" if self.verb == SUPERVISOR else f"inv {self.verb} under way"
        return f"{who}{age}" + (f": {at}" if at else "")


@contextmanager
def operation(state: State, verb: str) -> Iterator[str]:
    """Hold the project's lock while the block runs.

    Yields what is to be told of an operation before this one that was killed; empty where the last one ended by itself.
    Raises LockHeld, which says who holds the lock, since when, and which step it is at.
    """
    with hold(state.lock, verb, doing=lambda: _at(present.steps if (present := under_way(state)) else ())) as killed:
        yield _left_by(killed, state)


def under_way(state: State) -> Ongoing | None:
    """The operation that holds the lock right now; None where nobody does."""
    who = holder(state.lock)
    if who is None:
        return None
    run = _of(who, open_run(state.journal))
    return Ongoing(who.verb, who.pid, who.since, run.steps if run else ())


def _at(steps: tuple[str, ...]) -> str:
    if not steps:
        return ""
    return steps[0] + (f" (and {len(steps) - 1} more)" if steps[1:] else "")


def _of(who: Holder, run: Run | None) -> Run | None:
    """The run that this process journals. One that a process of the same number left open before is not it."""
    if run is None or run.pid != who.pid:
        return None
    return run if not who.since or datetime.fromisoformat(run.last) >= datetime.fromisoformat(who.since) else None


def _left_by(killed: Holder | None, state: State) -> str:
    if killed is None:
        broken_off = interrupted(state.journal)
        return f"{broken_off} was interrupted" if broken_off else ""
    run = _of(killed, open_run(state.journal))
    if run is None:
        return f"recovered from {killed.named()} of {killed.since}, which was killed while no step was under way"
    steps = f", in: {', '.join(run.steps)}" if run.steps else ""
    return f"recovered from {killed.named()}, which was killed at {run.last} or soon after{steps}"
