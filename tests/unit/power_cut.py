"""A file system that forgets what was not flushed.

The files are real. `os.fsync` and `os.sync` are recorded instead of carried out: of a file its content at that moment, of a
folder the names in it. What a power cut may leave is built from that record alone. A name that was flushed before the content
of its file leads to an empty file. Changes of one folder reach the disk in their order. Modes, owners and times are those of
the last moment, since no program here flushes them by themselves.
"""

from __future__ import annotations

import errno
import io
import os
import shutil
import stat
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest

CHANGES = ("rename", "replace", "symlink", "link", "unlink", "mkdir", "rmdir")
NOTHING, TOP, NAMES = 0, 1, 99
"""Which names reach the disk without having been flushed: none, those of the uppermost folder, all. Content never does."""


@dataclass(frozen=True)
class Node:
    """A file (`content`), a link (`target`), or a folder (neither)."""

    about: os.stat_result
    content: bytes | None = None
    target: str | None = None


_RECORDS: dict[Path, Disk] = {}

Image = dict[Path, Node]
"""What is on the disk, by its path within the recorded folder."""


def same(one: Image, other: Image) -> bool:
    return {path: (node.content, node.target) for path, node in one.items()} == {
        path: (node.content, node.target) for path, node in other.items()
    }


@dataclass
class Disk:
    """The record of one folder. `images`: what a power cut before or after each change would have left; kept where `looks`."""

    root: Path
    looks: bool = False
    images: list[Image] = field(default_factory=list)
    _content: dict[int, bytes] = field(default_factory=dict)
    _names: dict[int, dict[str, tuple[int, str | None]]] = field(default_factory=dict)
    _open: dict[int, int] = field(default_factory=dict)
    _guard: Any = field(default_factory=threading.RLock)
    """Files are flushed by several threads."""

    def flush(self) -> None:
        """What os.sync does."""
        for folder, _, names in os.walk(self.root):
            self._flush_folder(Path(folder))
            for path in (Path(folder, name) for name in names):
                if path.is_file() and not path.is_symlink():
                    self._content[self._keep(path)] = path.read_bytes()

    def fsync(self, descriptor: int) -> None:
        number = os.fstat(descriptor).st_ino
        path = Path(f"/proc/self/fd/{descriptor}").readlink()
        if not path.is_relative_to(self.root):
            return
        with self._guard:
            self.look()
            if stat.S_ISDIR(os.fstat(descriptor).st_mode):
                self._flush_folder(path)
            else:
                self._content[number] = Path(f"/proc/self/fd/{descriptor}").read_bytes()
                if number not in self._open:
                    # Not `os.dup`, which would keep the lock on the file.
                    self._open[number] = os.open(f"/proc/self/fd/{descriptor}", os.O_RDONLY)
            self.look()

    def look(self) -> None:
        for kept in (NOTHING, TOP, NAMES) if self.looks else ():
            image = self.after_cut(kept)
            if not any(same(image, other) for other in self.images[-6:]):
                self.images.append(image)

    def after_cut(self, kept: int = NOTHING) -> Image:
        """What is on the disk after a power cut at this moment."""
        return dict(self._tree(self.root, Path(), self.root.stat().st_ino, kept))

    def _tree(self, path: Path | None, within: Path, number: int, kept: int) -> Iterator[tuple[Path, Node]]:
        names = self._names.get(number, {})
        if path is not None and len(within.parts) < kept:
            names = {one.name: (one.inode(), _target(one)) for one in os.scandir(path)}
        for name, (child, target) in sorted(names.items()):
            live = path / name if path is not None else None
            live = live if live is not None and os.path.lexists(live) and live.lstat().st_ino == child else None
            about = os.fstat(self._open[child]) if child in self._open else os.lstat(live) if live else None
            if target is not None:
                yield within / name, Node(about or os.stat_result([0] * 10), target=target)
            elif about is not None and stat.S_ISDIR(about.st_mode):
                yield within / name, Node(about)
                yield from self._tree(live, within / name, child, kept)
            elif about is not None:
                yield within / name, Node(about, self._content.get(child, b""))

    def _flush_folder(self, folder: Path) -> None:
        number = self._keep(folder)
        self._names[number] = {one.name: (one.inode(), _target(one)) for one in os.scandir(folder)}
        for one in os.scandir(folder):
            if not one.is_symlink():
                self._keep(Path(one))

    def _keep(self, path: Path) -> int:
        """An open file's number is given to no other one."""
        number = path.stat().st_ino
        if number not in self._open:
            self._open[number] = os.open(path, os.O_RDONLY)
        return number

    def cut(self, image: Image | None = None) -> None:
        """Bring the folder to what a power cut has left of it: now, or at the moment of an image."""
        image = self.after_cut() if image is None else image
        self.looks = False
        for entry in list(self.root.iterdir()):
            shutil.rmtree(entry) if entry.is_dir() and not entry.is_symlink() else entry.unlink()
        write(image, self.root)
        self.flush()

    def close(self) -> None:
        for descriptor in self._open.values():
            os.close(descriptor)


def _target(entry: os.DirEntry[str]) -> str | None:
    return str(Path(entry).readlink()) if entry.is_symlink() else None


def write(image: Image, folder: Path) -> None:
    """Lay an image out below an empty folder."""
    for within, node in image.items():
        path = folder / within
        if node.target is not None:
            path.symlink_to(node.target)
        elif node.content is None:
            path.mkdir()
        else:
            path.write_bytes(node.content)
    for within, node in reversed(image.items()):
        if node.target is None:
            (folder / within).chmod(stat.S_IMODE(node.about.st_mode))
            os.utime(folder / within, ns=(node.about.st_atime_ns, node.about.st_mtime_ns))


@contextmanager
def recorded(root: Path, *, looks: bool = False) -> Iterator[Disk]:
    """Everything that is in the folder now is on the disk; from here on, only what is flushed."""
    disk = Disk(root, looks)
    disk.flush()

    def observed(real: Callable[..., Any]) -> Callable[..., Any]:
        def change(*arguments: Any, **named: Any) -> Any:
            disk.look()
            result = real(*arguments, **named)
            disk.look()
            return result

        return change

    with pytest.MonkeyPatch.context() as patched:
        patched.setattr(os, "fsync", disk.fsync)
        patched.setattr(os, "sync", disk.flush)
        for name in CHANGES if looks else ():
            patched.setattr(os, name, observed(getattr(os, name)))
        _RECORDS[root] = disk
        try:
            yield disk
        finally:
            del _RECORDS[root]
            disk.close()


def cut_power(root: Path) -> None:
    """Where a record is made of this folder: what was not flushed is gone."""
    if root in _RECORDS:
        _RECORDS[root].cut()


@contextmanager
def full(root: Path) -> Iterator[None]:
    """Nothing can be created or written below this folder."""

    def refused(real: Callable[..., Any], is_refused: Callable[..., bool]) -> Callable[..., Any]:
        def change(path: Any, *more: Any, **named: Any) -> Any:
            if isinstance(path, str | Path) and Path(path).resolve().is_relative_to(root) and is_refused(*more, **named):
                raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC), str(path))
            return real(path, *more, **named)

        return change

    with pytest.MonkeyPatch.context() as patched:
        patched.setattr(
            os, "open", refused(os.open, lambda flags, *_, **__: bool(flags & (os.O_CREAT | os.O_WRONLY | os.O_RDWR)))
        )
        patched.setattr(io, "open", refused(io.open, lambda mode="r", *_, **__: mode[0] != "r" or "+" in mode))
        patched.setattr(os, "mkdir", refused(os.mkdir, lambda *_, **__: True))
        yield
