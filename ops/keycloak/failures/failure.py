"""What a failure mode and a finding are."""

from __future__ import annotations

from dataclasses import dataclass

DOWN, DEGRADED, RISK = "down", "degraded", "risk"
SEVERITIES = {
    DOWN: "nobody can log in, or the next start will fail",
    DEGRADED: "some cannot log in, or it is slow",
    RISK: "all works today",
}
"""Severity -> what it means, gravest first."""
RESTART = "logins pause for about 25 s; open sessions go on"
NOBODY = "nobody notices"
DATA = "databases, realms and users"
SECRETS_AND_DATA = "secrets, databases, realms and users"


@dataclass(frozen=True)
class Mode:
    """One way in which Keycloak fails, with all that a repair needs to know."""

    id: str
    severity: str
    title: str
    means: str
    repair: str
    """What mends it, in the order in which it is done."""
    untouched: str
    """What the repair leaves alone, whatever happens."""
    notice: str
    """How long users notice the repair."""
    source: str
    """Where it is known from: a guide, a Keycloak issue, or this stack's own measurement."""
    dump_first: bool = False
    repairable: bool = True
    """Whether it can be mended without a person's decision."""
    explains: tuple[str, ...] = ()
    """Modes that follow from this one: where this one is found, they are told as its consequences."""


@dataclass(frozen=True)
class Finding:
    """A failure mode that was found. certain: a fact shows it; otherwise only the log speaks for it."""

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
    """Ids of other modes that were seen and that follow from this one."""


@dataclass(frozen=True)
class Diagnosis:
    """findings: gravest cause first. notes: what is worth knowing and no fault. unread: what could not be seen, and why."""

    findings: tuple[Finding, ...]
    notes: tuple[str, ...]
    unread: tuple[str, ...]
