"""inv audit: the security audit of the running stack."""

from __future__ import annotations

import time
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING

from invoke import Context

from ops.cli.command import print_json, verb
from ops.core.errors import OpsError

if TYPE_CHECKING:
    from ops.project import Project
    from ops.security_audit.judge import Report

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

    from ops.core.files import destination
    from ops.releases.situation import open_running
    from ops.security_audit.last import keep
    from ops.security_audit.probe.gather import ADVISORIES, PARTS, audited
    from ops.security_audit.report import as_json

    # Before the audit rather than after it.
    page = destination(report, overwrite=overwrite) if report is not None else None
    began = time.monotonic()
    project = open_running()
    found = audited(project, PARTS if advisories else PARTS - ADVISORIES)
    seconds = time.monotonic() - began
    keep(project.state, as_json(found, seconds), datetime.now(UTC))
    if json:
        print_json(as_json(found, seconds))
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
