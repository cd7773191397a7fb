"""inv slo: what is left of each error budget, and what used it. inv report: the same and more, as a page."""

from __future__ import annotations

import dataclasses
import time
from collections.abc import Iterator, Sequence
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

from invoke import Context

from ops.cli.command import print_json, verb
from ops.core.amounts import minute

if TYPE_CHECKING:
    from rich.table import Table

    from ops.monitoring.budget import Budget
    from ops.monitoring.history import Change, Cost, Episode

MOST_HOURS, MOST_DEPLOYS = 8, 6
MOST_DAYS = 365
MOST_NAMED = 2
"""Of what happened in an hour: a line has 80 columns."""
BAR = 10


@verb(changes=False, help={"json": "print everything for other programs"})
def slo(c: Context, json: bool = False) -> None:
    """Show what is left of each error budget.

    And what used it: the hours, the changes and alerts in them, and what each deploy cost.
    """
    from ops.monitoring.api import Monitoring
    from ops.monitoring.budget import DAY, budgets
    from ops.monitoring.history import changes, cost, episodes
    from ops.monitoring.objectives import window_days
    from ops.releases.situation import open_running

    project = open_running()
    monitoring, now, days = Monitoring.of(project), time.time(), window_days(project.settings.retention.metrics)
    found = budgets(monitoring, now, days)
    start = min((one.since for one in found if one.since), default=now - days * DAY)
    changed, fired = changes(project.state, start), episodes(monitoring, start, now)
    deploys = [(one, cost(monitoring, one)) for one in changed if one.release is not None][-MOST_DEPLOYS:]
    if json:
        print_json(_as_json(found, start, now, days, changed, fired, deploys))
        return
    _show(found, start, now, days, changed, fired, deploys)


def _as_json(
    found: Sequence[Budget], start: float, now: float, days: int, changed: Sequence[Change], fired: Sequence[Episode],
    deploys: Sequence[tuple[Change, Cost]],
) -> dict[str, Any]:  # fmt: skip
    from ops.monitoring.budget import HOUR
    from ops.monitoring.history import during

    return {
        "window_days": days, "since": start, "until": now,
        "objectives": [
            {**dataclasses.asdict(one), "hours": [
                {"start": hour.start, "share": hour.share, "during": during(hour.start, hour.start + HOUR, changed, fired)}
                for hour in one.hours
            ]}
            for one in found
        ],
        "deploys": [{**dataclasses.asdict(change), "users": dataclasses.asdict(paid)} for change, paid in deploys],
    }  # fmt: skip


def _show(
    found: Sequence[Budget], start: float, now: float, days: int, changed: Sequence[Change], fired: Sequence[Episode],
    deploys: Sequence[tuple[Change, Cost]],
) -> None:  # fmt: skip
    from ops.cli import show
    from ops.monitoring.objectives import WINDOW_DAYS

    if not found:
        show.out.print("no objective is measured yet: the rules come with the next [bold]inv deploy[/bold]")
        return
    short = f" (metrics are kept for {days} d, not {WINDOW_DAYS})" if days < WINDOW_DAYS else ""
    show.out.print(f"since {minute(start)} UTC, at most {days} d{short}")
    show.out.print(table(found))
    hours = sorted(((one, hour) for one in found for hour in one.hours), key=lambda pair: -pair[1].share)[:MOST_HOURS]
    if hours:
        show.out.print("\n[bold]What used it[/bold]")
        for line in _hours(hours, changed, fired):
            show.out.print(line)
    if deploys:
        show.out.print("\n[bold]What deploys cost[/bold]")
        show.out.print(costs(deploys))


def table(found: Sequence[Budget]) -> Table:
    from rich.text import Text

    from ops.cli import show
    from ops.monitoring.budget import percent

    drawn = show.table(padding=(0, 2, 0, 0))
    drawn.add_column("OBJECTIVE", no_wrap=True)
    for heading in ("TARGET", "GOOD"):
        drawn.add_column(heading, justify="right", no_wrap=True)
    drawn.add_column("BUDGET LEFT", no_wrap=True)
    drawn.add_column("BURN", justify="right", no_wrap=True)
    for one in found:
        left = one.left
        if left is None:
            drawn.add_row(one.objective, percent(one.target), "–", Text("nothing counted yet", style="dim"), "–")
            continue
        style = "green" if left > 0.5 else "yellow" if left > 0 else "red"
        bar = "█" * round(BAR * min(1.0, max(0.0, left)))
        drawn.add_row(
            one.objective, percent(one.target), percent(one.good), Text(f"{bar:░<{BAR}} {100 * left:.0f} %", style=style),
            "–" if one.burn is None else Text(f"{one.burn:.1f}", style="red" if one.burn > 1 else ""),
        )  # fmt: skip
    return drawn


def _hours(hours: Sequence[tuple[Budget, Any]], changed: Sequence[Change], fired: Sequence[Episode]) -> Iterator[str]:
    from rich.markup import escape

    from ops.monitoring.budget import HOUR
    from ops.monitoring.history import during

    for one, hour in hours:
        all_of_it = during(hour.start, hour.start + HOUR, changed, fired)
        more = [f"{len(all_of_it) - MOST_NAMED} more"] if len(all_of_it) > MOST_NAMED else []
        happened = ", ".join([*all_of_it[:MOST_NAMED], *more]) or "no change and no alert"
        yield f"{minute(hour.start)}  {one.objective:<19} {100 * hour.share:>5.0f} %  {escape(happened)}"


def costs(deploys: Sequence[tuple[Change, Cost]]) -> Table:
    from ops.cli import show

    drawn = show.table(padding=(0, 2, 0, 0))
    for heading in ("AT", "CHANGE", "OUTCOME"):
        drawn.add_column(heading, no_wrap=True)
    for heading in ("PROBER", "P99 MS", "USERS"):
        drawn.add_column(heading, justify="right", no_wrap=True)
    for change, paid in deploys:
        probed = f"{change.requests['failed']} of {change.requests['requests']}" if change.requests and change.measured else "–"
        p99 = "→".join(f"{value:.0f}" if (value := change.p99(one)) is not None else "–" for one in ("before", "during"))
        users = "–" if paid.failed is None else f"{paid.failed:.0f} of {paid.requests or 0:.0f}"
        named = (minute(change.began)[5:], f"{change.verb} {change.release}", change.outcome)
        drawn.add_row(*named, probed, p99 if change.measured else "–", users)
    drawn.caption = "Failed requests: of the deploy's own prober, and of users by nginx' counters."
    drawn.caption_justify, drawn.caption_style = "left", "dim"
    return drawn


@verb(changes=False, help={
    "days": "how far back, from 1 to 365; as long as metrics are kept",
    "output": "write it to this new file; default report-PROJECT-DAY.html in this folder",
    "overwrite": "replace the file where it exists",
})  # fmt: skip
def report(c: Context, days: int = 7, output: str | None = None, overwrite: bool = False) -> None:
    """Write a page about how users were served.

    Availability, speed, errors, changes and their cost, backups, alerts, findings: one HTML file to mail or print.
    """
    from ops.cli import show
    from ops.core import files
    from ops.core.errors import OpsError, UsageProblem
    from ops.monitoring.report.gather import gather
    from ops.monitoring.report.page import html
    from ops.project import must_exist, open_project
    from ops.releases.situation import must_run

    if not 1 <= days <= MOST_DAYS:
        raise UsageProblem(f"--days {days} cannot be reported", f"it must be from 1 to {MOST_DAYS}", "inv report --days 7")
    project = open_project()
    path = files.destination(output or f"report-{project.name}-{datetime.now(UTC):%Y-%m-%d}.html", overwrite=overwrite)
    began = time.monotonic()
    text = html(gather(must_run(must_exist(project)), days))
    try:
        files.write(path, text)
    except OSError as problem:
        raise OpsError(
            f"cannot write {path}", str(problem.strerror), "name another file: inv report --output FILE"
        ) from problem
    show.out.print(f"wrote {path} ({len(text) >> 10} KB) in {time.monotonic() - began:.1f} s")
