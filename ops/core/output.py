"""Files that a command writes for its operator: an existing one is replaced only where asked, and only as a whole."""

from __future__ import annotations

import secrets
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from ops.core.errors import UsageProblem
from ops.core.files import to_disk


def destination(file: str, *, overwrite: bool, option: str = "--overwrite") -> Path:
    """Where a command shall write.

    Parameters
    ----------
    overwrite: whether an existing file is to be replaced. option: what says so on the command line; empty: nothing does.

    Raises UsageProblem, before anything is done, where that file exists or cannot be one.
    """
    path = Path(file).absolute()
    if path.is_dir() or not path.parent.is_dir():
        raise UsageProblem(f"cannot write {path}", "it is a folder, or its folder does not exist", "name another file")
    if path.exists() and not overwrite:
        alternative = f", or give {option} to replace it" if option else ""
        raise UsageProblem(f"{path} exists", "nothing was written over it", f"give the name of a new file{alternative}")
    return path


@contextmanager
def whole(path: Path) -> Iterator[Path]:
    """A name beside the file for the block to write to; it takes the file's place when the block has succeeded, and is removed
    where it has not."""
    fresh = path.with_name(f".{path.name}.{secrets.token_hex(4)}")
    try:
        yield fresh
        fresh.replace(path)
        to_disk(path.parent)
    finally:
        fresh.unlink(missing_ok=True)
