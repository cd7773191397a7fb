"""What the health supervisor has found, for Prometheus and cAdvisor."""

from __future__ import annotations

import json
import re
import time
from collections.abc import Iterable, Mapping
from datetime import datetime
from typing import Any

from ops.engines.podman.supervisor.crashes import Crashes
from ops.engines.podman.supervisor.health import Target, state_of
from ops.engines.podman.supervisor.judge import Watch

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


def exposition(
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
