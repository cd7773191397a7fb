"""What the health supervisor has found, for Prometheus and cAdvisor: the health of containers, how often each has crashed, and
what commands have done.

A crash is the end of a main process that nobody ordered. Two kinds are counted. Podman restarts by its policy show as
`RestartCount`, which begins at 0 with a new container, and again with `podman start` and `podman restart` (seen with 4.3.1).
After an end that Podman does not answer with a restart, the health supervisor starts the container. What a command stops,
restarts or replaces counts as none. The counts are kept in a file, so that Prometheus sees one counter across renewals of the
supervisor.
"""

from __future__ import annotations

import json
import re
import time
from collections.abc import Collection, Iterable, Mapping
from contextlib import suppress
from dataclasses import asdict, dataclass, field, replace
from datetime import datetime
from functools import lru_cache
from pathlib import Path
from typing import Any

from ops.core import files, lock
from ops.engines.podman.supervisor.health import Target, state_of
from ops.engines.podman.supervisor.judge import Watch

NEVER = "0001-"
"""Podman's time for what has not happened begins like this."""


@dataclass(frozen=True)
class Count:
    """`container`: id of the one last seen in the slot. `restarts`: its RestartCount at that time. `total`: crashes so far.
    `ended`: when the run began whose end was counted last, as Podman writes it."""

    container: str
    restarts: int
    total: int
    ended: str = ""


class Crashes:
    """The counts of one project, by slot."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.counts = _read_counts(path)

    def total(self, slot: str) -> int:
        return self.counts[slot].total if slot in self.counts else 0

    def observe(self, slot: str, item: Mapping[str, Any]) -> None:
        """Count the restarts since this slot was last seen. `item`: what `podman container inspect` says of its container."""
        restarts, last = int(item.get("RestartCount") or 0), self.counts.get(slot)
        fresh = restarts
        if last and last.container == item["Id"] and restarts >= last.restarts:
            fresh -= last.restarts
        self.counts[slot] = Count(str(item["Id"]), restarts, self.total(slot) + fresh, last.ended if last else "")

    def ended(self, slot: str, item: Mapping[str, Any]) -> None:
        """Count the end of a run that was observed, which Podman left as it was. Podman 4 does not say whether that was by
        `podman stop`: it counts there."""
        state, last = item["State"], self.counts[slot]
        began = str(state["StartedAt"])
        if not state.get("StoppedByUser") and not began.startswith(NEVER) and began != last.ended:
            self.counts[slot] = replace(last, total=last.total + 1, ended=began)

    def keep(self, slots: Collection[str]) -> None:
        self.counts = {slot: count for slot, count in self.counts.items() if slot in slots}

    def write(self) -> None:
        """Raises OSError where it cannot be written."""
        counts = {slot: asdict(count) for slot, count in self.counts.items()}
        files.write(self.path, json.dumps(counts), durable=False)


def _read_counts(path: Path) -> dict[str, Count]:
    """Empty where there is no such file, or none that can be read: the counts begin anew, which Prometheus understands."""
    try:
        said = json.loads(path.read_text(encoding="utf-8"))
        return {str(slot): _count(one) for slot, one in said.items()}
    except (OSError, ValueError, KeyError, TypeError, AttributeError):
        return {}


def _count(said: Mapping[str, Any]) -> Count:
    return Count(str(said["container"]), int(said["restarts"]), int(said["total"]), str(said["ended"]))


CONTAINERS = "containers.json"
"""Name of the list of containers among the metrics."""


def running_seconds(item: Mapping[str, Any]) -> float | None:
    if state_of(item) != "running":
        return None
    return time.time() - epoch(str(item["State"]["StartedAt"]))


def epoch(stamp: str) -> float:
    """Podman writes 2026-01-31T12:00:00.123456789Z or with an offset; whole seconds are enough here."""
    return datetime.fromisoformat(re.sub(r"\.\d+", "", stamp)).timestamp()


def container_list(items: Iterable[Mapping[str, Any]]) -> str:
    """What cAdvisor reads of what `podman container inspect` says."""
    return json.dumps(list(map(measured, items)))


def measured(item: Mapping[str, Any]) -> dict[str, Any]:
    """What cAdvisor needs to know of a container: compose/cadvisor/src/libpod.go reads it."""
    state = item["State"]
    return {
        "id": item["Id"], "name": item["Name"], "image": item["ImageName"],
        "pid": int(state.get("Pid") or 0), "started": int(epoch(str(state["StartedAt"]))),
    }  # fmt: skip


def container_metrics(
    targets: tuple[Target, ...], watches: Mapping[str, Watch], found: Mapping[str, Mapping[str, Any]], crashes: Crashes
) -> str:  # fmt: skip
    """What was found, in Prometheus' text format, for node_exporter's textfile collector."""
    lines = [
        "# HELP cc03_container_healthy Whether the container does what its users need.",
        "# TYPE cc03_container_healthy gauge",
        "# HELP cc03_container_crashes_total Ends of its main process that nobody ordered.",
        "# TYPE cc03_container_crashes_total counter",
        "# HELP cc03_container_info Maps a container's id, as its cgroup is named, to its service.",
        "# TYPE cc03_container_info gauge",
        "# HELP cc03_ticker_last_round_timestamp_seconds When the health ticker last asked.",
        "# TYPE cc03_ticker_last_round_timestamp_seconds gauge",
        f"cc03_ticker_last_round_timestamp_seconds {time.time():.0f}",
    ]
    for target in targets:
        labels = f'service="{target.service}",replica="{target.slot}",name="{target.container}"'
        watch = watches[target.slot]
        item = found.get(target.container)
        lines.append(f"cc03_container_healthy{{{labels}}} {int(not watch.reason)}")
        lines.append(f"cc03_container_crashes_total{{{labels}}} {crashes.total(target.slot)}")
        if item:
            lines.append(f'cc03_container_info{{{labels},container_id="{item["Id"]}"}} 1')
    return "\n".join(lines) + "\n"


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


def read_history(state: Path) -> History:
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


def command_metrics(found: History, now: float) -> str:
    """In Prometheus' text format. `now`: seconds of the epoch."""
    lines = [
        "# HELP cc03_operation_running_seconds How long a command has held the project's lock; 0 while none does.",
        "# TYPE cc03_operation_running_seconds gauge",
        f"cc03_operation_running_seconds {_age(found.lock_since, now):.0f}",
    ]
    if found.release is not None:
        lines += [
            "# HELP cc03_release Number of the current release.",
            "# TYPE cc03_release gauge",
            f"cc03_release {found.release}",
        ]
    if found.ended:
        lines += [
            "# HELP cc03_activation_last_timestamp_seconds When a deploy, rollback or scaling last ended in that way.",
            "# TYPE cc03_activation_last_timestamp_seconds gauge",
        ]
    for (verb, outcome), at in sorted(found.ended.items()):
        lines.append(f'cc03_activation_last_timestamp_seconds{{verb="{verb}",outcome="{outcome}"}} {at:.0f}')
    return "\n".join(lines) + "\n"


def _age(since: float | None, now: float) -> float:
    """At least a second while the lock is held, so that 0 always means that nobody holds it."""
    return 0.0 if since is None else max(1.0, now - since)
