"""One operation on a project at a time. The kernel drops the lock with the process that holds it, so none is ever stale.

What is written in the file only says who that is, and, after a kill, who it was. Standard library only: the health supervisor
runs a copy of this file.
"""

from __future__ import annotations

import fcntl
import json
import os
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import IO, Any

from ops.core import machine
from ops.core.errors import LockHeld, OpsError
from ops.core.process import process_started, until

SUPERVISOR = "health supervisor"
"""Holds the lock while it repairs one container; commands wait for that."""
REPAIR_SECONDS = 180.0
"""More than any restart takes: the longest grace period, and a minute."""


@dataclass(frozen=True)
class Holder:
    """The operation that holds a lock, or held it when it was killed.

    `since`: local time, ISO 8601. `started`: clock ticks from the boot of that id (`boot`) until its process began. Process
    numbers are given out again; the three together name one process for ever.
    """

    verb: str = "something"
    pid: int = 0
    since: str = ""
    started: int = 0
    boot: str = ""

    def lives(self) -> bool:
        """Whether that very process still runs. A record of an older version has its number only, and that has to do."""
        if self.boot and self.boot != boot_id():
            return False
        started = process_started(self.pid)
        return started is not None and self.started in (0, started)

    def named(self) -> str:
        who = f"the {SUPERVISOR}" if self.verb == SUPERVISOR else f"inv {self.verb}"
        return f"{who} (process {self.pid or '?'})"


def boot_id() -> str:
    """The kernel's name for the time since it was last started (proc(5), /proc/sys/kernel/random)."""
    return Path("/proc/sys/kernel/random/boot_id").read_text().strip()


@contextmanager
def hold(
    path: Path, verb: str, *, patiently: bool = False, doing: Callable[[], str] = lambda: ""
) -> Iterator[Holder | None]:  # fmt: skip
    """Hold the project's lock while the block runs.

    patiently: wait for it, for services that have nothing else to do.
    doing: asked, where another operation has the lock, what that one is at.

    Yields the operation that was killed while it had the lock; None where the last one ended by itself.
    Raises LockHeld, naming the holder, where another operation has it.
    """
    with path.open("a+", encoding="utf-8") as file:
        if patiently:
            fcntl.flock(file, fcntl.LOCK_EX)
        elif not _taken(file, verb):
            raise LockHeld(*_refusal(holder(path) or Holder(), doing())) from None
        file.seek(0)
        left = _parsed(file.read())
        _note(file, json.dumps(asdict(_this_process(verb))))
        try:
            # A record without a boot id is of an older version, which left it there when it ended by itself, too.
            yield left if left.boot and not left.lives() else None
        finally:
            _note(file, "")


def _this_process(verb: str) -> Holder:
    pid = os.getpid()
    return Holder(verb, pid, machine.now(), process_started(pid) or 0, boot_id())


def _note(file: IO[str], text: str) -> None:
    file.seek(0)
    file.truncate()
    file.write(text)
    file.flush()


def _parsed(text: str) -> Holder:
    """What the file says of a holder; one of whom nothing is known where it says nothing that can be read."""
    try:
        said = json.loads(text)
        process = int(said.get("started", 0)), str(said.get("boot", ""))
        return Holder(str(said["verb"]), int(said["pid"]), str(said["since"]), *process)
    except (ValueError, KeyError, TypeError, AttributeError):
        return Holder()


def _taken(file: IO[str], verb: str) -> bool:
    """Take the lock, trying for a moment: `busy` holds it for the blink of its question. A command waits for a repair of the
    health supervisor, which waits for nobody."""
    began = time.monotonic()
    while not free(file):
        file.seek(0)
        repairing = verb != SUPERVISOR and _parsed(file.read()).verb == SUPERVISOR
        if time.monotonic() - began > (REPAIR_SECONDS if repairing else 0.2):
            return False
        time.sleep(0.02)
    return True


def _refusal(who: Holder, doing: str) -> tuple[str, str, str]:
    return (
        "another operation is under way on this project",
        f"the lock is held by {who.named()} since {who.since or '?'}" + (f", which is at: {doing}" if doing else ""),
        "wait until it has ended; the lock is released with its process, there is no file to remove",
    )


def busy(path: Path) -> bool:
    """Whether an operation holds the lock right now."""
    if not path.exists():
        return False
    with path.open("a+", encoding="utf-8") as file:
        return not free(file, fcntl.LOCK_SH)


def holder(path: Path) -> Holder | None:
    """Who holds the lock right now; None where nobody does. The kernel says whether, the file only who.

    A holder that has not yet written its name, or whose note cannot be read, is one of whom nothing is known.
    """
    if not busy(path):
        return None
    who = _parsed(path.read_text(encoding="utf-8"))
    return who if who.lives() else Holder()


@contextmanager
def alone(path: Path, seconds: float) -> Iterator[bool]:
    """Wait for a lock file that processes of several projects share, and hold it while the block runs.

    path: made where it is missing. seconds: to wait at most.

    Yields whether the lock was free at once. Raises OpsError where it is not free in time.
    """
    path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
    with path.open("a", encoding="utf-8") as file:
        at_once = free(file)
        if not at_once and until(lambda: "" if free(file) else "another process holds it", seconds):
            raise OpsError(f"{path} is held by another process", f"it was waited for {seconds:.0f} s", "run the command again")
        yield at_once


def free(file: IO[Any], kind: int = fcntl.LOCK_EX) -> bool:
    """Whether nobody held the lock of an open file; this process holds it now."""
    try:
        fcntl.flock(file, kind | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    return True
