"""A folder that lies on a disk of its own, which can be full."""

from __future__ import annotations

import os
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from ops.core.process import run

COPY_SECONDS = 300.0
BLOCK = 4096


def used(folder: Path) -> int:
    """Bytes that its files take of a disk."""
    return sum(path.stat().st_size // BLOCK * BLOCK + BLOCK for path in folder.rglob("*") if path.is_file())


@dataclass(frozen=True)
class Disk:
    folder: Path

    @property
    def free(self) -> int:
        return shutil.disk_usage(self.folder).free

    @property
    def _filler(self) -> Path:
        return self.folder / "filler"

    def fill(self, left: int = 0) -> None:
        """Leave so many bytes."""
        with self._filler.open("wb") as file:
            os.posix_fallocate(file.fileno(), 0, self.free - left)

    def empty(self) -> None:
        self._filler.unlink(missing_ok=True)


@contextmanager
def disk_of_its_own(folder: Path, spare: int, *, keep: bool = False) -> Iterator[Disk]:
    """Within the block, a folder lies on a file system of its own.

    spare: bytes that it has left. keep: whether what is written meanwhile stays afterwards; whoever has the folder open or
    mounted must have let go by then.
    """
    aside = folder.with_name(f".{folder.name}.aside")
    _copy(folder, aside)
    run(("mount", "-t", "tmpfs", "-o", f"size={used(folder) + spare},nr_inodes=0", "tmpfs", str(folder)), timeout=10)
    disk = Disk(folder)
    try:
        _copy(aside, folder)
        yield disk
    finally:
        disk.empty()
        if keep:
            shutil.rmtree(aside)
            _copy(folder, aside)
        run(("umount", "--lazy", str(folder)), timeout=10)
        if keep:
            for path in folder.iterdir():
                shutil.rmtree(path) if path.is_dir() else path.unlink()
            _copy(aside, folder)
        shutil.rmtree(aside)


def _copy(source: Path, target: Path) -> None:
    """With owners and modes."""
    run(("cp", "-a", "-T", str(source), str(target)), timeout=COPY_SECONDS)
