"""How often the container of each slot has crashed: its main process has ended, and nobody ordered that.

Two kinds are counted. Podman restarts by its policy show as `RestartCount`, which begins at 0 with a new container, and again
with `podman start` and `podman restart` (seen with 4.3.1). After an end that Podman does not answer with a restart, the health
supervisor starts the container. What a command stops, restarts or replaces counts as none.
The counts are kept in a file, so that Prometheus sees one counter across renewals of the supervisor.
"""

from __future__ import annotations

import json
from collections.abc import Collection, Mapping
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

from ops.core import files

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
        self.counts = _read(path)

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


def _read(path: Path) -> dict[str, Count]:
    """Empty where there is no such file, or none that can be read: the counts begin anew, which Prometheus understands."""
    try:
        said = json.loads(path.read_text(encoding="utf-8"))
        return {str(slot): _count(one) for slot, one in said.items()}
    except (OSError, ValueError, KeyError, TypeError, AttributeError):
        return {}


def _count(said: Mapping[str, Any]) -> Count:
    return Count(str(said["container"]), int(said["restarts"]), int(said["total"]), str(said["ended"]))
