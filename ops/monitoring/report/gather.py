"""What the report says, read from the running stack's monitoring, its records and its audit."""

from __future__ import annotations

import math
import re
import time
from collections import Counter, defaultdict
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

from ops.core.amounts import age
from ops.monitoring.api import Monitoring, Series
from ops.monitoring.budget import DAY, Budget, budgets
from ops.monitoring.history import USERS, Change, Cost, Episode, changes, cost, episodes
from ops.monitoring.report.charts import Chart, chart, said
from ops.security_audit.last import last

if TYPE_CHECKING:
    from pathlib import Path

    from ops.project import Project

ROUTES: Mapping[str, str] = {"page": "Pages of the site", "api": "API", "login": "Login", "grafana": "Grafana"}
POINTS = 240
"""Of each line of a chart."""
MOST_CHANGES = 30
NOW_SECONDS = 180.0
"""An alert that fired so long ago at most still does: a step of the range, and an evaluation."""
NODE = 'job="node"'


@dataclass(frozen=True)
class Route:
    """What users asked for, and how they were answered."""

    name: str
    requests: int
    failed: int
    p50_ms: float
    p99_ms: float


@dataclass(frozen=True)
class Fired:
    """An alert, and how often and how long it fired."""

    alert: str
    impact: str
    severity: str
    services: str
    times: int
    seconds: float
    last: float
    now: bool


@dataclass(frozen=True)
class Figure:
    """A figure of the period beside that of the one before."""

    name: str
    now: str
    before: str
    change: str


@dataclass(frozen=True)
class Audit:
    """The last security audit."""

    summary: str
    findings: tuple[tuple[str, str, str], ...] = ()
    """Control, where, what."""
    accepted: tuple[tuple[str, str, str, str, int], ...] = ()
    """Control, reason, role, until when, how many findings."""


@dataclass(frozen=True)
class Report:
    project: str
    domain: str
    start: float
    end: float
    days: int
    objectives: tuple[Budget, ...]
    routes: tuple[Route, ...]
    changes: tuple[tuple[Change, Cost | None], ...]
    """Those of releases with their cost."""
    left_out: int
    """Earlier changes that are not listed."""
    proofs: tuple[tuple[str, str], ...]
    """About backups: what, and since when or how much."""
    alerts: tuple[Fired, ...]
    charts: tuple[Chart, ...]
    figures: tuple[Figure, ...]
    audit: Audit

    @property
    def missed(self) -> tuple[Budget, ...]:
        return tuple(one for one in self.objectives if one.left is not None and one.left < 0)

    @property
    def measured(self) -> int:
        return sum(one.left is not None for one in self.objectives)

    @property
    def since(self) -> float:
        """When there is first something of the period."""
        return max(self.start, min((one.since for one in self.objectives if one.since), default=self.start))


def gather(project: Project, days: int) -> Report:
    """Everything of the last days. Raises OpsError where Prometheus does not answer."""
    monitoring, end = Monitoring.of(project), time.time()
    start = end - days * DAY
    found = budgets(monitoring, end, days)
    fired = episodes(monitoring, start, end)
    changed = changes(project.state, start)
    listed = changed[-MOST_CHANGES:]
    report = Report(
        project.name, project.settings.domain, start, end, days, tuple(found), tuple(_routes(monitoring, end, days)),
        tuple((one, cost(monitoring, one) if one.release is not None else None) for one in listed),
        len(changed) - len(listed), tuple(_proofs(monitoring, end, days)),
        tuple(_fired(fired, end, project.host.repository / "docs" / "runbooks")),
        (), tuple(_figures(monitoring, end, days)), audit_of(last(project.state)),
    )  # fmt: skip
    return replace(report, charts=tuple(_charts(monitoring, report.since, end, fired)))


def audit_of(last: Mapping[str, Any] | None) -> Audit:
    """What the last audit said. last: its result as JSON; None where there was none."""
    if last is None:
        return Audit("The security audit has not been run on this host: inv audit.")
    counts, exceptions = last["counts"], Counter[tuple[str, str, str, str]]()
    good = counts.get("passed", 0) + counts.get("accepted", 0)
    unchecked = f"; {counts['not checked']} were not checked" if counts.get("not checked") else ""
    for one in last["controls"]:
        exceptions.update((one["title"], by["reason"], by["owner"], by["until"]) for by in one["accepted"])
    at = last["at"][:16].replace("T", " ")
    return Audit(
        f"The audit of {at} UTC: {good} of {good + counts.get('failed', 0)} checks passed{unchecked}.",
        tuple((one["title"], found["where"], found["what"]) for one in last["controls"] for found in one["findings"]),
        # One accepts many findings, such as one of each process.
        tuple((*one, times) for one, times in exceptions.items()),
    )  # fmt: skip


def value(monitoring: Monitoring, expr: str, at: float) -> float:
    """The only value of an expression; NaN where it has none."""
    found = monitoring.query(expr, at)
    return found[0].value if found else math.nan


def _routes(monitoring: Monitoring, end: float, days: int) -> Iterator[Route]:
    def by_route(expr: str) -> dict[str, float]:
        return {one.labels.get("route", ""): one.value for one in monitoring.query(expr, end)}

    span = f"[{days}d]"
    asked = by_route(f"sum by (route) (increase(edge_responses_total{span}))")
    failed = by_route(f'sum by (route) (increase(edge_responses_total{{status=~"5.."}}{span}))')
    p50, p99 = (
        by_route(f"histogram_quantile({q}, sum by (route, le) (rate(edge_response_duration_seconds_bucket{span})))")
        for q in (0.5, 0.99)
    )
    for route, name in ROUTES.items():
        if asked.get(route, 0) >= 1:
            times = (1000 * found.get(route, math.nan) for found in (p50, p99))
            yield Route(name, round(asked[route]), round(failed.get(route, 0.0)), *times)


def _proofs(monitoring: Monitoring, end: float, days: int) -> Iterator[tuple[str, str]]:
    def ago(expr: str) -> str:
        at = value(monitoring, expr, end)
        return "never" if math.isnan(at) else f"{age(end - at)} ago"

    yield "Newest backup", ago('max(backup_last_success_timestamp_seconds{component="postgres"})')
    yield "Newest change that was archived", ago('max(backup_last_success_timestamp_seconds{component="wal"})')
    yield (
        "Last backup that was restored and compared with its manifest",
        ago("max(backup_drill_last_success_timestamp_seconds)"),
    )
    proof = f"backup_drill_last_success_timestamp_seconds[{days}d]"
    # The first one of a period is no change of the series where there was none before.
    new = value(monitoring, f"sum(min_over_time({proof}) >= bool {end - days * DAY:.0f})", end)
    proved = value(monitoring, f"sum(changes({proof}))", end) + new
    yield "Successful test restores in this period", f"{proved:.0f}" if proved >= 1 else "none"
    lost = value(monitoring, "max(backup_drill_data_loss_seconds)", end)
    if not math.isnan(lost):
        yield "Changes that a lost disk would have cost, at the last test restore", f"{lost:.0f} s"
    kept = value(monitoring, "sum(backup_sets)", end)
    if not math.isnan(kept):
        yield "Backups that are kept", f"{kept:.0f}"
    size = value(monitoring, "max(backup_repository_bytes)", end)
    if not math.isnan(size):
        yield "Size of the repository", said(size / 1e9, "GB")


def _fired(found: Sequence[Episode], end: float, runbooks: Path) -> Iterator[Fired]:
    """By alert, the gravest and longest first."""
    groups = defaultdict[str, list[Episode]](list)
    for one in found:
        groups[one.alert].append(one)
    rows = []
    for name, times in groups.items():
        severity = "critical" if any(one.severity == "critical" for one in times) else "warning"
        services = ", ".join(sorted({one.service for one in times if one.service}))
        last = max(one.ended for one in times)
        together = sum(one.ended - one.began for one in times)
        said_impact = impact(runbooks / f"{name}.md")
        rows.append(Fired(name, said_impact, severity, services, len(times), together, last, now=end - last < NOW_SECONDS))
    yield from sorted(rows, key=lambda row: (row.severity != "critical", -row.seconds))


def impact(runbook: Path) -> str:
    """What users notice, as the runbook of an alert says it; empty where there is none."""
    text = runbook.read_text(encoding="utf-8") if runbook.is_file() else ""
    found = re.search(r"^\*\*Impact:\*\* (.+?)(?:\n\n|\Z)", text, re.MULTILINE | re.DOTALL)
    plain = re.sub(r"\[([^\]]+)\]\([^)]*\)", r"\1", " ".join(found[1].split())) if found else ""
    return plain.replace("`", "")


def _charts(monitoring: Monitoring, start: float, end: float, fired: Sequence[Episode]) -> Iterator[Chart]:
    step = max(60.0, math.ceil((end - start) / POINTS / 60) * 60)
    span = f"[{max(300, step):.0f}s]"

    def lines(*parts: tuple[str, str]) -> list[tuple[str, Series]]:
        """(name, expression): one line each."""
        found = ((name, monitoring.query_range(expr, start, end, step)) for name, expr in parts)
        return [(name, series[0]) for name, series in found if series]

    marks = [(one.began, one.ended, one.alert) for one in fired if one.severity == "critical"]
    total = f"sum(rate(edge_responses_total{{{USERS}}}{span}))"
    bad = f'sum(rate(edge_responses_total{{{USERS},status=~"5.."}}{span}))'
    buckets = "edge_response_duration_seconds_bucket"
    routes = [(route, name) for route, name in ROUTES.items() if route != "grafana"]
    requests = [(name, f'60 * sum(rate(edge_responses_total{{route="{route}"}}{span}))') for route, name in routes]
    slowest = [
        (name, f'1000 * histogram_quantile(0.99, sum by (le) (rate({buckets}{{route="{route}"}}{span})))')
        for route, name in routes
    ]
    yield chart("Requests", "Requests of users per minute.", lines(*requests), start, end, step, "", marks)
    yield chart(
        "Failed requests", "Share of users' requests that were answered by a server error.",
        lines(("Failed", f"100 * {bad} / ({total} > 0)")), start, end, step, "%", marks,
    )  # fmt: skip
    yield chart("Response times", "99 of 100 responses were faster.", lines(*slowest), start, end, step, "ms", marks)
    yield chart(
        "Host", "How much of CPU, memory and the fullest disk is used.",
        lines(("CPU", f'100 * (1 - avg(rate(node_cpu_seconds_total{{mode="idle"}}{span})))'),
              ("Memory", "100 * (1 - min(node_memory_MemAvailable_bytes / node_memory_MemTotal_bytes))"),
              ("Disk", f"100 * (1 - min(node_filesystem_avail_bytes{{{NODE}}} / node_filesystem_size_bytes{{{NODE}}}))")),
        start, end, step, "%", ceiling=100,
    )  # fmt: skip


def _figures(monitoring: Monitoring, end: float, days: int) -> Iterator[Figure]:
    span, before = f"[{days}d]", end - days * DAY
    disk = (
        f"max_over_time((1 - min(node_filesystem_avail_bytes{{{NODE}}} / node_filesystem_size_bytes{{{NODE}}}))[1h:5m]) * 100"
    )
    known: tuple[tuple[str, str, str], ...] = (
        ("Requests of users", f"round(sum(increase(edge_responses_total{{{USERS}}}{span})))", ""),
        ("Failed requests", f'round(sum(increase(edge_responses_total{{{USERS},status=~"5.."}}{span})))', ""),
        ("99 of 100 responses within",
         f"1000 * histogram_quantile(0.99, sum by (le) (rate(edge_response_duration_seconds_bucket{span})))", "ms"),
        ("Size of the databases", "sum(pg_database_size_bytes) / 1e9", "GB"),
        ("Fullest disk", disk, "%"),
    )  # fmt: skip
    for name, expr, unit in known:
        now, earlier = value(monitoring, expr, end), value(monitoring, expr, before)
        if math.isnan(now):
            continue
        change = "" if math.isnan(earlier) or earlier <= 0 else f"{100 * (now / earlier - 1):+.0f} %"
        yield Figure(name, said(now, unit), said(earlier, unit), change)
