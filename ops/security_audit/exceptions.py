"""config/audit/exceptions.yaml: findings that somebody has accepted, until a day. Pure.

Nothing is excepted for good: an exception that has expired, that names nothing that was found, or that is incomplete is
itself a finding, and none can be made for that.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from datetime import date
from typing import Any

import yaml

from ops.core.errors import UsageProblem, did_you_mean

FILE = "config/audit/exceptions.yaml"
KEYS = ("control", "where", "subjects", "reason", "owner", "until")
LEAST_WORDS = 5
"""Of a reason: less cannot be judged."""
LONGEST_DAYS = 400
"""A year and a month: whoever reviews once a year is in time."""


@dataclass(frozen=True)
class Accepted:
    """Findings of one control at one place that are accepted: exactly these subjects, until the end of that day."""

    control: str
    where: str
    subjects: tuple[str, ...]
    reason: str
    owner: str
    """A role, which goes on when its holder leaves."""
    until: date

    def __str__(self) -> str:
        return f"{self.control} {self.where}"


def parse_exceptions(text: str, controls: Iterable[str]) -> tuple[Accepted, ...]:
    """Read the file. Raises UsageProblem for what cannot be meant: nothing is accepted by mistake."""
    known = set(controls)
    found = []
    for number, entry in enumerate(yaml.safe_load(text) or [], 1):
        where = f"{FILE}: entry {number}"
        if not isinstance(entry, Mapping):
            raise UsageProblem(where, f"it must have the keys {', '.join(KEYS)}", f"correct {FILE}")
        for key in entry:
            if key not in KEYS:
                raise UsageProblem(f"{where}: {key} is not known", did_you_mean(str(key), KEYS), f"correct {FILE}")
        if missing := [key for key in KEYS if not entry.get(key)]:
            raise UsageProblem(f"{where} lacks {', '.join(missing)}", "each finding is accepted by somebody, for a reason, "
                               "until a day", f"complete it in {FILE}")  # fmt: skip
        if str(entry["control"]) not in known:
            raise UsageProblem(f"{where}: there is no control {entry['control']}", "inv audit lists them", f"correct {FILE}")
        found.append(_accepted(where, entry))
    return tuple(found)


def _accepted(place: str, entry: Mapping[str, Any]) -> Accepted:
    if not isinstance(entry["until"], date):
        raise UsageProblem(f"{place}: until is {entry['until']!r}", "it must be a day such as 2027-06-30", f"correct {FILE}")
    if not isinstance(entry["subjects"], list):
        raise UsageProblem(
            f"{place}: subjects is no list", "it names each finding, as inv audit --json does", f"correct {FILE}"
        )
    subjects = tuple(str(subject) for subject in entry["subjects"])
    return Accepted(
        str(entry["control"]), str(entry["where"]), subjects, str(entry["reason"]), str(entry["owner"]), entry["until"]
    )


def flaws(accepted: Accepted, today: date) -> str:
    """Why an exception does not hold; empty where it does."""
    if accepted.until < today:
        return f"it expired on {accepted.until}"
    if (accepted.until - today).days > LONGEST_DAYS:
        return f"it holds until {accepted.until}, longer than {LONGEST_DAYS} days"
    if len(accepted.reason.split()) < LEAST_WORDS:
        return "its reason cannot be judged: say in a sentence what needs it"
    return ""
