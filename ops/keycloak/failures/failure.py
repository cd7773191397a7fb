"""What a failure of Keycloak is, and what a diagnosis has found. Data only.

Every failure is described once, in the module of its group (registry.py): what shows it, its cause, and its remedy.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import dataclass
from functools import cached_property

from ops.keycloak.failures.facts import Facts
from ops.keycloak.failures.remedy import Remedy

DOWN, DEGRADED, RISK = "down", "degraded", "risk"
SEVERITIES = {
    DOWN: "nobody can log in, or the next start will fail",
    DEGRADED: "some cannot log in, or it is slow",
    RISK: "all works today",
}
"""Severity -> what it means, gravest first."""


@dataclass(frozen=True)
class Line:
    """A line of Keycloak's log that shows a failure. source: a guide, an issue (#n) of Keycloak, or the text of a program."""

    regex: str
    source: str
    serving: bool = False
    """Whether it counts, while it is recent, for a Keycloak that is ready; others count only while it is not."""
    also_quiet: bool = False
    """Whether a line of level INFO counts."""
    times: int = 1
    """Lines that it takes: what one user, or one attacker, can cause is no finding."""

    @cached_property
    def compiled(self) -> re.Pattern[str]:
        return re.compile(self.regex, re.IGNORECASE)


@dataclass(frozen=True)
class Failure:
    """One way in which Keycloak fails: its evidence, its cause in one sentence, and its remedy."""

    id: str
    severity: str
    title: str
    means: str
    source: str
    """Where it is known from: a guide, a Keycloak issue, or this stack's own measurement."""
    remedy: Remedy
    shown: Callable[[Facts], str] | None = None
    """What the facts show of it, in words; empty: they do not show it."""
    lines: tuple[Line, ...] = ()
    """Lines of the log that show it where the facts do not."""
    denied: Callable[[Facts], bool] | None = None
    """Whether the facts contradict the log: its lines are of an earlier attempt, or of an outage that is over."""
    explains: tuple[str, ...] = ()
    """Failures that follow from this one: where this one is found, they are its consequences."""
    momentary: bool = False
    """Whether it may be seen for a moment after a restart or a reload, and be gone by itself."""

    @property
    def repairable(self) -> bool:
        """Whether it can be repaired without a person's decision."""
        return bool(self.remedy.ways)


@dataclass(frozen=True)
class Finding:
    """A failure that was found. certain: a fact shows it; otherwise only the log speaks for it."""

    id: str
    severity: str
    certain: bool
    title: str
    saw: tuple[str, ...]
    means: str
    repair: str
    untouched: str
    notice: str
    dump_first: bool
    repairable: bool
    source: str
    consequences: tuple[str, ...] = ()
    """Ids of other failures that were seen and that follow from this one."""

    @classmethod
    def of(
        cls, failure: Failure, severity: str = "", shown: str = "", said: tuple[str, ...] = (), follows: tuple[str, ...] = (),
    ) -> Finding:  # fmt: skip
        """A finding of this failure. severity: graver than the failure's own where something graver follows from it."""
        remedy = failure.remedy
        return cls(
            id=failure.id, severity=severity or failure.severity, certain=bool(shown), title=failure.title,
            saw=tuple(text for text in (shown, *said) if text), means=failure.means, repair=remedy.words,
            untouched=remedy.leaves, notice=remedy.users, dump_first=remedy.dump_first, repairable=failure.repairable,
            source=failure.source, consequences=follows,
        )  # fmt: skip


@dataclass(frozen=True)
class Diagnosis:
    """findings: gravest cause first. notes: what is worth knowing and no fault. unread: what could not be read, and why."""

    findings: tuple[Finding, ...]
    notes: tuple[str, ...]
    unread: tuple[str, ...]
