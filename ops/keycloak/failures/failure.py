"""What a failure of Keycloak is: what shows it, its cause, and what is done about it. Data only; table.yaml lists them.

Most failures are a difference from the sealed release, and share one remedy (`released`): only their words differ.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import dataclass
from enum import Enum
from functools import cached_property

from ops.keycloak.failures.facts import Facts
from ops.keycloak.repair.sql import Sql

DOWN, DEGRADED, RISK = "down", "degraded", "risk"
SEVERITIES = {
    DOWN: "nobody can log in, or the next start will fail",
    DEGRADED: "some cannot log in, or it is slow",
    RISK: "all works today",
}
"""Severity -> what it means, gravest first."""
RESTART = "logins pause for about 25 s; open sessions go on"
NOBODY = "no interruption"
BACK = "logins are back within 20 s"
UNTOUCHED = "secrets, databases, realms and users"
Statements = Sql | Callable[[Facts], Sql | None]


class Way(Enum):
    """A way to repair a failure (ops/keycloak/repair/plan.py)."""

    DRIFT = "restore Keycloak as the release has it, where it differs"
    RECREATE = "recreate Keycloak as the release has it, whether a difference is known or not"
    RECREATE_WITH_SECRETS = "the same, after Podman has been given the secrets again"
    EARLIER = "go back to the newest earlier release with a different Keycloak"
    START = "start Keycloak"
    START_POSTGRES = "start PostgreSQL"
    START_NGINX = "start nginx"
    RELOAD_NGINX = "reload nginx on its sealed configuration"
    RESTART_NGINX = "restart nginx"
    SITE_CERTIFICATE = "issue the certificate of the site again"
    POSTGRES_CERTIFICATE = "issue PostgreSQL's certificate again"
    OWN_CERTIFICATE = "issue Keycloak's certificate again"
    RESCUE_SECRET = "restore a lost secret from a container that has it"  # noqa: S105  (no password)
    SQL = "run statements in PostgreSQL"
    STRANGER = "stop a second Keycloak"
    ADMIN_API = "change it through the admin API"
    BOOTSTRAP_ADMIN = "recover the administration by bootstrap-admin"


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
class Remedy:
    """words: what repairs it, in the order in which it is done. ways: tried in this order; none: a person decides."""

    words: str
    ways: tuple[Way, ...] = ()
    leaves: str = UNTOUCHED
    """What the repair never touches."""
    users: str = RESTART
    """How long users notice the repair."""
    dump_first: bool = False
    sql: Statements | None = None
    """What repairs it inside PostgreSQL; a function returns None where nothing there may be touched."""
    api: str = ""
    """What its repair through the admin API is called."""
    advice: tuple[str, ...] = ()
    """What a person does, in order, where it is not repaired: commands to type."""


def released(
    *, first: str = "", sealed: str = "", checkout: str = "", then: str = "",
    ways: tuple[Way, ...] = (Way.DRIFT, Way.EARLIER), advice: tuple[str, ...] = (), leaves: str = UNTOUCHED,
    users: str = RESTART, dump_first: bool = False,
) -> Remedy:  # fmt: skip
    """Keycloak differs from its release: back to what that says. Where the release itself is wrong, an earlier one.

    first, then: what is done before and after. sealed: what the release has that is missing now. checkout: what to correct
    there, where the release itself is wrong.
    """
    restore = "restore Keycloak as the release has it" + (f" ({sealed})" if sealed else "")
    earlier = ", or as an earlier release with a different Keycloak has it" if Way.EARLIER in ways else ""
    parts = (first, restore + earlier, f"in the checkout: {checkout}" if checkout else "", then)
    correct = (
        f"correct compose/keycloak or config/keycloak in the checkout: {checkout or sealed or 'see what the log says'}",
        "then inv deploy; it reverts to this release where the new one does not serve",
    )
    return Remedy("; ".join(filter(None, parts)), ways, leaves, users, dump_first, advice=advice or correct)


def statements(
    *, words: str, sql: Statements, ways: tuple[Way, ...] = (Way.SQL,), advice: tuple[str, ...] = (),
    leaves: str = "every table and row", users: str = BACK, dump_first: bool = False,
) -> Remedy:  # fmt: skip
    """Repaired inside PostgreSQL; Keycloak is started again where it does not run."""
    usual = ("inv logs postgres --since 10m: why the statements were refused", f"then, as its superuser: {words}")
    return Remedy(words, ways, leaves, users, dump_first, sql, advice=advice or usual)


def admin_api(
    *, title: str, words: str, ways: tuple[Way, ...] = (Way.ADMIN_API,), leaves: str = "users, their passwords and sessions",
    users: str = NOBODY, dump_first: bool = False,
) -> Remedy:  # fmt: skip
    """Repaired through the admin API (ops/keycloak/repair/admin_api.py)."""
    advice = ("inv logs keycloak --since 10m; inv open names the admin console", f"there: {words}")
    return Remedy(words, ways, leaves, users, dump_first, api=title, advice=advice)


def by_hand(*, advice: tuple[str, ...], leaves: str = UNTOUCHED, users: str = RESTART, dump_first: bool = False) -> Remedy:
    """Nothing here may decide it."""
    return Remedy("; ".join(advice), (), leaves, users, dump_first, advice=advice)


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
    lines: tuple[Line, ...] = ()
    """Lines of the log that show it where the facts (evidence.py) do not."""
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
