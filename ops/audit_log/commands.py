"""audit.log, audit.verify: who changed this host, and whether that record is unaltered."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import TYPE_CHECKING, Any

from invoke import Context

from ops.cli.command import print_json, verb
from ops.core.errors import OpsError, UsageProblem

if TYPE_CHECKING:
    from rich.table import Table

    from ops.audit_log.entries import Verdict

LIMIT = 20
_STYLE = {"done": "green", "under way": "cyan", "interrupted": "yellow", "refused": "yellow"}


def table(changes: Sequence[Mapping[str, Any]]) -> Table:
    """Changes, the newest last."""
    from rich.markup import escape
    from rich.table import Table

    drawn = Table(box=None, pad_edge=False, padding=(0, 2, 0, 0))
    for heading in ("WHEN", "WHO", "VERB", "OUTCOME"):
        drawn.add_column(heading, no_wrap=True)
    drawn.add_column("SECONDS", justify="right", no_wrap=True)
    drawn.add_column("PLAN", no_wrap=True)
    drawn.add_column("WHY", overflow="fold")
    for change in changes:
        began = datetime.fromisoformat(change.get("began", change["at"]))
        outcome = change["outcome"]
        style = _STYLE.get(outcome, "red")
        drawn.add_row(
            f"{began:%Y-%m-%d %H:%M:%S}", escape(change["who"]), escape(change["verb"]), f"[{style}]{outcome}[/{style}]",
            f"{change['seconds']:.1f}" if "seconds" in change else "–", change["plan"][:10], escape(change.get("why", "")),
        )  # fmt: skip
    return drawn


def described(verdict: Verdict) -> str:
    """One line for an unbroken audit log."""
    if not verdict.entries:
        return "0 entries: nothing has been changed yet"
    return f"{verdict.entries} entries, unbroken since {verdict.since}"


def broken(verdict: Verdict) -> OpsError:
    """The error of `audit.verify`, each finding with the number of its line."""
    findings = "; ".join(f"{place} {what}" for place, what in verdict.findings)
    return OpsError(
        f"the audit log is broken, first at {verdict.findings[0][0]}", findings,
        "inv logs audit --since 14d shows the copies in the log store; docs/how-to/audit.md says what can be concluded",
    )  # fmt: skip


@verb(changes=False, help={
    "json": "print a list for other programs, with every field",
    "limit": f"how many changes, the newest (default {LIMIT})",
    "verb": "only changes by this command, for example deploy",
})  # fmt: skip
def log(c: Context, json: bool = False, limit: int = LIMIT, verb: str | None = None) -> None:
    """List who changed this host, when and how it ended."""

    from ops.audit_log import record as audit
    from ops.cli import show
    from ops.project import open_project

    if limit < 1:
        raise UsageProblem(f"--limit {limit} shows nothing", "it must be 1 or more", f"inv audit.log --limit {LIMIT}")
    state = open_project().state
    found = [change for change in audit.changes(state) if verb in (None, change["verb"])][-limit:]
    if json:
        print_json(found)
        return
    show.out.print(table(found) if found else f"no change by inv {verb}" if verb else "nothing has been changed yet")
    if audit.verify(state).findings:
        show.err.print("[red]this record is not whole: inv audit.verify[/red]")


@verb(changes=False)
def verify(c: Context) -> None:
    """Verify that no line of the audit log was tampered with.

    Finds a line that was removed, altered, inserted or moved. Exit code 1 where one was.
    """
    from ops.audit_log import record as audit
    from ops.cli import show
    from ops.project import open_project

    verdict = audit.verify(open_project().state)
    for note in verdict.notes:
        show.out.print(f"[dim]note: {note}[/dim]")
    if verdict.findings:
        raise broken(verdict)
    show.out.print(described(verdict))
