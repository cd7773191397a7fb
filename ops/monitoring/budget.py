"""How much of each error budget is left, and when it was used: from the series that the rules of objectives record."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from ops.monitoring.api import Monitoring, Series

HOUR = 3600.0
DAY = 86400.0
EVERY = 30.0
"""Seconds between evaluations of rules (config/prometheus/prometheus.yml)."""
LEAST_SHARE = 0.01
"""Part of a budget below which an hour is not listed."""


@dataclass(frozen=True)
class Hour:
    """An hour in which part of a budget was used."""

    start: float
    share: float
    """Part of the budget of the whole window: 1 is all of it."""


@dataclass(frozen=True)
class Budget:
    """The error budget of one objective, of the time since `since`."""

    objective: str
    title: str
    service: str
    counts: str
    """requests, events or time."""
    target: float
    """Percent."""
    good: float | None = None
    """Percent that was good; None where nothing was counted."""
    left: float | None = None
    """Part of the budget that is left: 1 is all of it, below 0 more than all is used."""
    burn: float | None = None
    """How many times faster than allowed it was used in the last hour."""
    since: float | None = None
    hours: tuple[Hour, ...] = ()
    """Hours that used at least LEAST_SHARE of it, the worst first."""


def budgets(monitoring: Monitoring, now: float, days: int) -> list[Budget]:
    """The budget of each objective that Prometheus knows.

    now: end of the window, in seconds since the epoch. days: its length.
    """
    window = f"{days}d"
    declared = monitoring.query("last_over_time(slo:budget:ratio[10m])", now)
    bad = _by_objective(monitoring.query(f"sum_over_time(slo:bad:rate5m[{window}])", now))
    events = _by_objective(monitoring.query(f"sum_over_time(slo:events:rate5m[{window}])", now))
    burn = _by_objective(monitoring.query("slo:burn_rate:1h", now))
    end = math.ceil(now / HOUR) * HOUR
    start = end - days * DAY
    hours = _by_objective(monitoring.query_range("sum_over_time(slo:bad:rate5m[1h])", start, end, HOUR))
    seen = _by_objective(monitoring.query_range("count_over_time(slo:events:rate5m[1h])", start, end, HOUR))
    return [
        _budget(one, now, *(found.get(one.labels["objective"]) for found in (bad, events, burn, hours, seen)))
        for one in sorted(declared, key=lambda one: one.labels["objective"])
    ]


def _by_objective(found: Iterable[Series]) -> Mapping[str, Series]:
    return {one.labels["objective"]: one for one in found if "objective" in one.labels}


def _since(seen: Series | None, now: float) -> float | None:
    """When the first sample was taken. seen: how many there are in the hour before each point."""
    if not seen:
        return None
    at, samples = seen.points[0]
    return max(at - HOUR, min(at, now) - samples * EVERY)


def _budget(
    declared: Series, now: float, bad: Series | None, events: Series | None, burn: Series | None, hours: Series | None,
    seen: Series | None,
) -> Budget:  # fmt: skip
    allowed = declared.value
    name, title, service, counts = (declared.labels.get(label, "") for label in ("objective", "title", "service", "counts"))
    found = Budget(name, title, service, counts, target=round(100 * (1 - allowed), 6))
    if not bad or not events or events.value <= 0:
        return found
    ratio = bad.value / events.value
    whole = allowed * events.value
    # A point of a range is about the hour that ends there.
    used = [Hour(at - HOUR, value / whole) for at, value in (hours.points if hours else ()) if value / whole >= LEAST_SHARE]
    return replace(
        found, good=100 * (1 - ratio), left=1 - ratio / allowed, burn=burn.value if burn else None,
        since=_since(seen, now), hours=tuple(sorted(used, key=lambda hour: -hour.share)),
    )  # fmt: skip


def percent(value: float | None) -> str:
    """Up to three decimals, and never rounded up to 100."""
    if value is None:
        return "–"
    return f"{min(value, 99.999) if value < 100 else 100:.3f}".rstrip("0").rstrip(".") + " %"
