"""Memory and CPU of containers, read from their cgroups: two samples half a second apart, without asking Podman."""

from __future__ import annotations

import time
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ops.engines.engine import Usage

CGROUPS = Path("/sys/fs/cgroup")
SAMPLE_SECONDS = 0.5


@dataclass(frozen=True)
class _Files:
    memory: Path
    memory_stat: Path
    reclaimable: str
    cpu: Path
    ticks_per_second: float


def _files(item: Mapping[str, Any]) -> _Files | None:
    """Where the kernel counts for this container; None while it does not run."""
    pid = int(item["State"].get("Pid") or 0)
    if not pid:
        return None
    try:
        lines = Path(f"/proc/{pid}/cgroup").read_text().splitlines()
    except OSError:
        return None
    paths = {}
    for line in lines:
        _, controllers, path = line.split(":", 2)
        paths.update(dict.fromkeys(controllers.split(","), path.lstrip("/")))
    if "memory" in paths:
        memory = CGROUPS / "memory" / paths["memory"]
        return _Files(
            memory / "memory.usage_in_bytes", memory / "memory.stat", "total_inactive_file",
            CGROUPS / "cpuacct" / paths["cpuacct"] / "cpuacct.usage", 1e9,
        )  # fmt: skip
    unified = CGROUPS / paths.get("", "")
    return _Files(unified / "memory.current", unified / "memory.stat", "inactive_file", unified / "cpu.stat", 1e6)


def _memory(files: _Files) -> int:
    reclaimable = 0
    for line in files.memory_stat.read_text().splitlines():
        name, _, value = line.partition(" ")
        if name == files.reclaimable:
            reclaimable = int(value)
    return int(files.memory.read_text()) - reclaimable


def _cpu_seconds(files: _Files) -> float:
    text = files.cpu.read_text()
    value = text.split()[1] if text.startswith("usage_usec") else text
    return int(value) / files.ticks_per_second


def usage(inspected: Mapping[str, Mapping[str, Any]], seconds: float = SAMPLE_SECONDS) -> dict[str, Usage]:
    """Slot -> what it uses now. A container that does not run, or ends meanwhile, is left out.

    Parameters
    ----------
    seconds: time between the two samples, over which the CPU is averaged.
    """
    sources = {slot: files for slot, item in inspected.items() if (files := _files(item))}
    first = {slot: sample for slot, files in sources.items() if (sample := _sample(files))}
    time.sleep(seconds)
    found = {}
    for slot, (began, before) in first.items():
        if after := _sample(sources[slot]):
            now, used = after
            try:
                found[slot] = Usage(_memory(sources[slot]), max(0.0, 100 * (used - before) / (now - began)))
            except OSError:
                continue
    return found


def _sample(files: _Files) -> tuple[float, float] | None:
    try:
        return time.monotonic(), _cpu_seconds(files)
    except OSError:
        return None
