"""Files of JSON lines that only grow, in parts: audit.jsonl is written to, after audit.1.jsonl, audit.2.jsonl and so on.

A large file is renamed to the next number, and nothing is written to it any more.
"""

from __future__ import annotations

import json
import os
import re
import time
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager, suppress
from pathlib import Path
from typing import IO, Any

from ops.core.errors import OpsError
from ops.core.files import to_disk
from ops.core.lock import free

LARGE = 4 << 20
"""Bytes at which a part is finished: the journal of some 60 first deploys, 3,000 changes of a host, 8,000 activations. It is
read in a fraction of a second, and the archive for the backup, which is made in memory, holds several."""
TAIL = 64 << 10
"""Bytes that are read of the end of a record at first."""
LOCK_SECONDS = 10.0
"""Others hold the lock for one line."""


def finished(path: Path) -> list[Path]:
    """Finished parts of a record, oldest first. `path`: what is written to."""
    found = path.parent.glob(f"{path.stem}.*{path.suffix}")
    return sorted((one for one in found if _number(one)), key=_number)


def _number(part: Path) -> int:
    """Of a finished part; 0 where the file is none."""
    match = re.fullmatch(r"[^.]+\.([1-9]\d*)\.jsonl", part.name)
    return int(match[1]) if match else 0


def append_line(
    path: Path, entry: Mapping[str, Any], *, kept: int | None = None,
    needed: Callable[[Sequence[Path]], Collection[Path]] = lambda finished: (),
) -> None:  # fmt: skip
    """Append one JSON object as a line, on disk when this returns. A line that a crash cut short does not swallow it.

    kept: how many finished parts are kept; None: the file is not continued in another one.
    needed: those of the finished parts, oldest first, that are kept besides.
    """
    with continued(path, finishes=kept is not None) as file:
        new = file.seek(0, os.SEEK_END) == 0
        file.write((b"" if new or _ends_whole(file) else b"\n") + json.dumps(entry, sort_keys=True).encode() + b"\n")
        file.flush()
        os.fsync(file.fileno())
        if new:
            to_disk(path.parent)
            parts = finished(path)
            old = parts[:-kept] if kept else []
            remove(set(old).difference(needed(parts)) if old else ())


def entries(path: Path) -> Iterator[dict[str, Any]]:
    """Every whole entry, of finished parts too; a line that a crash cut short is left out."""
    with opened(path) as files:
        for file in files:
            yield from parsed(file.read())


def parsed(data: bytes) -> Iterator[dict[str, Any]]:
    """The entries of these lines; what is none is left out."""
    for line in data.splitlines():
        try:
            yield json.loads(line)
        except ValueError:
            continue


def newest(path: Path, length: int) -> tuple[list[dict[str, Any]], bool]:
    """Whole entries in the last `length` bytes of a record, oldest first, and whether that is all of it."""
    with opened(path) as files:
        data, whole = tail(files, length)
    return list(parsed(data if whole else data.partition(b"\n")[2])), whole


@contextmanager
def opened(path: Path) -> Iterator[list[IO[bytes]]]:
    """All parts, oldest first and the present one last, as they are at one moment."""
    with ExitStack() as stack:
        files: dict[int, IO[bytes]] = {}

        def take(one: Path) -> None:
            with suppress(FileNotFoundError):
                file = stack.enter_context(one.open("rb"))
                files.setdefault(os.fstat(file.fileno()).st_ino, file)

        # The present one first: where it is finished in between, it is among the others as well, and not left out.
        take(path)
        for one in reversed(finished(path)):
            take(one)
        yield list(reversed(files.values()))


def tail(files: Sequence[IO[bytes]], length: int) -> tuple[bytes, bool]:
    """The last bytes of these files as if they were one, and whether that is all of them. Its first line may lack its
    beginning where it is not."""
    data = b""
    for number, file in enumerate(reversed(files), 1):
        size, wanted = file.seek(0, os.SEEK_END), length - len(data)
        file.seek(max(0, size - wanted))
        data = file.read() + data
        if size >= wanted:
            return data, size == wanted and number == len(files)
    return data, True


@contextmanager
def continued(path: Path, *, mode: int = 0o644, finishes: bool = True) -> Iterator[IO[bytes]]:
    """The file to write to, with nobody else writing: it carries its own lock. Raises OpsError where that does not come free.

    finishes: whether a large one is made a finished part before, and a new one begun.
    """
    while True:
        with os.fdopen(os.open(path, os.O_RDWR | os.O_APPEND | os.O_CREAT, mode), "r+b") as file:
            _lock(file, path)
            if not _leads_to(path, file):
                continue  # another program has finished it meanwhile
            if finishes and _is_large(file) and _finish(path):
                continue
            yield file
            return


def _lock(file: IO[bytes], path: Path) -> None:
    until = time.monotonic() + LOCK_SECONDS
    while not free(file):
        if time.monotonic() > until:
            raise OpsError(f"{path} stays locked", f"another program has held it for {LOCK_SECONDS:.0f} s", f"fuser {path}")
        time.sleep(0.02)


def _leads_to(path: Path, file: IO[bytes]) -> bool:
    with suppress(FileNotFoundError):
        return os.path.samestat(path.stat(), os.fstat(file.fileno()))
    return False


def _is_large(file: IO[bytes]) -> bool:
    """Not where a crash has cut its last line short: the next line, which says so, belongs into the same file."""
    return file.seek(0, os.SEEK_END) >= LARGE and _ends_whole(file)


def _ends_whole(file: IO[bytes]) -> bool:
    """Whether a file that is not empty ends with the end of a line."""
    file.seek(-1, os.SEEK_END)
    return file.read() == b"\n"


def _finish(path: Path) -> bool:
    """Whether it has another name now; the file system may refuse that of a file that is append-only.

    All of it is on the disk: whoever wrote a line has flushed it. Its new name is as soon as that of the next file is, which
    whoever writes the first line flushes.
    """
    number = max(map(_number, finished(path)), default=0) + 1
    with suppress(PermissionError):
        path.rename(path.with_name(f"{path.stem}.{number}{path.suffix}"))
        return True
    return False


def remove(old: Iterable[Path]) -> None:
    """Remove finished parts. One that the file system does not part with stays."""
    for part in old:
        with suppress(FileNotFoundError, PermissionError):
            part.unlink()
