"""The log files that Podman writes (k8s-file), one for each container, and those of `ops.core.files.log_line` beside them."""

from __future__ import annotations

import re
import time
from collections.abc import Callable, Iterator
from contextlib import suppress
from pathlib import Path

from ops.engines.engine import Line

PAUSE = 0.5
"""Seconds between two looks at the files for new lines."""
LINE = re.compile(r"(\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\S*) (stdout|stderr) ([FP])(?: (.*))?")
"""Time, stream, whole or part, text: the format of CRI. What is longer than conmon's buffer comes in parts."""


def lines(name: str, text: str) -> Iterator[Line]:
    """What a log file's text says; its first line may be cut. The parts of a line that has no end yet are one."""
    parts: dict[str, Line] = {}
    for written in text.split("\n"):
        if not (found := LINE.fullmatch(written)):
            continue
        at, stream, whole, said = found.groups()
        line = Line(name, at, (parts.pop(stream).text if stream in parts else "") + (said or ""))
        if whole == "F":
            yield line
        else:
            parts[stream] = line
    yield from parts.values()


def read(folder: Path, wanted: Callable[[str], bool], most: int | None = None) -> Iterator[Line]:
    """Lines of these logs, one log after the other. folder: State.logs. most: bytes of the end of each."""
    for path in sorted(folder.glob("*.log")):
        if wanted(path.stem):
            with suppress(FileNotFoundError), path.open("rb") as file:
                file.seek(max(0, path.stat().st_size - most) if most is not None else 0)
                yield from lines(path.stem, file.read().decode(errors="replace"))


def follow(folder: Path, wanted: Callable[[str], bool], pause: Callable[[float], None] = time.sleep) -> Iterator[Line]:
    """Lines as they are written from now on. A file that was replaced or cut is read from its beginning."""
    done = {path: path.stat().st_size for path in folder.glob("*.log")}
    while True:
        for path in sorted(path for path in folder.glob("*.log") if wanted(path.stem)):
            size, begun = path.stat().st_size, done.get(path, 0)
            if size == begun:
                continue
            with path.open("rb") as file:
                file.seek(begun if size > begun else 0)
                data = file.read()
            whole = data[: data.rfind(b"\n") + 1]
            done[path] = (begun if size > begun else 0) + len(whole)
            yield from lines(path.stem, whole.decode(errors="replace"))
        pause(PAUSE)
