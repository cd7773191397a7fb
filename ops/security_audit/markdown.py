"""The report as a page to hand to an auditor. Pure."""

from __future__ import annotations

from collections.abc import Iterator

from ops.security_audit.controls.control import SECTIONS
from ops.security_audit.judge import ACCEPTED, FAILED, NOT_CHECKED, PASSED, Report, Result


def escaped(text: str) -> str:
    return text.replace("|", "\\|").replace("\n", " ")


def share_told(report: Report) -> str:
    """How many passed, in one sentence. What was not checked is named, and counts for neither side."""
    checked = len(report.results) - report.count(NOT_CHECKED)
    told = f"{report.count(PASSED) + report.count(ACCEPTED)} of {checked} controls passed ({report.share:.0f} %)"
    if report.count(ACCEPTED):
        told += f", {report.count(ACCEPTED)} of them with accepted findings"
    return told + (f"; {report.count(NOT_CHECKED)} not checked" if report.count(NOT_CHECKED) else "")


def page(report: Report, *, project: str, host: str, at: str, commit: str, seconds: float) -> str:
    """The whole page. `at`: when it was looked, in UTC; `commit`: of the checkout that says what is declared."""
    lines = [
        f"# Audit of {project}", "",
        f"Host {host}, {at} UTC, declared by commit {commit}. It took {seconds:.1f} s. {share_told(report)}.", "",
    ]  # fmt: skip
    if report.findings:
        lines += ["## Findings", "", *_findings(report), ""]
    accepted = [one for one in report.results if one.accepted]
    if accepted:
        lines += ["## Accepted findings", "", *_accepted(accepted), ""]
    unread = [one for one in report.results if one.not_checked]
    if unread:
        lines += ["## Not checked", "", "| No. | Control | Why not |", "| --- | --- | --- |"]
        lines += [f"| {one.control.number} | {one.control.title} | {escaped(one.not_checked)} |" for one in unread]
        lines.append("")
    lines += ["## All controls", ""]
    for number, section in SECTIONS.items():
        lines += [f"### {number} {section}", "", "| No. | Control | Result | Why it matters |", "| --- | --- | --- | --- |"]
        lines += [_row(one) for one in report.results if one.control.number.partition(".")[0] == number]
        lines.append("")
    return "\n".join(lines).rstrip() + "\n"


def _row(one: Result) -> str:
    outcome = f"**{one.outcome}**" if one.outcome in (FAILED, NOT_CHECKED) else one.outcome
    return f"| {one.control.number} | {escaped(one.control.title)} | {outcome} | {escaped(one.control.why)} |"


def _findings(report: Report) -> Iterator[str]:
    yield from ("| No. | Where | What | Cure |", "| --- | --- | --- | --- |")
    for control, found in report.findings:
        yield f"| {control.number} | {escaped(found.where)} | {escaped(found.what)} | {escaped(control.cure)} |"


def _accepted(results: list[Result]) -> Iterator[str]:
    yield from ("| No. | Where | What | Reason | Owner | Until |", "| --- | --- | --- | --- | --- | --- |")
    for result in results:
        for found, by in result.accepted:
            cells = (result.control.number, found.where, found.what, by.reason, by.owner, str(by.until))
            yield "| " + " | ".join(map(escaped, cells)) + " |"
