"""A lock that processes of several projects wait for: what they share is made once. The kernel drops it with its holder."""

from __future__ import annotations

import fcntl
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import IO

from ops.core.errors import OpsError
from ops.core.wait import until


@contextmanager
def alone(path: Path, seconds: float) -> Iterator[bool]:
    """Wait for a lock file that processes of several projects share, and hold it while the block runs.

    Parameters
    ----------
    path: made where it is missing. seconds: to wait at most.

    Yields whether the lock was free at once. Raises OpsError where it is not free in time.
    """
    path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
    with path.open("a", encoding="utf-8") as file:
        free = _free(file)
        if not free and until(lambda: "" if _free(file) else "another process holds it", seconds):
            raise OpsError(f"{path} is held by another process", f"it was waited for {seconds:.0f} s", "run the command again")
        yield free


def _free(file: IO[str]) -> bool:
    try:
        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    return True
