"""One operation on a project at a time. The kernel drops the lock with the process that holds it, so none is ever stale."""

from __future__ import annotations

import fcntl
import json
import os
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import IO

from ops.errors import LockHeld


@contextmanager
def hold(path: Path, verb: str, *, patiently: bool = False) -> Iterator[None]:
    """Hold the project's lock while the block runs; `patiently` waits for it, for services that have nothing else to do.

    Raises LockHeld, naming the holder, where another operation has it.
    """
    with path.open("a+", encoding="utf-8") as file:
        if patiently:
            fcntl.flock(file, fcntl.LOCK_EX)
        elif not _taken(file):
            raise LockHeld(*_holder(path)) from None
        file.seek(0)
        file.truncate()
        json.dump({"verb": verb, "pid": os.getpid(), "since": time.strftime("%Y-%m-%dT%H:%M:%S%z")}, file)
        file.flush()
        yield


def _taken(file: IO[str]) -> bool:
    """Take the lock, trying for a moment: `busy` holds it for the blink of its question."""
    until = time.monotonic() + 0.2
    while True:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
            return True
        except BlockingIOError:
            if time.monotonic() > until:
                return False
            time.sleep(0.02)


def _holder(path: Path) -> tuple[str, str, str]:
    try:
        who = json.loads(path.read_text())
    except ValueError:
        who = {}
    holder = f"inv {who.get('verb', 'something')} (process {who.get('pid', '?')}) since {who.get('since', '?')}"
    return (
        "another operation is under way on this project",
        f"the lock is held by {holder}",
        "wait until it has ended; the lock ends with its process, there is nothing to remove",
    )


def busy(path: Path) -> bool:
    """Whether an operation holds the lock right now."""
    if not path.exists():
        return False
    with path.open("a+", encoding="utf-8") as file:
        try:
            fcntl.flock(file, fcntl.LOCK_SH | fcntl.LOCK_NB)
        except BlockingIOError:
            return True
    return False
