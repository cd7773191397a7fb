"""What a cluster runs, as an operator reads it: status, log lines, releases. What only looks, and holds no lock."""

from __future__ import annotations

import json
import time
from collections.abc import Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

from ops.cluster.facts import Observed, observe
from ops.core.amounts import age
from ops.core.errors import HostLacks, OpsError, UsageProblem
from ops.engines.engine import Line
from ops.engines.kubernetes.objects import LABEL_ROLE, SERVING, WORKLOADS, Object, service_of
from ops.engines.kubernetes.reads import ailment, is_ready, replicas_of, restarts
from ops.engines.kubernetes.render import RUNS
from ops.logs.query import Asked, concerns, rows

if TYPE_CHECKING:
    from ops.project import Project

STYLE = {"healthy": "green", "unhealthy": "red", "stopped": "yellow", "missing": "red"}


@dataclass(frozen=True)
class Row:
    """A pod that should run, as `inv status --json` lists it."""

    service: str
    replica: str
    health: str
    restarts: int
    node: str
    image: str
    since: str
    reason: str


def status_rows(seen: Observed) -> list[Row]:
    """One for each pod, and one for each that a workload lacks."""
    found = []
    pods = [one for (kind, _), one in sorted(seen.objects.items()) if kind == "Pod"]
    workloads = {service_of(one): one for (kind, _), one in seen.objects.items() if kind in WORKLOADS}
    for name in (one for one in RUNS if one in workloads):
        own = [one for one in pods if service_of(one) == name and one["metadata"]["labels"].get(LABEL_ROLE) == SERVING]
        found += [_row(name, one) for one in own]
        wanted = replicas_of(workloads[name])
        if not wanted and not own:
            found.append(Row(name, name, "stopped", 0, "", "", "", "inv start starts it"))
        found += [Row(name, name, "missing", 0, "", "", "", "its pod is not there")] * max(0, wanted - len(own))
    return found


def _row(service: str, pod: Object) -> Row:
    status, about = pod.get("status") or {}, pod["metadata"]
    return Row(
        service=service, replica=about["name"], health="healthy" if is_ready(pod) else "unhealthy", restarts=restarts(pod),
        node=pod["spec"].get("nodeName", ""), image=pod["spec"]["containers"][0]["image"],
        since=str(status.get("startTime", "")), reason=ailment(pod),
    )  # fmt: skip


def status(project: Project, *, as_json: bool, check: bool) -> None:
    """Print every pod. Raises OpsError, where it is asked to, if one is not healthy."""
    from rich.markup import escape

    from ops.cli import show

    seen = observe(project.kubernetes)
    found = status_rows(seen)
    if as_json:
        print(json.dumps([asdict(row) for row in found], indent=2))
    elif not found:
        raise HostLacks(
            f"nothing of {project.name} runs on this cluster", f"namespace {project.kubernetes.namespace} has none of it",
            "inv deploy",
        )  # fmt: skip
    else:
        healthy = sum(row.health == "healthy" for row in found)
        release = f"release {seen.number}" if seen.number else "no release"
        where = f"namespace {project.kubernetes.namespace}"
        show.out.print(f"[bold]{project.name}[/bold]  {release}, {healthy} of {len(found)} pods healthy, {where}")
        drawn = show.table("SERVICE", "POD", "HEALTH", "UP", "RESTARTS", "NODE", "IMAGE")
        for row in found:
            up = age(time.time() - datetime.fromisoformat(row.since).timestamp()) if row.since else "–"
            image = row.image.rpartition("/")[2]
            drawn.add_row(
                row.service,
                row.replica,
                f"[{STYLE[row.health]}]{row.health}[/]",
                up,
                str(row.restarts),
                row.node,
                escape(image),
            )
        show.out.print(drawn)
        for row in found:
            if row.reason:
                show.out.print(f"[{STYLE[row.health]}]{row.replica}: {escape(row.reason)}[/]")
    ill = [row for row in found if row.health != "healthy"]
    if check and ill:
        why = "; ".join(f"{row.replica}: {row.reason}" for row in ill[:3])
        raise OpsError(f"{len(ill)} of {len(found)} pods are not healthy", why, "inv status; inv logs SERVICE")


def log_rows(project: Project, asked: Asked) -> list[Mapping[str, Any]]:
    """Lines of the pods that there are, as the nodes keep them. Raises UsageProblem for what only a log store can answer."""
    if asked.logsql:
        raise UsageProblem("--query cannot be answered", "there is no log store on a cluster yet", "inv logs --grep PATTERN")
    api = project.kubernetes
    pods = [one for one in api.all_of("Pod") if concerns(asked, service_of(one))]
    since = max(1, int((datetime.now(UTC) - asked.since).total_seconds()) + 1)

    def lines(pod: Object) -> list[Line]:
        try:
            text = api.log_of(str(pod["metadata"]["name"]), since=since)
        except OpsError:
            return []  # its container has not started yet
        found = (one.partition(" ") for one in text.splitlines())
        return [Line(service_of(pod), at, said) for at, _, said in found]

    def every() -> Iterator[Line]:
        with ThreadPoolExecutor(max_workers=8) as pool:
            for found in pool.map(lines, pods):
                yield from found

    return list(rows(asked, every()))


def releases(project: Project, *, as_json: bool) -> None:
    """Print the releases that the cluster has kept, newest first."""
    from ops.cli import show

    api = project.kubernetes
    seen = observe(api)
    tries = {one["release"]: one for one in seen.activations}
    found = [
        {"release": number, "current": number == seen.number, **tries.get(number, {})}
        for number in sorted(seen.releases, reverse=True)
    ]  # fmt: skip
    if as_json:
        print(json.dumps(found, indent=2))
        return
    if not found:
        show.out.print("no release yet; [bold]inv deploy[/bold] makes the first one")
        return
    drawn = show.table("", "RELEASE", "AT", "VERB", "OUTCOME", "TOOK", "WHY")
    for one in found:
        took = f"{one['seconds']:.1f} s" if "seconds" in one else "–"
        drawn.add_row(
            "*" if one["current"] else "", str(one["release"]), str(one.get("at", ""))[:16].replace("T", " "),
            str(one.get("verb", "")), str(one.get("outcome", "unfinished")), took, str(one.get("why", "")),
        )  # fmt: skip
    show.out.print(drawn)
