"""What is struck in which way, which alerts that explains, and what came of it. Data."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass, field
from typing import Any

from tests.drill.alerts.receivers import LASTING

STOP, FREEZE, SLOW, CUT, FULL, DISCONNECT = (
    "stop", "freeze (SIGSTOP)", "slow down to 0.01 CPU", "cut its network", "fill its disk", "disconnect its clients",
)  # fmt: skip
HEALS = (STOP, FREEZE, DISCONNECT)
"""What is to heal by itself; the others last until the drill ends them."""

DOWN = ("ContainerUnhealthy", "TargetDown", "DependencyDown")
OWN = {
    "frontend": ("SiteDown:nginx",),
    "redis": ("RedisNotPersisted:redis", "BackendDependencyDown:backend"),
    "logs": ("LogsNotDelivered:logs", "LogIngestionStopped:logs", "LogLinesLost:logs", "LogRowsDropped:logs"),
    "prometheus": ("RulesFail:prometheus", "heartbeat"),
    "alertmanager": ("AlertsNotSent:prometheus", "NotificationsFail:alertmanager", "heartbeat"),
    "nginx": ("SiteDown:nginx",),
    "edge": ("SiteDown:nginx", *(f"{name}:nginx" for name in DOWN)),
    "backend": ("SiteDown:backend",),
    "keycloak": ("SiteDown:keycloak",),
    "backup": ("WalPending:backup", "WalArchivingFails:postgres"),
    "postgres": ("WalArchivingFails:postgres", "CommitsWait:postgres"),
}
"""Alerts, as NAME:SERVICE, any of which says that this service has failed, besides those of `DOWN` about it."""

FOLLOWS = {
    "postgres": ("SiteDown:backend", "SiteDown:keycloak", "BackendDependencyDown:backend", "ContainerUnhealthy:backend",
                 "ContainerUnhealthy:keycloak", "TargetDown:keycloak", "TargetDown:backend"),
    "keycloak": ("BackendDependencyDown:backend",),
    "nginx": ("SiteDown:backend", "SiteDown:keycloak", "ContainerUnhealthy:edge", "TargetDown:nginx"),
    "edge": ("SiteDown:backend", "SiteDown:keycloak", "ContainerUnhealthy:nginx"),
    "cadvisor": ("HealthTickerStopped:host",),
}  # fmt: skip
"""What follows from it: about another service, and true."""
USERS = ("frontend", "backend", "keycloak", "postgres", "nginx", "edge")
"""Services without which users' requests fail."""


@dataclass(frozen=True)
class Case:
    """Services that fail in one way at the same time; alerts about them do not mute each other.

    lasts: seconds that a fault lasts at most which does not end by itself.
    """

    fault: str
    services: tuple[str, ...]
    lasts: float = 100.0

    @property
    def name(self) -> str:
        return f"{self.fault.split()[0]}-{'+'.join(self.services)}"

    @property
    def heals(self) -> bool:
        return self.fault in HEALS


REST = ("frontend", "redis", "cadvisor", "logs", "backup")
ALONE = ("postgres", "keycloak", "backend", "nginx", "alertmanager", "prometheus")

CASES = (
    *(Case(STOP, (one,)) for one in (*ALONE, "edge")), Case(STOP, REST),
    *(Case(FREEZE, (one,)) for one in ALONE), Case(FREEZE, ("frontend", "redis", "cadvisor")), Case(FREEZE, ("logs", "backup")),
    *(Case(SLOW, (one,)) for one in ("postgres", "keycloak", "backend", "nginx")), Case(SLOW, REST),
    *(Case(CUT, (one,)) for one in ("postgres", "keycloak", "backend", "edge", "alertmanager")), Case(CUT, REST),
    Case(CUT, ("prometheus",), 360.0),
    Case(DISCONNECT, ("postgres",)),
    Case(FULL, ("postgres",)), Case(FULL, ("redis", "logs", "alertmanager"), 460.0), Case(FULL, ("prometheus",), 360.0),
)  # fmt: skip


def concerns(service: str, struck: Sequence[str]) -> tuple[str, ...]:
    """Kinds of requests that fail for the sake of this service, and not of another one that is struck with it."""
    if service == "frontend":
        return ("page",)
    return ("API", "session") if "frontend" in struck else ("page", "API", "session")


def tells(service: str) -> frozenset[str]:
    """Alerts that say of this service that it has failed."""
    return frozenset((*(f"{name}:{service}" for name in DOWN), *OWN.get(service, ())))


def explained(services: Sequence[str]) -> frozenset[str]:
    """Alerts that the failure of these services explains."""
    return frozenset(each for one in services for each in (*tells(one), *FOLLOWS.get(one, ())))


def lasting(alert: str) -> bool:
    """Whether an alert, NAME:SERVICE, is about what users have met for long: it ends long after the fault."""
    return alert.partition(":")[0] in LASTING


def unrelated(case: Case, pages: Sequence[str]) -> list[str]:
    """Those of these pages that the case does not explain."""
    known = explained(case.services)
    return [one for one in pages if one not in known and not lasting(one)]


@dataclass
class Outcome:
    """Of one service in a case. Seconds are None where it did not come to that."""

    fault: str
    service: str
    paged: float | None = None
    by: str = ""
    named: float | None = None
    healed: float | None = None
    resolved: float | None = None
    failed: int = 0
    requests: int = 0
    notes: list[str] = field(default_factory=list)
    load: float = 0.0

    def json(self) -> dict[str, Any]:
        return asdict(self)


COLUMNS = ("FAULT", "SERVICE", "PAGE", "BY", "STATUS", "HEALED", "RESOLVED", "FAILED", "LOAD", "NOTE")


def cells(one: Outcome) -> tuple[str, ...]:
    def seconds(value: float | None) -> str:
        return "–" if value is None else f"{value:.0f} s"

    failed = f"{one.failed} of {one.requests}"
    return (
        one.fault, one.service, seconds(one.paged), one.by or "–", seconds(one.named), seconds(one.healed),
        seconds(one.resolved), failed, f"{one.load:.0f}", "; ".join(one.notes),
    )  # fmt: skip
