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


@dataclass
class Journal:
    """Appends to `path`; safe for the executor's threads."""

    path: Path
    run_id: str
    _guard: threading.Lock = field(default_factory=threading.Lock)

    def write(self, event: str, **more: Any) -> None:
        if not self.path.parent.is_dir():
            return  # the project's folder itself was removed
        entry = {"at": time.strftime("%Y-%m-%dT%H:%M:%S%z"), "run": self.run_id, "event": event, **more}
        with self._guard, self.path.open("a", encoding="utf-8") as file:
            # A run that was cut off in the middle of a line must not swallow the next entry.
            file.write(("" if self._ends_whole() else "\n") + json.dumps(entry, sort_keys=True) + "\n")
            file.flush()
            os.fsync(file.fileno())

    def _ends_whole(self) -> bool:
        with self.path.open("rb") as file:
            size = file.seek(0, os.SEEK_END)
            if size == 0:
                return True
            file.seek(-1, os.SEEK_END)
            return file.read() == b"\n"


def entries(path: Path) -> Iterator[dict[str, Any]]:
    """Every whole entry; a line that a crash cut short is left out."""
    if not path.exists():
        return
    for line in path.read_text(encoding="utf-8").splitlines():
        try:
            yield json.loads(line)
        except ValueError:
            continue


def interrupted(path: Path) -> str | None:
    """The verb and step at which the last run broke off without a closing entry; None where it ended properly."""
    last: dict[str, Any] = {}
    steps: list[str] = []
    for entry in entries(path):
        if entry["event"] == "begin":
            last, steps = entry, []
        elif entry["event"] == "step":
            steps.append(entry["step"])
        elif entry["event"] == "done":
            steps = [step for step in steps if step != entry["step"]]
        elif entry["event"] == "end":
            last = {}
    if not last:
        return None
    return f"inv {last['verb']} of {last['at']}" + (f", in: {', '.join(steps)}" if steps else "")
