"""inv status: the truth on one screen; inv open: where everything is, and how to log in for the first time."""

from __future__ import annotations

import time
from dataclasses import asdict, replace
from datetime import datetime
from typing import TYPE_CHECKING

from invoke import Context

from ops.cli.command import print_json, verb
from ops.core.amounts import age
from ops.core.errors import HostLacks, OpsError, UsageProblem
from ops.status.facts import STYLE, Row, collect, title

if TYPE_CHECKING:
    from rich.console import Group
    from rich.table import Table

    from ops.project import Project

WIDE_ENOUGH = 100
"""Columns below which the image is left out; --json has it."""
OPERATOR, OPERATOR_PASSWORD, ADMIN_PASSWORD = "operator", "operator-password", "keycloak-admin"


def _age(since: str) -> str:
    return age(time.time() - datetime.fromisoformat(since).timestamp()) if since else "–"


def table(project: Project, rows: list[Row]) -> Table:
    from rich.markup import escape
    from rich.table import Table
    from rich.text import Text

    from ops.cli import show
    from ops.core.journal import under_way

    drawn = Table(box=None, pad_edge=False, padding=(0, 2, 0, 0), title_justify="left", caption_justify="left")
    drawn.title = title(project, rows)
    if at_work := under_way(project.state):
        drawn.caption = Text(at_work.described(time.time()), style="yellow")
    for heading in ("SERVICE", "HEALTH", "UP"):
        drawn.add_column(heading, no_wrap=True)
    for heading in ("RESTARTS", "CPU", "MEMORY", "OF"):
        drawn.add_column(heading, justify="right", no_wrap=True)
    wide = show.out.width >= WIDE_ENOUGH
    if wide:
        drawn.add_column("IMAGE", no_wrap=True)
    for row in rows:
        shown = row.health if row.health != "none" else row.state
        drawn.add_row(
            row.replica, Text(shown, style=STYLE[row.health]), _age(row.since), str(row.restarts),
            "–" if row.cpu_percent is None else f"{row.cpu_percent:.1f} %",
            "–" if row.memory_bytes is None else f"{row.memory_bytes >> 20} MB", f"{row.memory_limit_bytes >> 20} MB",
            *((escape(row.image.rpartition("/")[2]),) if wide else ()),
        )  # fmt: skip
    return drawn


def screen(project: Project, rows: list[Row] | None = None) -> Group:
    """What was done last, the table, and below it every reason for which something is not healthy, and alerts that fire."""
    from rich.console import Group
    from rich.text import Text

    from ops.core.journal import under_way
    from ops.engines.engine import LOST
    from ops.monitoring.api import Monitoring
    from ops.releases.headline import headline
    from ops.releases.situation import situation
    from ops.secrets.backup_keys import exported_at
    from ops.status.firing import ANSWER_SECONDS, lines

    rows = collect(project) if rows is None else rows
    head = [Text(line.text, style=line.style) for line in headline(situation(project.state))]
    if at_work := under_way(project.state):
        rows = [replace(row, reason=f"in change by inv {at_work.verb}") if row.state == LOST else row for row in rows]
    reasons = [Text(f"{row.replica}: {row.reason}", style=STYLE[row.health]) for row in rows if row.reason]
    if any(row.service == "backup" for row in rows) and not exported_at(project.state):
        reasons.append(Text("the keys of the backups were never exported: inv backup.key --export FILE", style="yellow"))
    if any(row.service == "nginx" and row.state == "running" for row in rows):
        said = lines(Monitoring.of(project, ANSWER_SECONDS))
        reasons += [Text(line.text, style=line.style, no_wrap=True, overflow="ellipsis") for line in said]
    total = sum(row.memory_bytes or 0 for row in rows)
    cpu = sum(row.cpu_percent or 0 for row in rows)
    return Group(*head, table(project, rows), Text(f"in all: {cpu:.1f} % of a core, {total >> 20} MB", style="dim"), *reasons)


@verb(changes=False, help={
    "json": "print a list for other programs",
    "watch": "keep the screen current until interrupted",
    "check": "exit with 1 where a container is not healthy or the stack is stopped, for scripts",
})  # fmt: skip
def status(c: Context, json: bool = False, watch: bool = False, check: bool = False) -> None:
    """Show every service on one screen.

    Health, restarts, CPU, memory of its limit, and why not.
    """
    from ops.cli import show
    from ops.project import RUNS, must_exist, on_cluster, open_project

    project = open_project(cluster=RUNS)
    if project.cluster:
        if watch:
            raise UsageProblem("--watch does not work on a cluster yet", "the screen is of one host", "watch inv status")
        on_cluster().status(project, as_json=json, check=check)
        return
    must_exist(project)
    if watch:
        from ops.status.watch import keep_current

        keep_current(project)
        return
    rows = collect(project)
    if json:
        print_json([asdict(row) for row in rows])
    else:
        show.out.print(screen(project, rows))
    if check:
        _refuse_ill(rows)


def _refuse_ill(rows: list[Row]) -> None:
    """Raises OpsError where something that should run is not healthy."""
    ill = [row for row in rows if row.health not in ("healthy", "absent")]
    if ill:
        raise OpsError(
            f"{len(ill)} of {len(rows)} containers are not healthy",
            "; ".join(f"{row.replica}: {row.reason or row.state}" for row in ill[:3]),
            "inv status; inv start, where the stack was stopped",
        )  # fmt: skip


@verb(
    changes=False,
    name="open",
    help={
        "password": "print the operator's one-time password, and nothing else",
        "json": "print the URLs for other programs",
    },
)
def open_urls(c: Context, password: bool = False, json: bool = False) -> None:
    """Print the URLs and where the first login is kept."""
    from rich.table import Table

    from ops.cli import show
    from ops.project import must_exist, open_project
    from ops.stack.compose import placeholders
    from ops.store.versions import newest, path_of

    project = must_exist(open_project())
    values = placeholders(project.settings, project.ports)
    if not newest(project.state, OPERATOR_PASSWORD) or not newest(project.state, ADMIN_PASSWORD):
        raise HostLacks(
            "there is no first login yet", f"project {project.name} has not been deployed on this host", "inv deploy"
        )
    kept, admin = (path_of(project.state, name, newest(project.state, name)) for name in (OPERATOR_PASSWORD, ADMIN_PASSWORD))
    if password:
        _refuse_spent(project)
        print(kept.read_text())
        return
    site, ops = values["CC03_PUBLIC_URL"], values["CC03_OPS_URL"]
    urls = {
        "site": f"{site}/",
        "CA certificate": f"http://{project.settings.domain}:{project.ports['http']}/ca.pem",
        **({"operator's pages, by login": f"{values['CC03_PAGES_URL']}/"} if project.settings.pages.public else {}),
        "operator's pages": f"{ops}/",
        "Prometheus": f"{ops}/prometheus/",
        "Alertmanager": f"{ops}/alertmanager/",
        "logs": f"{ops}/logs/",
        "Keycloak administration": f"{ops}/auth/admin/",
    }
    if json:
        print_json({**urls, "first_login": {"user": "operator", "password_file": str(kept)}})
        return
    drawn = Table.grid(padding=(0, 3))
    for name, url in urls.items():
        drawn.add_row(name, url)
    if port := project.ports.get("proxy_protocol"):
        drawn.add_row("for load balancers", f"port {port}, TLS after a header of the PROXY protocol")
    drawn.add_row("first login", f"user operator, one-time password in {kept} (inv open --password)")
    drawn.add_row("Keycloak's admin", f"user admin, password in {admin}")
    show.out.print(drawn)
    tunnel = "ssh -L {0}:127.0.0.1:{0} HOST".format(project.ports["ops"])
    show.out.print(f"[dim]localhost answers on this host only; from elsewhere: {tunnel}[/dim]")


def _refuse_spent(project: Project) -> None:
    """Raises OpsError where the one-time password is not valid any more. A Keycloak that does not answer cannot say so."""
    from ops.cli import show
    from ops.keycloak.users.users import Users

    try:
        why = Users.of(project).first_password_spent(OPERATOR)
    except OpsError as problem:
        show.err.print(f"[yellow]note:[/yellow] Keycloak did not say whether it is still valid: {problem.why}")
        return
    if why:
        raise OpsError("the one-time password is not valid any more", why, f"inv keycloak.user reset {OPERATOR}")
