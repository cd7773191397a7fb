"""inv keycloak: what is wrong with Keycloak, by cause, and what repairs it. Changes nothing."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING

from invoke import Context

from ops.cli.command import print_json, verb
from ops.core.errors import HostLacks, OpsError

if TYPE_CHECKING:
    from ops.keycloak.failures.failure import Diagnosis, Finding

_COLOUR = {"down": "red", "degraded": "yellow", "risk": "cyan"}


@verb(changes=False, default=True, help={"json": "print the diagnosis for other programs"})
def diagnose(c: Context, json: bool = False) -> None:
    """Diagnose Keycloak; changes nothing.

    Container, image, database, host name, realm, accounts: causes first, each with its repair.
    """
    from ops.keycloak.failures import diagnose as decide
    from ops.keycloak.failures.diagnose import as_json
    from ops.keycloak.probe.gather import look
    from ops.releases.situation import open_running

    began = time.monotonic()
    diagnosis = decide.diagnose(look(open_running()))
    seconds = time.monotonic() - began
    if json:
        print_json(as_json(diagnosis, seconds))
    else:
        _show(diagnosis, seconds)
    if diagnosis.findings:
        first = diagnosis.findings[0]
        next_step = f"inv keycloak.fix repairs it: {first.repair}" if first.repairable else first.repair
        raise OpsError(f"{len(diagnosis.findings)} finding(s)", f"{first.title}: {first.means}", next_step)
    if diagnosis.unread:
        raise HostLacks("Keycloak could not be inspected completely", diagnosis.unread[0], "inv status; then run it again")


def _show(diagnosis: Diagnosis, seconds: float) -> None:
    from rich.markup import escape

    from ops.cli import show

    for finding in diagnosis.findings:
        _show_finding(finding)
    for note in diagnosis.notes:
        show.out.print(f"[dim]note: {escape(note)}[/dim]")
    for unread in diagnosis.unread:
        show.out.print(f"[yellow]not seen:[/yellow] {escape(unread)}")
    number = len(diagnosis.findings)
    told = f"{number} finding{'s' if number > 1 else ''}" if number else "no finding"
    show.out.print(f"{told}, in {seconds:.1f} s")


def _show_finding(finding: Finding) -> None:
    """What it saw, what that means, what repairs it, and what that costs."""
    from rich.markup import escape
    from rich.table import Table

    from ops.cli import show

    sure = "" if finding.certain else " [dim](by the log)[/dim]"
    colour = _COLOUR[finding.severity]
    show.out.print(
        f"[{colour}]{finding.severity}[/{colour}] [bold]{escape(finding.title)}[/bold] [dim]{finding.id}[/dim]{sure}"
    )
    rows = Table.grid(padding=(0, 2))
    rows.add_column(min_width=10)
    rows.add_column(overflow="fold")
    for said in finding.saw:
        rows.add_row("  saw", escape(said))
    rows.add_row("  means", escape(finding.means))
    rows.add_row("  repair", escape(finding.repair) + (" [dim](after a dump)[/dim]" if finding.dump_first else ""))
    rows.add_row("  leaves", escape(finding.untouched))
    rows.add_row("  users", escape(finding.notice))
    if finding.consequences:
        rows.add_row("  explains", ", ".join(finding.consequences))
    show.out.print(rows)
