"""The log files of the containers, as Podman writes them: what is left to read while the log store does not answer."""

from __future__ import annotations

import re
import time
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any

from ops.logs.query import LINE, Asked, fits, row_of

PAUSE = 0.5
"""Seconds between two looks at the files for new lines."""
NAME = re.compile(r"(.+?)(?:-(\d+))?")


def rows(folder: Path, asked: Asked) -> list[Mapping[str, Any]]:
    """Rows of every service that was asked for, in the order of time.

    Parameters
    ----------
    folder: State.logs; one file per container, in Podman's k8s-file format.
    """
    found = [row for path in sorted(folder.glob("*.log")) for row in _of(path, asked, path.read_bytes())]
    return sorted(found, key=lambda row: str(row["_time"]))


def follow(folder: Path, asked: Asked, pause: Callable[[float], None] = time.sleep) -> Iterator[Mapping[str, Any]]:
    """Rows as they are written from now on. A file that was replaced or cut is read from its beginning."""
    read = {path: path.stat().st_size for path in folder.glob("*.log")}
    while True:
        for path in sorted(folder.glob("*.log")):
            size, begun = path.stat().st_size, read.get(path, 0)
            if size == begun:
                continue
            with path.open("rb") as file:
                file.seek(begun if size > begun else 0)
                data = file.read()
            whole = data[: data.rfind(b"\n") + 1]
            read[path] = (begun if size > begun else 0) + len(whole)
            yield from _of(path, asked, whole)
        pause(PAUSE)


def _of(path: Path, asked: Asked, data: bytes) -> Iterator[Mapping[str, Any]]:
    match = NAME.fullmatch(path.stem)
    service, replica = (match[1], match[2] or "") if match else (path.stem, "")
    if asked.services and service not in asked.services:
        return
    parts: dict[str, str] = {}
    for line in data.decode(errors="replace").split("\n"):
        if not (found := LINE.fullmatch(line)):
            continue
        moment, stream, whole, text = found.groups()
        parts[stream] = parts.get(stream, "") + (text or "")
        if whole == "F":
            row = row_of(service, replica, moment, parts.pop(stream))
            if fits(asked, row):
                yield row
