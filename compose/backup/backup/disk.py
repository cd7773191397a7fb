"""Files that are on the disk, whole, when somebody relies on them."""

import contextlib
import os
from pathlib import Path


def write(path: Path, text: str) -> None:
    """Replace a file by a new one of this content, or leave it as it is. Content and name are on the disk when this returns."""
    new = path.with_suffix(".new")
    try:
        with new.open("w") as stream:
            stream.write(text)
            stream.flush()
            os.fsync(stream.fileno())
        new.rename(path)
    except OSError:
        with contextlib.suppress(OSError):
            new.unlink()
        raise
    _names(path.parent)


def _names(folder: Path) -> None:
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
