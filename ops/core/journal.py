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

from ops.core import machine
from ops.core.lock import SUPERVISOR, Holder, hold, holder
from ops.core.records import TAIL, append_line, newest
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
        at = machine.now()
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
    """A run that is under way, or was killed.

    `began`: time of its first entry, `last`: of its last one. `steps`: titles of those begun and not ended, oldest first.
    """

    verb: str
    pid: int
    began: str
    last: str
    steps: tuple[str, ...] = ()

    def described(self, now: float) -> str:
        """One line for a screen. `now`: seconds of the epoch."""
        age = f" for {max(0, now - datetime.fromisoformat(self.began).timestamp()):.0f} s" if self.began else ""
        who = f"the {SUPERVISOR} repairs a container" if self.verb == SUPERVISOR else f"inv {self.verb} under way"
        return f"{who}{age}" + (f": {self.doing}" if self.steps else "")

    @property
    def doing(self) -> str:
        """The step longest under way, and how many more; empty where there is none."""
        more = f" (and {len(self.steps) - 1} more)" if self.steps[1:] else ""
        return f"{self.steps[0]}{more}" if self.steps else ""

    @property
    def within(self) -> str:
        return f", in: {', '.join(self.steps)}" if self.steps else ""


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
    return f"inv {run.verb} of {run.began}{run.within}" if run else None


@contextmanager
def operation(state: State, verb: str) -> Iterator[str]:
    """Hold the project's lock while the block runs.

    Yields what is to be told of an operation before this one that was killed; empty where the last one ended by itself.
    Raises LockHeld, which says who holds the lock, since when, and which step it is at.
    """
    with hold(state.lock, verb, doing=lambda: run.doing if (run := under_way(state)) else "") as killed:
        yield _left_by(killed, state)


def under_way(state: State) -> Run | None:
    """The operation that holds the lock right now; None where nobody does."""
    who = holder(state.lock)
    if who is None:
        return None
    run = _of(who, open_run(state.journal))
    return Run(who.verb, who.pid, who.since, run.last if run else "", run.steps if run else ())


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
    return f"recovered from {killed.named()}, which was killed at {run.last} or soon after{run.within}"
