"""inv logs: what the services said, from the log store; from the containers' own files where the store does not answer."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from contextlib import closing
from typing import TYPE_CHECKING, Any

from invoke import Context

from ops.verbs.common import known_service, verb

if TYPE_CHECKING:
    from ops.machine.project import Project

LIMIT = 1000
CONNECT_SECONDS, ANSWER_SECONDS = 3.0, 30.0
OF_THE_COMMANDS = ("audit", "hooks")
"""What the commands themselves write to the log store, under names like those of services."""
_STYLE = {"error": "red", "fatal": "bold red", "warn": "yellow", "debug": "dim"}


def _rows(project: Project, path: str, query: str, **more: str) -> Iterator[Mapping[str, Any]]:
    """Rows of the log store, as they arrive. Raises OSError or HTTPException where it does not answer."""
    import http.client
    from urllib.parse import urlencode

    from ops.machine.health import NamedConnection, network_of
    from ops.machine.observe import inspected_containers
    from ops.render import address

    store = inspected_containers(project.host).get("logs")
    if store is None or not store["State"]["Pid"]:
        raise ConnectionError("the log store does not run")
    where, ca = address(project.allocation, "app", "logs"), str(project.state.ca / "root.pem")
    connection = NamedConnection(where, 9428, "logs", ca, timeout=CONNECT_SECONDS)
    with closing(connection):
        # The store is on internal networks only, where the host itself has no address.
        with network_of(store["State"]["Pid"]):
            connection.connect()
        connection.sock.settimeout(ANSWER_SECONDS if path == "query" else None)
        headers = {"Content-Type": "application/x-www-form-urlencoded"}
        connection.request("POST", f"/select/logsql/{path}", urlencode({"query": query, **more}), headers)
        answer = connection.getresponse()
        if answer.status != http.client.OK:
            raise http.client.HTTPException(f"HTTP {answer.status}")
        for line in answer:
            if line.strip():
                yield json.loads(line)


def _show(row: Mapping[str, Any]) -> None:
    from rich.markup import escape

    from ops import show

    replica = f"-{row['replica']}" if row.get("replica") else ""
    level = str(row.get("level", ""))
    style = _STYLE.get(level)
    text = escape(str(row.get("_msg", "")))
    request = f" [dim]{escape(str(row['request_id']))}[/dim]" if row.get("request_id") else ""
    message = f"[{style}]{text}[/{style}]" if style else text
    show.out.print(
        f"[dim]{escape(str(row['_time'])[:23])}[/dim] {escape(str(row['service']) + replica):<14} {level:<6}{message}{request}"
    )


@verb(
    changes=False,
    positional=["service"],
    help={
        "service": "only this service; audit and hooks are the commands' own",
        "since": "how far back: 90s, 15m, 4h, 2d (default 15m)",
        "grep": "only lines that match this regular expression",
        "request-id": "only lines of this request, across all services",
        "follow": "go on with new lines until interrupted",
        "json": "one JSON object a line, with every field",
    },
)
def logs(
    c: Context, service: str = "", since: str | None = None, grep: str | None = None, request_id: str | None = None,
    follow: bool = False, json: bool = False,
) -> None:  # fmt: skip
    """Show log lines of services.

    By service, age, pattern or request id; --follow shows new lines as they come.
    """
    from http.client import HTTPException

    from ops.machine.project import must_exist, open_project
    from ops.plan.logs import query

    project = open_project()
    if service not in OF_THE_COMMANDS:
        known_service(project, service or None)
    must_exist(project)
    asked = query(service or None, since, grep, request_id)
    try:
        for row in sorted(_rows(project, "query", asked, limit=str(LIMIT)), key=lambda row: str(row["_time"])):
            _print(row, json)
        if follow:
            for row in _rows(project, "tail", query(service or None, "1m", grep, request_id).partition(" ")[2] or "*"):
                _print(row, json)
    except (OSError, HTTPException):
        _from_podman(project, service, since, follow)


def _print(row: Mapping[str, Any], as_json: bool) -> None:
    if as_json:
        print(json.dumps(row), flush=True)
    else:
        _show(row)


def _from_podman(project: Project, service: str, since: str | None, follow: bool) -> None:
    """The store is down: what Podman kept of one service's containers, unsorted between replicas and without --grep."""
    from ops import podman, show
    from ops.errors import HostLacks
    from ops.machine.run import become
    from ops.plan.logs import DEFAULT_SINCE
    from ops.render import container_name

    if service not in project.stack.services:
        raise HostLacks(
            "the log store does not answer", "so lines of several services cannot be put in order", "inv logs SERVICE"
        )
    show.err.print("[yellow]the log store does not answer; these are the container's own lines[/yellow]")
    slots = project.stack.services[service].slots()
    if follow:
        argv = podman.logs(container_name(project.name, slots[0]), follow=True, since=since or DEFAULT_SINCE, tail=None)
        become(argv, project.host.environment)
    for slot in slots:
        answer = project.host.run(
            podman.logs(container_name(project.name, slot), follow=False, since=since or DEFAULT_SINCE, tail=LIMIT), ok=(0, 125)
        )  # fmt: skip
        print(answer.stdout + answer.stderr, end="")
