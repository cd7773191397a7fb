"""What was begun and what was finished, one JSON object a line, flushed before the effect: the trace of a killed command."""

from __future__ import annotations

import json
import os
import threading
import time
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from ops.core import parts
from ops.core.state import append_line

KEPT = 2
"""Finished parts of a journal (parts.py). It is read to find what was broken off, at its end; the rest is for people."""


@dataclass
class Journal:
    """Appends to `path`; safe for the executor's threads."""

    path: Path
    run_id: str
    _guard: threading.Lock = field(default_factory=threading.Lock)

    @classmethod
    def of_this_process(cls, path: Path) -> Journal:
        """A journal whose entries can be told from those of every other command."""
        return cls(path, f"{time.strftime('%Y%m%dT%H%M%S')}-{os.getpid()}")

    def write(self, event: str, **more: Any) -> None:
        if not self.path.parent.is_dir():
            return  # the project's folder itself was removed
        at = time.strftime("%Y-%m-%dT%H:%M:%S%z")
        entry = {"at": at, "run": self.run_id, "pid": os.getpid(), "event": event, **more}
        with self._guard:
            append_line(self.path, entry, kept=KEPT)


def entries(path: Path) -> Iterator[dict[str, Any]]:
    """Every whole entry, of finished parts too; a line that a crash cut short is left out."""
    with parts.opened(path) as files:
        for file in files:
            yield from parsed(file.read())


def parsed(data: bytes) -> Iterator[dict[str, Any]]:
    """The entries of a file of JSON lines; what is none is left out."""
    for line in data.splitlines():
        try:
            yield json.loads(line)
        except ValueError:
            continue


TAIL = 64 << 10
"""Bytes that are read of the end of a journal at first."""


def last_entries(path: Path) -> list[dict[str, Any]]:
    """The entries from the beginning of the last run on. A journal grows for as long as the stack lives, and is not read whole
    for that."""
    length = TAIL
    while True:
        found, whole = newest(path, length)
        begins = [number for number, entry in enumerate(found) if entry["event"] == "begin"]
        if begins or whole:
            return found[begins[-1] :] if begins else found
        length *= 4


def newest(path: Path, length: int) -> tuple[list[dict[str, Any]], bool]:
    """Whole entries in the last `length` bytes of a file of JSON lines, its finished parts included, oldest first, and whether
    that is all of it."""
    with parts.opened(path) as files:
        data, whole = parts.tail(files, length)
    return list(parsed(data if whole else data.partition(b"\n")[2])), whole


@dataclass(frozen=True)
class Run:
    """A run that has no closing entry: it is still under way, or was killed.

    `began`: time of its first entry, `last`: of its last one. `steps`: titles of those begun and not ended, oldest first.
    """

    verb: str
    pid: int
    began: str
    last: str
    steps: tuple[str, ...]


def open_run(path: Path) -> Run | None:
    """The last run, where it has no closing entry; None where it ended properly."""
    begin: dict[str, Any] = {}
    steps: dict[str, str] = {}
    last = ""
    for entry in last_entries(path):
        last = entry["at"]
        if entry["event"] == "begin":
            begin, steps = entry, {}
        elif entry["event"] == "step":
            steps[entry["step"]] = entry.get("title", entry["step"])
        elif entry["event"] in ("done", "failed"):
            steps.pop(entry["step"], None)
        elif entry["event"] == "end":
            begin = {}
    return Run(begin["verb"], begin.get("pid", 0), begin["at"], last, tuple(steps.values())) if begin else None


def interrupted(path: Path) -> str | None:
    """The verb and step at which the last run broke off without a closing entry; None where it ended properly."""
    run = open_run(path)
    if run is None:
        return None
    return f"inv {run.verb} of {run.began}" + (f", in: {', '.join(run.steps)}" if run.steps else "")
