"""The full screen of `inv status --watch`: every container, what users get, what fires, and how old the last proofs are."""

from __future__ import annotations

import math
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from rich.console import Group
from rich.live import Live
from rich.table import Table
from rich.text import Text

from ops.cli import show
from ops.core.amounts import age
from ops.core.errors import OpsError
from ops.core.journal import under_way
from ops.monitoring.api import Monitoring
from ops.releases.headline import headline
from ops.releases.situation import situation
from ops.status.facts import STYLE, Row, collect, title, with_usage

if TYPE_CHECKING:
    from ops.project import Project
    from ops.releases.headline import Line
    from ops.stack.model import Container

USAGE_SECONDS, HEALTH_SECONDS, MEASURE_SECONDS = 3.0, 60.0, 30.0
"""How often --watch reads memory and CPU, asks every container for its health, and asks Prometheus, which scrapes each 30 s."""
SPAN_SECONDS, POINTS = 3600, 30
"""What a curve shows, and in how many points."""
BLOCKS = "▁▂▃▄▅▆▇█"
LOW = 25
"""Percent of an error budget below which it is shown as a warning."""
ALERTS_SHOWN, REASONS_SHOWN = 4, 3
USERS = 'route=~"page|api|login"'
"""What users ask for: neither the prober's requests nor the operator's pages."""
CURVES = (
    ("requests", "/s", f"sum(rate(edge_responses_total{{{USERS}}}[2m]))"),
    ("failed", " %", f'100 * (sum(rate(edge_responses_total{{{USERS},status=~"5.."}}[2m])) or vector(0))'
                     f" / sum(rate(edge_responses_total{{{USERS}}}[2m]))"),
    ("95 % within", " s",
     f"histogram_quantile(0.95, sum by (le) (rate(edge_response_duration_seconds_bucket{{{USERS}}}[5m])))"),
)  # fmt: skip
"""Name, unit and PromQL of each curve."""
TIMES = {
    "backup": 'time() - max(backup_last_success_timestamp_seconds{component="postgres"})',
    "restore drill": "time() - max(backup_drill_last_success_timestamp_seconds)",
    "certificate for": "min(cc03_certificate_expires_timestamp_seconds) - time()",
}
"""Name -> PromQL of its seconds."""
BUDGETS_LEFT = "sort(bottomk(3, 100 * (1 - slo:burn_rate:window)))"
"""Percent of the error budgets that are left, of the objectives with the least."""


@dataclass(frozen=True)
class Curve:
    """points: oldest first; None where there is no sample."""

    name: str
    unit: str
    points: Sequence[float | None]


@dataclass(frozen=True)
class Measured:
    """What Prometheus and Alertmanager say.

    firing: severity, name and service of each alert that is neither silenced nor inhibited. times: name -> seconds.
    budgets: objective -> percent of its error budget that is left.
    problem: why they could not be asked; empty where they could.
    """

    curves: Sequence[Curve] = ()
    firing: Sequence[tuple[str, str, str]] = ()
    times: Sequence[tuple[str, float]] = ()
    budgets: Sequence[tuple[str, float]] = ()
    problem: str = ""


def keep_current(project: Project) -> None:
    """Redraw the screen until interrupted. What is expensive is read less often: the whole takes under 3 % of a core."""
    monitoring = Monitoring.of(project)
    found: Mapping[str, Container] = {}
    running: set[str] = set()
    healthy_at = measured_at = 0.0
    with Live(console=show.out, screen=True, auto_refresh=False) as live:
        while True:
            now = time.time()
            used = project.engine.usage(found)
            # What does not run any more has no usage: that is no matter of a minute.
            if now - healthy_at >= HEALTH_SECONDS or used.keys() != running:
                found = project.engine.containers()
                rows, healthy_at = collect(project, found), now
                running = {row.replica for row in rows if row.memory_bytes is not None}
            else:
                rows = with_usage(rows, used)
            if now - measured_at >= MEASURE_SECONDS:
                measured, measured_at = measure(monitoring, now), now
            at_work = under_way(project.state)
            said = at_work.described(now) if at_work else ""
            live.update(draw(title(project, rows), headline(situation(project.state)), rows, measured, said, now), refresh=True)
            time.sleep(USAGE_SECONDS)


def measure(monitoring: Monitoring, now: float) -> Measured:
    """Ask for the last hour. Where nothing answers, the result says so: the rest of the screen does not depend on it."""
    try:
        alerts = [one for one in monitoring.alerts() if one.state == "active" and one.name != "Watchdog"]
        return Measured(
            curves=[Curve(name, unit, _points(monitoring, expr, now)) for name, unit, expr in CURVES],
            firing=sorted((one.labels.get("severity", ""), one.name, one.labels.get("service", "")) for one in alerts),
            times=[(name, found[0].value) for name, expr in TIMES.items() if (found := monitoring.query(expr))],
            budgets=[(one.labels.get("objective", ""), one.value) for one in monitoring.query(BUDGETS_LEFT)],
        )
    except OpsError as problem:
        return Measured(problem=f"{problem.what}: {problem.why}")


def _points(monitoring: Monitoring, expr: str, now: float) -> list[float | None]:
    step = SPAN_SECONDS / POINTS
    start = now - SPAN_SECONDS + step
    found = monitoring.query_range(expr, start, now, step)
    values = {round((at - start) / step): value for at, value in found[0].points} if found else {}
    return [None if math.isnan(values.get(number, math.nan)) else values[number] for number in range(POINTS)]


def sparkline(points: Sequence[float | None]) -> str:
    """One character a point: a blank where there is none, the lowest block for 0, the highest for the largest value."""
    top = max((point for point in points if point is not None), default=0.0)
    last = len(BLOCKS) - 1
    return "".join(
        " " if point is None else BLOCKS[min(last, math.ceil(point / top * last))] if top else BLOCKS[0] for point in points
    )  # fmt: skip


def draw(heading: str, head: Sequence[Line], rows: Sequence[Row], measured: Measured, busy: str, now: float) -> Group:
    """The screen. heading: its first line, as markup. busy: the operation in progress; empty where there is none."""
    clock = Text(time.strftime("%H:%M:%S UTC", time.gmtime(now)), style="dim")
    top = Table.grid(expand=True)
    top.add_column()
    top.add_column(justify="right")
    top.add_row(Text.from_markup(heading), clock)
    notes = [Text(line.text, style=line.style) for line in head]
    if busy:
        notes.append(Text(busy, style="yellow"))
    return Group(
        top,
        *notes,
        Text(),
        *_alerts(measured),
        _curves(measured),
        *_proofs(measured),
        Text(),
        _containers(rows),
        *_reasons(rows),
    )


def _alerts(measured: Measured) -> list[Text]:
    if measured.problem:
        return [Text(measured.problem, style="yellow")]
    if not measured.firing:
        return [Text("no alert fires", style="green")]
    lines = [
        Text(f"{severity}: {name} {service}".rstrip(), style="red" if severity == "critical" else "yellow")
        for severity, name, service in measured.firing[:ALERTS_SHOWN]
    ]
    if more := len(measured.firing) - ALERTS_SHOWN:
        lines += [Text(f"and {more} more: inv alerts", style="yellow")] if more > 0 else []
    return lines


def _curves(measured: Measured) -> Table:
    drawn = Table.grid(padding=(0, 2, 0, 0))
    for curve in measured.curves:
        newest = curve.points[-1]
        shown = "–" if newest is None else f"{newest:.3g}{curve.unit}"
        drawn.add_row(curve.name, Text(sparkline(curve.points), style="cyan"), shown)
    return drawn


def _proofs(measured: Measured) -> list[Text]:
    lines = []
    if measured.times:
        lines.append(
            Text(f"proofs       {', '.join(f'{name} {age(seconds)}' for name, seconds in measured.times)}", style="dim")
        )
    if measured.budgets:
        left = ", ".join(f"{name} {percent:.0f} %" for name, percent in measured.budgets)
        lines.append(Text(f"budget left  {left}", style="yellow" if measured.budgets[0][1] <= LOW else "dim"))
    for line in lines:
        line.no_wrap, line.overflow = True, "ellipsis"
    return lines


def _containers(rows: Sequence[Row]) -> Table:
    """Two containers a line: 80 columns and 24 lines hold the whole stack."""
    cells: list[tuple[str | Text, ...]] = [_cells(row) for row in rows]
    half = (len(cells) + 1) // 2
    drawn = Table.grid(padding=(0, 1, 0, 0))
    for _ in range(2):
        drawn.add_column(no_wrap=True, width=15)
        drawn.add_column(no_wrap=True, width=9)
        drawn.add_column(no_wrap=True, width=6, justify="right")
        drawn.add_column(no_wrap=True, width=7, justify="right")
    for left, right in zip(cells[:half], [*cells[half:], ("",) * 4], strict=False):
        drawn.add_row(*left, *right)
    return drawn


def _cells(row: Row) -> tuple[str, Text, str, str]:
    shown = row.health if row.health != "none" else row.state
    cpu = "" if row.cpu_percent is None else f"{row.cpu_percent:.1f} %"
    memory = "" if row.memory_bytes is None else f"{row.memory_bytes >> 20} MB"
    return row.replica, Text(shown, style=STYLE[row.health]), cpu, memory


def _reasons(rows: Sequence[Row]) -> list[Text]:
    found = [Text(f"{row.replica}: {row.reason}", style=STYLE[row.health], no_wrap=True, overflow="ellipsis")
             for row in rows if row.reason and row.health != "absent"]  # fmt: skip
    return found[:REASONS_SHOWN]
