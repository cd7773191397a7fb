"""Every container of the stack as it is now."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from ops.engines.engine import Usage
    from ops.project import Project
    from ops.stack.model import Container

STYLE = {"healthy": "green", "unhealthy": "red", "none": "red", "degraded": "yellow", "absent": "yellow"}
"""Health -> the colour in which it is shown."""


@dataclass(frozen=True)
class Row:
    """One container, as `inv status --json` lists it. cpu_percent is of one core. The holder of an address is a replica of
    the service that it holds it for."""

    service: str
    replica: str
    state: str
    health: str
    restarts: int
    image: str
    memory_bytes: int | None
    memory_limit_bytes: int
    cpu_percent: float | None
    reason: str
    since: str = ""


def collect(project: Project, found: Mapping[str, Container] | None = None) -> list[Row]:
    """Ask every container now: health by its probe or its own check, memory and CPU from its cgroup.

    found: as the engine has found them just now; None: it is asked.
    """
    from concurrent.futures import ThreadPoolExecutor

    from ops.project import targets_of
    from ops.stack.images import missing_optional

    running, engine = project.deployed, project.engine
    found = engine.containers() if found is None else found
    # Before any health check: those that are executed inside a container count as its CPU.
    used = engine.usage(found)
    with ThreadPoolExecutor(max_workers=2) as pool:
        targets = targets_of(project.state, running.stack, running.allocation)
        why = pool.submit(engine.reasons, targets, found)
        without = pool.submit(engine.without, targets, found)
        away = [one for one in running.stack.services.values() if one.optional and one.slots()[0] not in found]
        absent = missing_optional(away, running.images, engine.images(running.images[one.name].tag for one in away))
    rows = []
    for service in running.stack.services.values():
        for replica in service.slots():
            seen = found.get(replica)
            reason = why.result().get(replica, "")
            health = "healthy" if seen and not reason else "unhealthy" if seen and seen.state == "running" else "none"
            if health == "healthy" and (lacking := without.result().get(replica, "")):
                health, reason = "degraded", f"it works without {lacking}"
            if seen is None and service.name in absent:
                health, reason = "absent", absent[service.name]
            rows.append(Row(
                service=service.holds or service.name, replica=replica, state=seen.state if seen else "missing", health=health,
                restarts=seen.restarts if seen else 0, image=seen.image if seen else running.images[service.name].tag,
                memory_bytes=None, memory_limit_bytes=service.limits.memory_bytes, cpu_percent=None, reason=reason,
                since=seen.started_at if seen and seen.state == "running" else "",
            ))  # fmt: skip
    return with_usage(rows, used)


def with_usage(rows: list[Row], used: Mapping[str, Usage]) -> list[Row]:
    """The same rows with what the containers use now, by slot."""
    return [
        replace(row, memory_bytes=now.memory_bytes if now else None, cpu_percent=round(now.cpu_percent, 1) if now else None)
        for row in rows
        for now in (used.get(row.replica),)
    ]


def title(project: Project, rows: list[Row]) -> str:
    """How many containers are healthy, as rich markup."""
    healthy = sum(row.health == "healthy" for row in rows)
    wanted = sum(row.health != "absent" for row in rows)
    ticker = "health supervisor running" if project.engine.supervised() else "[red]no health supervisor: inv start[/red]"
    return f"[bold]{project.name}[/bold]  {healthy} of {wanted} containers healthy, {ticker}"
