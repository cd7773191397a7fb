"""inv logs: what the services said, from the log store; from the containers' own files where the store does not answer."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from contextlib import closing
from dataclasses import replace
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

from invoke import Context

from ops.cli.command import verb
from ops.core.errors import UsageProblem

if TYPE_CHECKING:
    from ops.logs.query import Asked
    from ops.project import Project

LIMIT = 1000
MOST_WORDS = 500
STORE_PORT = 9427
CONNECT_SECONDS, ANSWER_SECONDS = 3.0, 30.0
OF_THE_COMMANDS = ("audit", "hooks")
"""What the commands themselves write to the log store, under names like those of services."""
_STYLE = {"error": "red", "fatal": "bold red", "warn": "yellow", "debug": "dim"}


class StoreAway(Exception):
    """The log store does not answer."""


class StoreRefuses(Exception):
    """The log store cannot read the question; in its own words."""


def _rows(project: Project, path: str, query: str, **more: str) -> Iterator[Mapping[str, Any]]:
    """Rows of the log store, as they arrive. Raises StoreAway where it does not answer, StoreRefuses for a bad question."""
    import http.client
    from urllib.parse import urlencode

    connection = http.client.HTTPConnection("127.0.0.1", STORE_PORT)
    try:
        with closing(connection):
            connection.sock = project.engine.connect("logs", STORE_PORT, CONNECT_SECONDS)
            connection.sock.settimeout(ANSWER_SECONDS if path == "query" else None)
            headers = {"Content-Type": "application/x-www-form-urlencoded"}
            connection.request("POST", f"/select/logsql/{path}", urlencode({"query": query, **more}), headers)
            answer = connection.getresponse()
            if answer.status == http.client.BAD_REQUEST:
                raise StoreRefuses(answer.read(MOST_WORDS).decode(errors="replace").strip())
            if answer.status != http.client.OK:
                raise StoreAway
            for line in answer:
                if line.strip():
                    yield json.loads(line)
    except (OSError, http.client.HTTPException) as problem:
        raise StoreAway from problem


def _show(row: Mapping[str, Any]) -> None:
    from rich.markup import escape

    from ops.cli import show
    from ops.logs.query import message

    replica = f"-{row['replica']}" if row.get("replica") else ""
    level = str(row.get("level", ""))
    style = _STYLE.get(level)
    text = escape(message(row))
    request = f" [dim]{escape(str(row['request_id']))}[/dim]" if row.get("request_id") else ""
    shown = f"[{style}]{text}[/{style}]" if style else text
    show.out.print(
        f"[dim]{escape(str(row['_time'])[:23])}[/dim] {escape(str(row['service']) + replica):<14} {level:<6}{shown}{request}"
    )


@verb(
    changes=False,
    positional=["service"],
    help={
        "service": "only these, with commas between them; audit and hooks are the commands' own",
        "since": "from when on: an age (90s, 15m, 4h, 2d) or a time (2026-01-31T14:00); default 15m",
        "until": "to when, likewise; default now",
        "level": "only lines of this level and graver ones: debug, info, warn, error, fatal",
        "grep": "only lines that match this regular expression",
        "request-id": "only lines of this request, across all services",
        "query": "only lines that match this condition in LogsQL, such as status:>=500",
        "limit": "the last lines that are shown",
        "follow": "continue with new lines until interrupted",
        "json": "one JSON object a line, with every field",
    },
)
def logs(  # noqa: PLR0913, PLR0917  (each one is an option)
    c: Context, service: str = "", since: str | None = None, until: str | None = None, level: str | None = None,
    grep: str | None = None, request_id: str | None = None, query: str | None = None, limit: int = LIMIT,
    follow: bool = False, json: bool = False,
) -> None:  # fmt: skip
    """Show log lines of services.

    By service, time, level, pattern or request id; --follow shows new lines as they come.
    """
    from ops.logs.query import live_query, no_pattern, query_of, read
    from ops.project import RUNS, known_service, must_exist, on_cluster, open_project

    project = open_project(cluster=RUNS)
    asked = replace(read(service, since, until, level, grep, request_id, datetime.now(UTC)), logsql=query or "")
    for name in asked.services:
        if name not in OF_THE_COMMANDS:
            known_service(project, name)
    if limit < 1 or (follow and until):
        raise UsageProblem(
            "these lines cannot be shown", "--limit is below 1, or --follow is given an end (--until)", "inv --help logs"
        )
    if project.cluster:
        if follow:
            raise UsageProblem("--follow does not work on a cluster yet", "there is no log store", "kubectl logs --follow POD")
        _print_last(on_cluster().log_rows(project, asked), limit, asked, json)
        return
    must_exist(project)
    try:
        _print_last(list(_rows(project, "query", query_of(asked), limit=str(limit + 1))), limit, asked, json)
        for row in _rows(project, "tail", live_query(asked)) if follow else ():
            _print(row, json)
    except StoreRefuses as problem:
        raise no_pattern(asked, str(problem)) from problem
    except StoreAway:
        if asked.logsql:
            raise UsageProblem(
                "--query cannot be answered",
                "the log store does not answer; files are not searched by LogsQL",
                "inv status",
            ) from None
        _from_files(project, asked, limit, follow, json)


def _print_last(rows: list[Mapping[str, Any]], limit: int, asked: Asked, as_json: bool) -> None:
    """The newest rows, the oldest of them first, and a word on what is not shown."""
    from ops.cli import show

    for row in sorted(rows, key=lambda row: str(row["_time"]))[-limit:]:
        _print(row, as_json)
    if not rows:
        show.err.print(
            f"[dim]no line since {asked.since.astimezone(UTC):%Y-%m-%d %H:%M:%S} UTC; further back: inv logs --since 1d[/dim]"
        )
    elif len(rows) > limit:
        show.err.print(f"[dim]only the last {limit} lines; --limit shows more, --since and --grep narrow the search[/dim]")


def _print(row: Mapping[str, Any], as_json: bool) -> None:
    if as_json:
        print(json.dumps(row), flush=True)
    else:
        _show(row)


def _from_files(project: Project, asked: Asked, limit: int, follow: bool, as_json: bool) -> None:
    """The store is away: the same question to what the engine has kept of the containers' lines."""
    from ops.cli import show
    from ops.logs.query import concerns, rows

    def wanted(log: str) -> bool:
        return concerns(asked, log)

    show.err.print("[yellow]the log store does not answer; these lines are from the containers' own files[/yellow]")
    _print_last(list(rows(asked, project.engine.logs(wanted))), limit, asked, as_json)
    for row in rows(asked, project.engine.follow_logs(wanted)) if follow else ():
        _print(row, as_json)
