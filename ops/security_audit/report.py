"""The results of an audit as JSON, and as a Markdown page for an auditor. Pure."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from typing import Any

from ops.security_audit.controls.control import SECTIONS
from ops.security_audit.judge import ACCEPTED, FAILED, NOT_CHECKED, PASSED, Report, Result


def as_json(report: Report, seconds: float) -> Mapping[str, Any]:
    """seconds: duration of the audit."""
    return {
        "passed_percent": round(report.share, 1),
        "seconds": round(seconds, 1),
        "counts": {outcome: report.count(outcome) for outcome in (PASSED, ACCEPTED, FAILED, NOT_CHECKED)},
        "controls": [
            {
                "number": result.control.number, "section": SECTIONS[result.control.number.partition(".")[0]],
                "title": result.control.title, "outcome": result.outcome, "why": result.not_checked,
                "findings": [found._asdict() for found in result.open],
                "accepted": [
                    {**found._asdict(), "reason": by.reason, "owner": by.owner, "until": by.until.isoformat()}
                    for found, by in result.accepted
                ],
            }
            for result in report.results
        ],
    }  # fmt: skip


def summary(report: Report) -> str:
    """How many controls passed, in one sentence. What was not checked counts for neither side."""
    checked = len(report.results) - report.count(NOT_CHECKED)
    text = f"{report.count(PASSED) + report.count(ACCEPTED)} of {checked} controls passed ({report.share:.0f} %)"
    if report.count(ACCEPTED):
        text += f", {report.count(ACCEPTED)} of them with accepted findings"
    return text + (f"; {report.count(NOT_CHECKED)} not checked" if report.count(NOT_CHECKED) else "")


def page(report: Report, *, project: str, host: str, at: str, commit: str, seconds: float) -> str:
    """The Markdown page. at: time of the audit, in UTC. commit: of the checkout, which contains the declarations."""
    findings = [
        (control.number, found.where, found.what, control.advice) for control, found in report.findings
    ]  # fmt: skip
    accepted = [
        (result.control.number, found.where, found.what, by.reason, by.owner, str(by.until))
        for result in report.results for found, by in result.accepted
    ]  # fmt: skip
    unread = [
        (one.control.number, one.control.title, one.not_checked) for one in report.results if one.not_checked
    ]  # fmt: skip
    lines = [
        f"# Audit of {project}", "",
        f"Host {host}, {at} UTC, declared by commit {commit}. It took {seconds:.1f} s. {summary(report)}.", "",
        *_section("## Findings", ("No.", "Where", "Finding", "Advice"), findings),
        *_section("## Accepted findings", ("No.", "Where", "Finding", "Reason", "Owner", "Until"), accepted),
        *_section("## Not checked", ("No.", "Control", "Reason"), unread),
        "## All controls", "",
    ]  # fmt: skip
    for number, section in SECTIONS.items():
        rows = [_row(one) for one in report.results if one.control.number.partition(".")[0] == number]
        lines += _section(f"### {number} {section}", ("No.", "Control", "Result", "Risk"), rows)
    return "\n".join(lines).rstrip() + "\n"


def _row(one: Result) -> tuple[str, ...]:
    outcome = f"**{one.outcome}**" if one.outcome in (FAILED, NOT_CHECKED) else one.outcome
    return one.control.number, one.control.title, outcome, one.control.why


def _section(heading: str, columns: tuple[str, ...], rows: Iterable[tuple[str, ...]]) -> Iterator[str]:
    """A table below a heading; nothing where it would be empty."""
    lines = ["| " + " | ".join(cell.replace("|", "\\|").replace("\n", " ") for cell in row) + " |" for row in rows]
    if lines:
        head = [f"| {' | '.join(columns)} |", f"| {' | '.join('---' for _ in columns)} |"]
        yield from (heading, "", *head, *lines, "")
