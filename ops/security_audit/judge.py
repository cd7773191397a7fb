"""Facts and accepted exceptions -> one result for each control, and the share that passed. Pure."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import date
from typing import Any

# Each import registers the controls of a section.
from ops.security_audit.controls import containers, declaration, host, http, network, packages, realm, secrets, tls  # noqa: F401
from ops.security_audit.controls.control import CONTROLS, SECTIONS, Control, Found
from ops.security_audit.exceptions import FILE, Accepted, flaws
from ops.security_audit.facts import Facts

PASSED, ACCEPTED, FAILED, NOT_CHECKED = "passed", "accepted", "failed", "not checked"
EXCEPTIONS = "9.9"
"""The control that no exception can be made for: whether the exceptions themselves hold."""


@dataclass(frozen=True)
class Result:
    """How one control came out. `open`: findings that nobody has accepted; `accepted`: the others, each with its exception."""

    control: Control
    open: tuple[Found, ...] = ()
    accepted: tuple[tuple[Found, Accepted], ...] = ()
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
    def findings(self) -> tuple[tuple[Control, Found], ...]:
        """Those that nobody has accepted."""
        return tuple((result.control, found) for result in self.results for found in result.open)

    @property
    def share(self) -> float:
        """Percent of the controls that were checked and passed, those with accepted findings among them."""
        checked = len(self.results) - self.count(NOT_CHECKED)
        return 100.0 * (self.count(PASSED) + self.count(ACCEPTED)) / checked if checked else 0.0


def judge(facts: Facts, accepted: Sequence[Accepted], today: date) -> Report:
    """One result for each control. `today`: the day that exceptions are measured by."""
    valid = [one for one in accepted if not flaws(one, today)]
    used: set[tuple[Accepted, str]] = set()
    results, unread = [], set()
    for one in sorted(CONTROLS.values(), key=_order):
        if why := one.unread(facts):
            unread.add(one.number)
            results.append(Result(one, not_checked=why))
        else:
            results.append(_result(one, list(dict.fromkeys(one.ask(facts))), valid, used))
    unseen = set(facts.stack.slots()) - set(facts.containers)
    stale = tuple(_stale([one for one in accepted if one.where not in unseen or flaws(one, today)], used, unread, today))
    results.append(Result(_EXCEPTIONS, open=stale))
    return Report(tuple(results))


def _order(control: Control) -> tuple[int, ...]:
    return tuple(int(part) for part in control.number.split("."))


def _result(control: Control, found: Sequence[Found], valid: Sequence[Accepted], used: set[tuple[Accepted, str]]) -> Result:
    left, taken = [], []
    for one in found:
        by = next((a for a in valid if (a.control, a.where) == (control.number, one.where) and one.subject in a.subjects), None)
        if by:
            used.add((by, one.subject))
            taken.append((one, by))
        else:
            left.append(one)
    return Result(control, tuple(left), tuple(taken))


_EXCEPTIONS = Control(
    EXCEPTIONS, "Every exception holds, and is needed", part="", ask=lambda facts: iter(()),
    why="an exception that outlives its reason is an open door that everybody has got used to",
    cure=f"renew it on purpose or remove it, in {FILE}",
)  # fmt: skip


def _stale(
    accepted: Sequence[Accepted], used: set[tuple[Accepted, str]], unread: set[str], today: date
) -> list[Found]:  # fmt: skip
    found = []
    for one in accepted:
        if why := flaws(one, today):
            found.append(Found(str(one), "exception", why))
            continue
        if one.control in unread:
            continue
        found += [
            Found(str(one), subject, f"nothing was found that it accepts: {subject}")
            for subject in one.subjects if (one, subject) not in used
        ]  # fmt: skip
    return found


def as_json(report: Report, seconds: float) -> Mapping[str, Any]:
    """For other programs. `seconds`: how long the audit took."""
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
