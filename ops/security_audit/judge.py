"""Facts and accepted findings -> one result for each control, and the percentage that passed. Pure.

config/audit/exceptions.yaml accepts findings until a day. An exception that has expired, that accepts nothing or that is
incomplete is itself a finding, which cannot be accepted.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import date

import yaml

from ops.core.errors import UsageProblem, did_you_mean
from ops.security_audit.controls import CONTROLS
from ops.security_audit.controls.control import Control, Finding
from ops.security_audit.facts import Facts

PASSED, ACCEPTED, FAILED, NOT_CHECKED = "passed", "accepted", "failed", "not checked"
FILE = "config/audit/exceptions.yaml"
KEYS = ("control", "where", "subjects", "reason", "owner", "until")
LEAST_WORDS = 5
"""Of a reason: a shorter one cannot be reviewed."""
LONGEST_DAYS = 400
"""A year and a month: a yearly review is in time."""
EXCEPTIONS = Control(
    "9.9", "All exceptions are valid, and needed",
    why="An exception that outlives its reason hides a later finding.",
    advice=f"renew or remove it, in {FILE}", find=lambda facts: iter(()),
)  # fmt: skip


@dataclass(frozen=True)
class Accepted:
    """Accepted findings of one control at one place: exactly these subjects, until the end of that day."""

    control: str
    where: str
    subjects: tuple[str, ...]
    reason: str
    owner: str
    """A role, which remains when its holder leaves."""
    until: date

    def __str__(self) -> str:
        return f"{self.control} {self.where}"


def parse_exceptions(text: str, controls: Iterable[str]) -> tuple[Accepted, ...]:
    """Raises UsageProblem for an entry that is incomplete or names something unknown."""
    return tuple(
        _accepted(f"{FILE}: entry {number}", entry, controls) for number, entry in enumerate(yaml.safe_load(text) or [], 1)
    )


def _accepted(where: str, entry: object, controls: Iterable[str]) -> Accepted:
    def wrong(what: str, why: str) -> UsageProblem:
        return UsageProblem(f"{where}{what}", why, f"correct {FILE}")

    if not isinstance(entry, Mapping):
        raise wrong("", f"it must have the keys {', '.join(KEYS)}")
    if unknown := next((str(key) for key in entry if key not in KEYS), ""):
        raise wrong(f": {unknown} is not known", did_you_mean(unknown, KEYS))
    if missing := [key for key in KEYS if not entry.get(key)]:
        raise wrong(f" lacks {', '.join(missing)}", "each finding is accepted by a role, for a reason, until a day")
    control, where_found, subjects, reason, owner, until = (entry[key] for key in KEYS)
    if str(control) not in controls:
        raise wrong(f": there is no control {control}", "inv audit lists them")
    if not isinstance(until, date):
        raise wrong(f": until is {until!r}", "it must be a day such as 2027-06-30")
    if not isinstance(subjects, list):
        raise wrong(": subjects is no list", "it lists each finding, as inv audit --json does")
    return Accepted(str(control), str(where_found), tuple(map(str, subjects)), str(reason), str(owner), until)


def flaws(accepted: Accepted, today: date) -> str:
    """Why an exception is invalid; empty where it is valid."""
    if accepted.until < today:
        return f"it expired on {accepted.until}"
    if (accepted.until - today).days > LONGEST_DAYS:
        return f"it is valid until {accepted.until}, longer than {LONGEST_DAYS} days"
    if len(accepted.reason.split()) < LEAST_WORDS:
        return "its reason cannot be reviewed: state in a sentence what needs it"
    return ""


@dataclass(frozen=True)
class Result:
    """The result of one control. `open`: findings without an exception; `accepted`: the others, each with its exception."""

    control: Control
    open: tuple[Finding, ...] = ()
    accepted: tuple[tuple[Finding, Accepted], ...] = ()
    not_checked: str = ""

    @property
    def outcome(self) -> str:
        if self.not_checked:
            return NOT_CHECKED
        if self.open:
            return FAILED
        return ACCEPTED if self.accepted else PASSED


@dataclass(frozen=True)
class Report:
    """All results, in the order of their numbers."""

    results: tuple[Result, ...]

    def count(self, outcome: str) -> int:
        return sum(result.outcome == outcome for result in self.results)

    @property
    def findings(self) -> tuple[tuple[Control, Finding], ...]:
        """Those without an exception."""
        return tuple((result.control, found) for result in self.results for found in result.open)

    @property
    def share(self) -> float:
        """Percentage of the checked controls that passed, including those with accepted findings."""
        checked = len(self.results) - self.count(NOT_CHECKED)
        return 100.0 * (self.count(PASSED) + self.count(ACCEPTED)) / checked if checked else 0.0


def judge(facts: Facts, accepted: Sequence[Accepted], today: date) -> Report:
    """One result for each control. `today`: the day for which exceptions are checked."""
    valid = [one for one in accepted if not flaws(one, today)]
    results = [_result(control, facts, valid) for control in sorted(CONTROLS.values(), key=_order)]
    used = {(by, found.subject) for result in results for found, by in result.accepted}
    # What was not checked says nothing about the exceptions for it.
    unread = {result.control.number for result in results if result.not_checked}
    stopped = set(facts.stack.slots()) - set(facts.containers)
    unused = (
        Finding(str(one), subject, f"no finding matches: {subject}")
        for one in valid if one.control not in unread and one.where not in stopped
        for subject in one.subjects if (one, subject) not in used
    )  # fmt: skip
    invalid = (Finding(str(one), "exception", why) for one in accepted if (why := flaws(one, today)))
    return Report((*results, Result(EXCEPTIONS, open=(*invalid, *unused))))


def _order(control: Control) -> tuple[int, ...]:
    return tuple(map(int, control.number.split(".")))


def _result(control: Control, facts: Facts, valid: Sequence[Accepted]) -> Result:
    if why := facts.unread.get(control.part, ""):
        return Result(control, not_checked=why)
    open_findings: list[Finding] = []
    accepted: list[tuple[Finding, Accepted]] = []
    for one in dict.fromkeys(control.find(facts)):
        matching = (by for by in valid if (by.control, by.where) == (control.number, one.where) and one.subject in by.subjects)
        if by := next(matching, None):
            accepted.append((one, by))
        else:
            open_findings.append(one)
    return Result(control, tuple(open_findings), tuple(accepted))
