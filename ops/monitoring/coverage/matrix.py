"""How completely each service is monitored: a matrix, computed from what the live stack and the checkout have. Pure."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field

KINDS = ("down", "saturation", "symptom")
"""What an alert is about, as config/coverage.yaml says: the service does not answer, it runs out of something, or those who
use it get less than they should."""
COLUMNS = ("target", "series", "probe", *KINDS, "tests", "route", "runbook", "dashboard", "logs")
SELECTOR = re.compile(r"[a-zA-Z_:][a-zA-Z0-9_:]*(?:\{[^{}]*\})?")
"""What may be a selector in a PromQL expression: functions, operators and labels look alike, and are no metrics."""


@dataclass(frozen=True)
class AlertRule:
    """covers: kinds. services: those that it can fire for. tested, documented, routed: what it has."""

    name: str
    covers: frozenset[str]
    services: frozenset[str]
    tested: bool
    documented: bool
    routed: bool


@dataclass(frozen=True)
class Found:
    """What was found. By service: targets that are up, series of its container, probes that succeed, panels with data, and
    seconds since the newest log line that was read."""

    targets: Mapping[str, int] = field(default_factory=dict)
    series: Mapping[str, int] = field(default_factory=dict)
    probes: Mapping[str, int] = field(default_factory=dict)
    panels: Mapping[str, Sequence[str]] = field(default_factory=dict)
    logs: Mapping[str, int] = field(default_factory=dict)
    alerts: Sequence[AlertRule] = ()


Matrix = dict[str, dict[str, str]]
"""Service -> column -> what covers it; empty where nothing does."""


def matrix(services: Iterable[str], found: Found) -> Matrix:
    return {service: dict(zip(COLUMNS, _cells(service, found), strict=True)) for service in services}


def _cells(service: str, found: Found) -> list[str]:
    own = [alert for alert in found.alerts if service in alert.services]
    counted = [_count(values.get(service, 0)) for values in (found.targets, found.series, found.probes)]
    kinds = [", ".join(sorted(alert.name for alert in own if kind in alert.covers)) for kind in KINDS]
    complete = [
        _count(len(own)) if own and all(getattr(alert, quality) for alert in own) else ""
        for quality in ("tested", "routed", "documented")
    ]
    panels = found.panels.get(service, ())
    return [*counted, *kinds, *complete, _count(len(panels)), _count(found.logs.get(service, 0))]


def _count(number: int) -> str:
    return str(number) if number else ""


def percent(found: Matrix) -> float:
    """Share of the cells that are covered."""
    cells = [cell for row in found.values() for cell in row.values()]
    return 100 * sum(map(bool, cells)) / len(cells) if cells else 0.0


def gaps(found: Matrix) -> list[tuple[str, str]]:
    """(service, column) of each cell that nothing covers."""
    return [(service, column) for service, row in found.items() for column, cell in row.items() if not cell]


def selectors(expr: str, metrics: frozenset[str]) -> list[str]:
    """The selectors of a PromQL expression. metrics: the names that exist."""
    return [one for one in SELECTOR.findall(expr) if one.partition("{")[0] in metrics]
