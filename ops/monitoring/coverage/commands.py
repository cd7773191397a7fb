"""inv coverage: how completely each service is monitored, on the live stack."""

from __future__ import annotations

from typing import TYPE_CHECKING

from invoke import Context

from ops.cli.command import print_json, verb
from ops.core.errors import OpsError

if TYPE_CHECKING:
    from rich.table import Table

    from ops.monitoring.coverage.matrix import Matrix


@verb(changes=False, help={
    "json": "print what covers each cell, for other programs",
    "check": "exit with 1 where a cell is empty, for scripts",
})  # fmt: skip
def coverage(c: Context, json: bool = False, check: bool = False) -> None:
    """Show which service lacks which kind of monitoring.

    Asks the running Prometheus, Alertmanager and log store; rules count only where their tests and runbooks exist.
    """
    from ops.cli import show
    from ops.monitoring.coverage.facts import gather, services
    from ops.monitoring.coverage.matrix import gaps, matrix, percent
    from ops.releases.situation import open_running

    project = open_running()
    found = matrix(services(project), gather(project))
    empty = gaps(found)
    if json:
        print_json({"percent": percent(found), "services": found, "empty": empty})
    else:
        show.out.print(table(found))
        show.out.print(f"{percent(found):.1f} % of {sum(map(len, found.values()))} cells are covered")
        for service, column in empty:
            show.out.print(f"[red]empty:[/red] {service}, {column}")
    if check and empty:
        raise OpsError(
            f"monitoring covers {percent(found):.1f} %, not 100 %", ", ".join(f"{one} lacks {what}" for one, what in empty[:6]),
            "inv coverage; docs/how-to/coverage.md says what each column takes",
        )  # fmt: skip


def table(found: Matrix) -> Table:
    """A number is how many there are; a dash is an empty cell."""
    from rich.text import Text

    from ops.cli import show
    from ops.monitoring.coverage.matrix import COLUMNS

    drawn = show.table(padding=(0, 1, 0, 0))
    drawn.add_column("SERVICE", no_wrap=True)
    for column in COLUMNS:
        drawn.add_column(column.upper()[:6], justify="right", no_wrap=True)
    for service, row in found.items():
        drawn.add_row(service, *(Text(_number(cell)) if cell else Text("–", style="red") for cell in row.values()))
    return drawn


def _number(cell: str) -> str:
    """Of what covers a cell: a count, or names with commas between them."""
    return cell if cell.isdigit() else str(cell.count(",") + 1)
