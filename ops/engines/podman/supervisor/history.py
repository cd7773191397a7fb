"""What the commands have done to a project, as metrics: the release, how the last deploys ended, who holds the lock."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from contextlib import suppress
from dataclasses import dataclass, field
from datetime import datetime
from functools import lru_cache
from pathlib import Path

from ops.core import lock

Ended = tuple[str, str]
"""Verb and outcome of an activation (ops/stack/release.py, Activation)."""


@dataclass(frozen=True)
class History:
    """What is known at one moment. Times are seconds of the epoch."""

    release: int | None = None
    """Number of the current release; None before the first one."""
    ended: Mapping[Ended, float] = field(default_factory=dict)
    """When an activation of that verb last had that outcome."""
    lock_since: float | None = None
    """Since when somebody holds the project's lock; None while nobody does."""


def read(state: Path) -> History:
    """What the files of a project say. `state`: its folder. Raises OSError where they cannot be read."""
    return History(_release(state / "releases" / "current"), _ended(state / "activations.jsonl"), _lock_since(state / "lock"))


def _release(link: Path) -> int | None:
    if not link.is_symlink():
        return None
    name = link.readlink().name
    return int(name) if name.isdigit() else None


def _ended(path: Path) -> Mapping[Ended, float]:
    """Finished parts (records.py) count as well: a rollback may have been long ago."""
    found: dict[Ended, float] = {}
    for part in (*path.parent.glob(f"{path.stem}.*{path.suffix}"), path):
        with suppress(FileNotFoundError):
            now = part.stat()
            for ended, at in _read_ended(part, now.st_ino, now.st_mtime_ns, now.st_size).items():
                found[ended] = max(found.get(ended, 0.0), at)
    return found


@lru_cache(maxsize=16)
def _read_ended(path: Path, number: int, changed: int, size: int) -> Mapping[Ended, float]:
    """A file is read again only when it is another one (`number`, `changed`, `size`)."""
    return latest(path.read_text(encoding="utf-8").splitlines())


def latest(lines: Iterable[str]) -> dict[Ended, float]:
    """Verb and outcome -> when that last happened. A line that cannot be read is left out."""
    found: dict[Ended, float] = {}
    for line in lines:
        try:
            entry = json.loads(line)
            ended = (str(entry["verb"]), str(entry["outcome"]))
            found[ended] = max(found.get(ended, 0.0), datetime.fromisoformat(str(entry["at"])).timestamp())
        except (ValueError, KeyError, TypeError):
            continue
    return found


def _lock_since(path: Path) -> float | None:
    who = lock.holder(path)
    if who is None:
        return None
    try:
        return datetime.fromisoformat(who.since).timestamp()
    except ValueError:
        # A holder of whom nothing is known, such as a program that a killed command has left: the note is as old as the hold.
        return path.stat().st_mtime


def exposition(history: History, now: float) -> str:
    """In Prometheus' text format. `now`: seconds of the epoch."""
    lines = [
        "# HELP cc03_operation_running_seconds How long a command has held the project's lock; 0 while none does.",
        "# TYPE cc03_operation_running_seconds gauge",
        f"cc03_operation_running_seconds {_age(history.lock_since, now):.0f}",
    ]
    if history.release is not None:
        lines += [
            "# HELP cc03_release Number of the current release.",
            "# TYPE cc03_release gauge",
            f"cc03_release {history.release}",
        ]
    if history.ended:
        lines += [
            "# HELP cc03_activation_last_timestamp_seconds When a deploy, rollback or scaling last ended in that way.",
            "# TYPE cc03_activation_last_timestamp_seconds gauge",
        ]
    for (verb, outcome), at in sorted(history.ended.items()):
        lines.append(f'cc03_activation_last_timestamp_seconds{{verb="{verb}",outcome="{outcome}"}} {at:.0f}')
    return "\n".join(lines) + "\n"


def _age(since: float | None, now: float) -> float:
    """At least a second while the lock is held, so that 0 always means that nobody holds it."""
    return 0.0 if since is None else max(1.0, now - since)
