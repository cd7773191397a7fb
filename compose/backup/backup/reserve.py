"""Room that is given up so that room can be made: on a disk that is full to the last byte nothing can be removed either.

restic writes a lock before it removes anything and new indexes before it drops old ones, pgBackRest writes its lists anew. So
each repository that is a folder holds a file of nothing, which makes way for as long as `expire` runs.
"""

import contextlib
import os
import shutil
from collections.abc import Iterator
from pathlib import Path

from .log import log

NAME = "reserve"
BYTES = 64 << 20
"""Four segments of WAL, should the archive be quicker than what makes room; a lock and the lists need a hundredth of it."""


def stock(folder: Path, beside: int = BYTES) -> None:
    """Makes the file where there is none and `beside` bytes stay free. On a disk that is filling up the archive goes first."""
    file = folder / NAME
    whole = file.exists() and file.stat().st_size == BYTES  # less: somebody was killed here
    if whole or not folder.is_dir() or free(folder) < BYTES + beside:
        return
    try:
        with file.open("wb") as stream:
            os.posix_fallocate(stream.fileno(), 0, BYTES)
    except OSError as problem:
        file.unlink(missing_ok=True)
        log("WARNING", "no reserve could be made", folder=str(folder), error=str(problem))


@contextlib.contextmanager
def lent(folder: Path | None) -> Iterator[None]:
    """Within the block the reserve's bytes are free where few others are. A kill leaves none, until the next set is made."""
    if folder is None or not folder.is_dir() or free(folder) >= BYTES:
        yield
        return
    log("INFO", "the disk is full: the reserve is given up meanwhile", folder=str(folder))
    (folder / NAME).unlink(missing_ok=True)
    try:
        yield
    finally:
        # Nothing could be removed: without it the next attempt could not even begin.
        stock(folder, beside=0)


def free(folder: Path) -> int:
    """Bytes."""
    return shutil.disk_usage(folder).free
