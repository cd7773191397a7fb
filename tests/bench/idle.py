"""What the stack takes while nobody uses it: every container, their monitors and the health ticker."""

from __future__ import annotations

import json
import os
import re
import time
from collections.abc import Iterator, Mapping
from contextlib import suppress
from pathlib import Path
from typing import Any

from ops.engines.podman.observe import inspected_containers, usage
from ops.project import Project, open_project
from tests.bench.figures import Figure

TICKS = os.sysconf("SC_CLK_TCK")
MB = 1 << 20
MONITORING = ("prometheus", "alertmanager", "cadvisor", "logs")
"""Containers whose whole work is to watch the others."""
STARTERS = ("s6-", "sh", "bash", "podman-init", "catatonit", "sleep")
"""Programs that start those that do the work."""


def process_seconds(pid: int) -> float:
    """CPU of a process and of the children that it has waited for."""
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return sum(map(int, fields[11:15])) / TICKS


def process_bytes(pid: int) -> int:
    """Its share of the memory: what it has alone, and its part of what it shares."""
    match = re.search(r"^Pss:\s+(\d+) kB", Path(f"/proc/{pid}/smaps_rollup").read_text(), re.MULTILINE)
    return int(match[1]) * 1024 if match else 0


def monitors(project: Project, found: Mapping[str, Mapping[str, Any]]) -> dict[str, int]:
    """The host's processes that belong to the stack: one conmon a container, and the health ticker."""
    pids = {f"conmon of {slot}": int(item["State"]["ConmonPid"]) for slot, item in found.items()}
    return {**pids, "ticker": int(json.loads((project.state.ticker / "lock").read_text())["pid"])}


def programs(found: Mapping[str, Mapping[str, Any]]) -> dict[int, str]:
    """Process -> name of the program, of all that runs in the containers of the monitoring."""
    inside = {str(Path(f"/proc/{found[slot]['State']['Pid']}/ns/pid").readlink()) for slot in MONITORING if slot in found}
    here: dict[int, str] = {}
    for folder in Path("/proc").glob("[0-9]*"):
        with suppress(OSError):
            if str((folder / "ns/pid").readlink()) in inside:
                here[int(folder.name)] = (folder / "comm").read_text().strip()
    return here


def monitoring_parts(before: Mapping[int, float], names: Mapping[int, str], seconds: float) -> Iterator[Figure]:
    """What each program of the monitoring takes; those that only start others are left out."""
    cpu: dict[str, float] = {}
    memory: dict[str, int] = {}
    for pid, began in before.items():
        with suppress(OSError):
            name = names[pid]
            cpu[name] = cpu.get(name, 0.0) + 100 * (process_seconds(pid) - began) / seconds
            memory[name] = memory.get(name, 0) + process_bytes(pid)
    for name in sorted(cpu, key=lambda one: -cpu[one]):
        if not name.startswith(STARTERS):
            yield Figure(f"idle: {name}", cpu[name], "% of a core", note=f"{memory[name] / MB:.0f} MB")


def idle(settle: float, seconds: float) -> Iterator[Figure]:
    """After a while of rest, one long look."""
    project = open_project()
    time.sleep(settle)
    found = {s: item for s, item in inspected_containers(project.host).items() if item["State"]["Status"] == "running"}
    processes = monitors(project, found)
    before = {name: process_seconds(pid) for name, pid in processes.items()}
    watching = programs(found)
    watched = {pid: process_seconds(pid) for pid in watching}
    # What `inv status` shows, over a longer time.
    used = usage(found, seconds)
    cpu: dict[str, float] = {}
    memory: dict[str, int] = {}
    for name, pid in processes.items():
        with suppress(OSError):
            cpu[name] = 100 * (process_seconds(pid) - before[name]) / seconds
            memory[name] = process_bytes(pid)
    note = f"{len(used)} containers, their monitors and the health ticker, over {seconds:.0f} s"
    total = sum(one.memory_bytes for one in used.values()) + sum(memory.values())
    yield Figure("idle: memory of the stack", total / MB, "MB", 2000.0, note=note)
    yield Figure(
        "idle: CPU of the stack",
        sum(one.cpu_percent for one in used.values()) + sum(cpu.values()),
        "% of a core",
        10.0,
        note=note,
    )
    monitoring = [one for slot, one in used.items() if slot in MONITORING]
    note = f"{', '.join(MONITORING)} with all that runs in them, over {seconds:.0f} s"
    yield Figure("idle: memory of the monitoring", sum(one.memory_bytes for one in monitoring) / MB, "MB", 450.0, note=note)
    yield Figure("idle: CPU of the monitoring", sum(one.cpu_percent for one in monitoring), "% of a core", 3.0, note=note)
    yield from monitoring_parts(watched, watching, seconds)
    for slot, one in sorted(used.items(), key=lambda item: -item[1].cpu_percent):
        promises = (80.0, 2.0) if slot == "cadvisor" else (None, None)
        yield Figure(f"idle: memory of {slot}", one.memory_bytes / MB, "MB", promises[0])
        yield Figure(f"idle: CPU of {slot}", one.cpu_percent, "% of a core", promises[1])
    yield Figure("idle: CPU of the health ticker", cpu.get("ticker", 0.0), "% of a core", note="with the programs that it runs")
    yield Figure("idle: memory of monitors and health ticker", sum(memory.values()) / MB, "MB")
