"""Processes of containers as /proc describes them."""

from __future__ import annotations

import os
import time
from collections import defaultdict
from collections.abc import Iterator, Mapping
from pathlib import Path

from ops.security_audit.facts import Process

SETUP_SECONDS = 5.0
"""The runtime's own first moments, before a health check is executed: only then is it confined."""
KINDS = ("pid", "net", "ipc", "uts", "mnt")
"""Namespaces that a container has of its own. Not `user` and `cgroup`: rootful Podman gives none of the first, and of the
second none on cgroup v1."""
SETS = ("CapEff", "CapPrm", "CapInh", "CapBnd", "CapAmb")


def namespace(pid: int | str, kind: str) -> str:
    """Identity of a namespace of a process; empty where it is gone."""
    try:
        return os.readlink(f"/proc/{pid}/ns/{kind}")  # noqa: PTH115  (not a path: pid:[4026531836])
    except OSError:
        return ""


def by_namespace() -> dict[str, list[int]]:
    """Processes of the host by the namespace of processes that they stand in."""
    found: dict[str, list[int]] = defaultdict(list)
    for entry in Path("/proc").iterdir():
        if entry.name.isdigit() and (where := namespace(entry.name, "pid")):
            found[where].append(int(entry.name))
    return found


def pids_of(pid: int, everybody: Mapping[str, list[int]]) -> list[int]:
    """Every process of a container. Of one in the host's own namespace only the main one can be told from the others."""
    where = namespace(pid, "pid")
    return [pid] if where == namespace("self", "pid") else everybody.get(where, [])


def status(pid: int) -> dict[str, str]:
    """What the kernel says about a process; empty when it has ended meanwhile."""
    deadline = time.monotonic() + SETUP_SECONDS
    while (found := _status(pid)).get("Name", "").startswith("runc:[") and time.monotonic() < deadline:
        time.sleep(0.05)
    return found


def _status(pid: int) -> dict[str, str]:
    try:
        lines = Path(f"/proc/{pid}/status").read_text().splitlines()
    except (FileNotFoundError, ProcessLookupError):
        return {}
    return {name: value.strip() for name, _, value in (line.partition(":") for line in lines)}


def processes_of(
    slot: str, pid: int, everybody: Mapping[str, list[int]], shared: Mapping[str, tuple[str, ...]]
) -> Iterator[Process]:  # fmt: skip
    """`shared`: namespace -> who may not share it: `the host`, or slots of containers."""
    for one in pids_of(pid, everybody):
        found = status(one)
        if not found:
            continue
        shares = tuple(
            f"{kind} of {other}" for kind in KINDS for other in shared.get(namespace(one, kind), ()) if other != slot
        )
        yield Process(
            found["Name"], frozenset(map(int, found["Uid"].split())),
            capabilities=_union(found), no_new_privileges=found["NoNewPrivs"] == "1", seccomp=int(found["Seccomp"]),
            shares=shares,
        )  # fmt: skip


def _union(found: Mapping[str, str]) -> int:
    bits = 0
    for name in SETS:
        bits |= int(found[name], 16)
    return bits


def namespaces(pids: Mapping[str, int], shares: Mapping[str, str]) -> dict[str, tuple[str, ...]]:
    """Namespace -> who has it: `the host`, and containers. `shares`: slot -> slot in whose network it is declared to stand."""
    found: dict[str, list[str]] = defaultdict(list)
    for kind in KINDS:
        found[namespace("self", kind)].append("the host")
        for slot, pid in pids.items():
            if not (kind == "net" and (slot in shares or slot in shares.values())):
                found[namespace(pid, kind)].append(slot)
    found.pop("", None)
    return {where: tuple(slots) for where, slots in found.items()}
