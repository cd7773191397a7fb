"""What a command has begun and finished, one JSON object a line, flushed before the effect; with the lock, who is at what."""

from __future__ import annotations

import os
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import datetime
from pathlib import Path
from typing import Any

from ops.core.lock import SUPERVISOR, Holder, hold, holder
from ops.core.records import TAIL, append_line, entries, newest  # noqa: F401  (entries: for modules that still look here)
from ops.core.state import State

KEPT = 2
"""Finished parts of a journal (records.py). It is read to find what was broken off, at its end; the rest is for people."""


@dataclass
class Journal:
    """Appends to `path`; safe for the executor's threads."""

    path: Path
    run_id: str
    _guard: threading.Lock = field(default_factory=threading.Lock)

    @classmethod
    def of_this_process(cls, path: Path) -> Journal:
        """A journal whose entries can be told from those of every other command."""
        return cls(path, f"{time.strftime('%Y%m%dT%H%M%S')}-{os.getpid()}")

    def write(self, event: str, **more: Any) -> None:
        if not self.path.parent.is_dir():
            return  # the project's folder itself was removed
        at = time.strftime("%Y-%m-%dT%H:%M:%S%z")
        entry = {"at": at, "run": self.run_id, "pid": os.getpid(), "event": event, **more}
        with self._guard:
            append_line(self.path, entry, kept=KEPT)


def last_entries(path: Path) -> list[dict[str, Any]]:
    """The entries from the beginning of the last run on. A journal grows for as long as the stack lives, and is not read whole
    for that."""
    length = TAIL
    while True:
        found, whole = newest(path, length)
        begins = [number for number, entry in enumerate(found) if entry["event"] == "begin"]
        if begins or whole:
            return found[begins[-1] :] if begins else found
        length *= 4


@dataclass(frozen=True)
class Run:
    """A run that has no closing entry: it is still under way, or was killed.

    `began`: time of its first entry, `last`: of its last one. `steps`: titles of those begun and not ended, oldest first.
    """

    verb: str
    pid: int
    began: str
    last: str
    steps: tuple[str, ...]


def open_run(path: Path) -> Run | None:
    """The last run, where it has no closing entry; None where it ended properly."""
    begin: dict[str, Any] = {}
    steps: dict[str, str] = {}
    last = ""
    for entry in last_entries(path):
        last = entry["at"]
        if entry["event"] == "begin":
            begin, steps = entry, {}
        elif entry["event"] == "step":
            steps[entry["step"]] = entry.get("title", entry["step"])
        elif entry["event"] in ("done", "failed"):
            steps.pop(entry["step"], None)
        elif entry["event"] == "end":
            begin = {}
    return Run(begin["verb"], begin.get("pid", 0), begin["at"], last, tuple(steps.values())) if begin else None


def interrupted(path: Path) -> str | None:
    """The verb and step at which the last run broke off without a closing entry; None where it ended properly."""
    run = open_run(path)
    if run is None:
        return None
    return f"inv {run.verb} of {run.began}" + (f", in: {', '.join(run.steps)}" if run.steps else "")


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
