"""inv trace: the way of one request through the services, or the requests that were traced."""

from __future__ import annotations

import json as jsonlib
from dataclasses import asdict
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

from invoke import Context

from ops.cli.command import verb
from ops.core.errors import UsageProblem

if TYPE_CHECKING:
    from ops.monitoring.api import Monitoring
    from ops.traces.waterfall import Trace

MOST_ROWS = 5000
LIMIT = 20


@verb(
    changes=False,
    positional=["request"],
    help={
        "request": "request id: the header X-Request-ID of a response, or what an error page shows; none lists traced requests",
        "since": "list requests from then on: an age (90s, 15m, 4h, 2d) or a time (2026-01-31T14:00)",
        "failed": "list requests that were answered by 5xx only",
        "slower": "list requests only that took longer than this many milliseconds",
        "json": "one JSON object a line",
    },
)
def trace(
    c: Context, request: str = "", since: str = "1h", failed: bool = False, slower: int | None = None, json: bool = False
) -> None:
    """Show the way of a request through the services.

    Each operation with its start, duration and status, and the log lines of the request.
    """
    from ops.monitoring.api import Monitoring
    from ops.project import must_exist, open_project
    from ops.traces.waterfall import TRACE_ID, of_trace, trace_of

    project = open_project()
    must_exist(project)
    store = Monitoring.of(project)
    if not request:
        _list(store, since, failed, slower, json)
        return
    if not TRACE_ID.fullmatch(request):
        raise UsageProblem(f"{request} is no request id", "it must have 32 hexadecimal digits", "inv trace")
    found = trace_of(request, store.logs(of_trace(request), MOST_ROWS))
    if not found.spans and not found.lines:
        raise UsageProblem(
            f"there is no record of the request {request}",
            "it is older than the log store keeps lines (retention.logs), or its lines arrive within some seconds", "inv trace",
        )  # fmt: skip
    if json:
        for one in found.spans:
            print(jsonlib.dumps({"kind": "span", **asdict(one)}))
        for row in found.lines:
            print(jsonlib.dumps(row))
    else:
        _show(found)


def _show(found: Trace) -> None:
    from rich.markup import escape

    from ops.cli import show
    from ops.logs.query import message
    from ops.traces.waterfall import bar

    table = show.table("SERVICE", "OPERATION", "START", "DURATION", "STATUS", "")
    for one in found.spans:
        style = "red" if one.failed else ""
        table.add_row(
            one.service, escape("  " * one.depth + one.name), f"{(one.start - found.start) * 1000:.1f} ms",
            f"{one.duration:.1f} ms", escape(one.status), bar(one, found), style=style,
        )  # fmt: skip
    show.out.print(table)
    if not found.sampled:
        show.err.print("[dim]this request was not sampled: what its services did is not recorded (traces.sample)[/dim]")
    if found.lines:
        show.out.print()
    for row in found.lines:
        replica = f"-{row['replica']}" if row.get("replica") else ""
        show.out.print(
            f"[dim]{escape(str(row['_time'])[:23])}[/dim] {escape(str(row['service']) + replica):<14} "
            f"{escape(str(row.get('level', ''))):<6}{escape(message(row))}"
        )


def _list(store: Monitoring, since: str, failed: bool, slower: int | None, as_json: bool) -> None:
    from rich.markup import escape

    from ops.cli import show
    from ops.logs.query import time_of
    from ops.traces.waterfall import listed

    begin = time_of("inv trace --since", since, datetime.now(UTC))
    query = listed(begin, failed=failed, slower=None if slower is None else slower / 1000, limit=LIMIT)
    rows: list[Any] = list(store.logs(query, LIMIT))
    if as_json:
        for row in rows:
            print(jsonlib.dumps(row))
        return
    table = show.table("TIME", "REQUEST", "STATUS", "DURATION", "OPERATION")
    for row in rows:
        table.add_row(
            str(row["_time"])[:19], str(row.get("request_id", "")), str(row.get("status", "")),
            f"{float(row.get('request_time') or 0) * 1000:.0f} ms", escape(str(row.get("_msg", ""))),
        )  # fmt: skip
    show.out.print(table)
    show.err.print(f"[dim]the last {LIMIT} traced requests at most; inv trace REQUEST shows one[/dim]")
