"""Files of a container, by way of /proc/PID/root, where the container decides what is there: no link is followed.

An absolute link would lead into the host's own files, on which this program acts as root.
"""

from __future__ import annotations

import errno
import os
import stat
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path, PurePosixPath


@contextmanager
def within(root: Path, path: str) -> Iterator[Path]:
    """A path, good for the block, of what `path` names below `root`.

    Raises OSError where there is nothing, or a link in any place.
    """
    descriptor = os.open(root, os.O_PATH | os.O_DIRECTORY)
    try:
        for part in PurePosixPath(path.lstrip("/")).parts:
            above, descriptor = descriptor, os.open(part, os.O_PATH | os.O_NOFOLLOW, dir_fd=descriptor)
            os.close(above)
            if part == ".." or stat.S_ISLNK(os.fstat(descriptor).st_mode):
                raise OSError(errno.ELOOP, os.strerror(errno.ELOOP), f"{root}/{path.lstrip('/')}")
        yield Path(f"/proc/self/fd/{descriptor}")
    finally:
        os.close(descriptor)


def text_within(root: Path, path: str) -> str:
    """The text of a regular file. Raises OSError as `within`."""
    with within(root, path) as found:
        if not stat.S_ISREG(found.stat().st_mode):
            raise OSError(errno.EINVAL, "it is no regular file", path)
        return found.read_text(encoding="utf-8", errors="replace")
