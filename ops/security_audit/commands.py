"""inv audit: the security audit. audit.log, audit.verify: who changed this host, and whether that record is unaltered."""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

from invoke import Context

from ops.cli.command import verb
from ops.core.errors import OpsError, UsageProblem

if TYPE_CHECKING:
    from rich.table import Table

    from ops.audit_log.entries import Verdict
    from ops.project import Project
    from ops.security_audit.judge import Report

LIMIT = 20
_STYLE = {"done": "green", "under way": "cyan", "interrupted": "yellow", "refused": "yellow"}


def table(changes: Sequence[Mapping[str, Any]]) -> Table:
    """Changes as they are shown to people, the newest last."""
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


def told(verdict: Verdict) -> str:
    """One line for an unbroken audit log."""
    if not verdict.entries:
        return "0 entries: nothing has been changed yet"
    return f"{verdict.entries} entries, unbroken since {verdict.since}"


def broken(verdict: Verdict) -> OpsError:
    """What `audit.verify` fails with, each finding under the number of its line."""
    findings = "; ".join(f"{place} {what}" for place, what in verdict.findings)
    return OpsError(
        f"the audit log is broken, first at {verdict.findings[0][0]}", findings,
        "inv logs audit --since 14d shows the copies in the log store; docs/how-to/audit.md says what can be concluded",
    )  # fmt: skip


_OUTCOME = {"passed": "green", "accepted": "cyan", "failed": "red", "not checked": "yellow"}


@verb(changes="report", default=True, help={
    "json": "print the result of every control for other programs",
    "report": "also write it as a Markdown page for an auditor, into this new file",
    "overwrite": "replace the file of --report where it exists",
    "advisories": "also check packages for known vulnerabilities (default; --no-advisories skips it)",
})  # fmt: skip
def walls(
    c: Context, json: bool = False, report: str | None = None, overwrite: bool = False, advisories: bool = True
) -> None:  # fmt: skip
    """Audit the security of the running stack.

    Checks numbered controls of what runs. Exit code 1 on a finding without an exception.
    """
    import json as json_module

    from ops.core.files import destination
    from ops.project import must_exist, open_project
    from ops.releases.situation import must_run
    from ops.security_audit.probe.gather import ADVISORIES, PARTS, audited
    from ops.security_audit.report import as_json

    # Before the audit rather than after it.
    page = destination(report, overwrite=overwrite) if report is not None else None
    began = time.monotonic()
    project = must_run(must_exist(open_project()))
    found = audited(project, PARTS if advisories else PARTS - ADVISORIES)
    seconds = time.monotonic() - began
    if json:
        print(json_module.dumps(as_json(found, seconds), indent=2))
    else:
        _show(found, seconds)
    if page is not None:
        _write_page(project, found, page, seconds)
    if found.findings:
        control, first = found.findings[0]
        raise OpsError(f"{len(found.findings)} finding(s)", f"{control.number} {first.where}: {first.what}", control.advice)


def _write_page(project: Project, found: Report, path: Path, seconds: float) -> None:
    import socket

    from ops.core import files
    from ops.security_audit.report import page
    from ops.stack.checkout import origin

    made_of = origin(project.host.repository)
    text = page(
        found, project=project.name, host=socket.gethostname(), at=f"{datetime.now(UTC):%Y-%m-%d %H:%M}",
        commit=f"{made_of['commit'] or 'unknown'}{' with changes' if made_of['dirty'] else ''}", seconds=seconds,
    )  # fmt: skip
    try:
        files.write(path, text)
    except OSError as problem:
        raise OpsError(f"cannot write {path}", str(problem.strerror), "name another file: inv audit --report FILE") from problem


def _show(found: Report, seconds: float) -> None:
    """A line for each section, every finding, and the percentage that passed."""
    from rich.markup import escape

    from ops.cli import show
    from ops.security_audit.controls.control import SECTIONS
    from ops.security_audit.judge import NOT_CHECKED
    from ops.security_audit.report import summary

    for number, title in SECTIONS.items():
        results = [one for one in found.results if one.control.number.partition(".")[0] == number]
        counts = ", ".join(
            f"[{style}]{amount} {outcome}[/{style}]" for outcome, style in _OUTCOME.items()
            if (amount := sum(one.outcome == outcome for one in results))
        )  # fmt: skip
        show.out.print(f"{number} {title}: {counts}")
        for result in results:
            for one in result.open:
                show.out.print(f"  [red]{result.control.number}[/red] [bold]{escape(one.where)}[/bold] {escape(one.what)}")
            if result.outcome == NOT_CHECKED:
                show.out.print(f"  [yellow]{result.control.number}[/yellow] not checked: {escape(result.not_checked)}")
    show.out.print(f"{summary(found)}, in {seconds:.1f} s")


@verb(changes=False, help={
    "json": "print a list for other programs, with every field",
    "limit": f"how many changes, the newest (default {LIMIT})",
    "verb": "only changes by this command, for example deploy",
})  # fmt: skip
def log(c: Context, json: bool = False, limit: int = LIMIT, verb: str | None = None) -> None:
    """List who changed this host, when and how it ended."""
    import json as json_module

    from ops.audit_log import record as audit
    from ops.cli import show
    from ops.project import open_project

    if limit < 1:
        raise UsageProblem(f"--limit {limit} shows nothing", "it must be 1 or more", f"inv audit.log --limit {LIMIT}")
    state = open_project().state
    found = [change for change in audit.changes(state) if verb in (None, change["verb"])][-limit:]
    if json:
        print(json_module.dumps(found, indent=2))
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
    show.out.print(told(verdict))
