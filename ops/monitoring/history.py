"""What happened on this host, and to its users meanwhile: changes with what they cost, and alerts that fired."""

from __future__ import annotations

import math
import time
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from ops.core.state import State
    from ops.monitoring.api import Monitoring, Series
    from ops.stack.release import Activation

USERS = 'route=~"page|api|login|grafana|socket"'
"""Routes of nginx that users take; the prober of deploys has one of its own."""
SCRAPED_SECONDS = 60.0
"""Until Prometheus has seen what happened: two scrapes."""
MOST_POINTS = 10_000
"""Prometheus refuses a range of more than 11,000."""


@dataclass(frozen=True)
class Change:
    """A command that changed this host."""

    verb: str
    began: float
    ended: float
    outcome: str
    who: str
    release: int | None = None
    requests: Mapping[str, Any] | None = None
    """What the prober of a deploy measured (ops/deploy/measure.py)."""

    @property
    def measured(self) -> bool:
        return bool(self.requests and self.requests.get("requests"))

    @property
    def title(self) -> str:
        return self.verb if self.release is None else f"{self.verb} {self.release}"

    def p99(self, window: str) -> float | None:
        """Milliseconds; window: before, during or after."""
        found = ((self.requests or {}).get("p99_ms") or {}).get(window)
        return float(found) if found is not None else None


@dataclass(frozen=True)
class Cost:
    """What nginx counted of users' requests during a change. None: Prometheus has nothing of that time."""

    requests: float | None
    failed: float | None
    p99_ms: float | None


@dataclass(frozen=True)
class Episode:
    """One time that an alert fired."""

    alert: str
    service: str
    severity: str
    began: float
    ended: float


def changes(state: State, since: float) -> list[Change]:
    """Changes that ended after a time, oldest first: from the audit log, with the activations of releases."""
    from ops.audit_log import record as audit
    from ops.store.releases import activations

    return join_activations(audit.changes(state), activations(state), since)


def join_activations(
    recorded: Iterable[Mapping[str, Any]], activations: Sequence[Activation], since: float
) -> list[Change]:  # fmt: skip
    found = []
    for one in recorded:
        began, ended = _seconds(one.get("began") or one["at"]), _seconds(one["at"])
        if one.get("outcome") == "under way":
            ended = time.time()
        if ended < since:
            continue
        # Both are written to the second, one after the other.
        own = next((a for a in activations if a.verb == one["verb"] and began <= _seconds(a.at) <= ended + 1), None)
        found.append(Change(
            one["verb"], began, ended, own.outcome if own else one.get("outcome", ""), one.get("who", ""),
            own.release if own else None, own.requests if own else None,
        ))  # fmt: skip
    return sorted(found, key=lambda change: change.began)


def cost(monitoring: Monitoring, change: Change) -> Cost:
    """What the change cost users, by the counters of nginx over its time."""
    seconds = math.ceil(change.ended - change.began + SCRAPED_SECONDS)
    span = f"[{max(seconds, 2 * SCRAPED_SECONDS):.0f}s]"
    parts = {
        "requests": f"round(sum(increase(edge_responses_total{{{USERS}}}{span})))",
        "failed": f'round(sum(increase(edge_responses_total{{{USERS},status=~"5.."}}{span})))',
        "p99": f"histogram_quantile(0.99, sum by (le) (rate(edge_response_duration_seconds_bucket{span})))",
    }
    query = " or ".join(f'label_replace({expr}, "part", "{name}", "", "")' for name, expr in parts.items())
    found = {one.labels["part"]: one.value for one in monitoring.query(query, change.ended + SCRAPED_SECONDS)}
    p99 = found.get("p99", math.nan)
    return Cost(found.get("requests"), found.get("failed"), None if math.isnan(p99) else 1000 * p99)


def episodes(monitoring: Monitoring, start: float, end: float) -> list[Episode]:
    """Times that alerts fired, oldest first. One that ends and fires again within a step counts once."""
    step = max(60, math.ceil((end - start) / MOST_POINTS))
    fired = 'ALERTS{alertstate="firing",alertname!="Watchdog"}'
    query = f"max by (alertname, service, severity) (max_over_time({fired}[{step}s]))"
    found = [one for series in monitoring.query_range(query, start, end, step) for one in _spans(series, step)]
    return sorted(found, key=lambda episode: episode.began)


def _spans(series: Series, step: float) -> Iterable[Episode]:
    labels = series.labels
    began = last = series.points[0][0]
    spans = []
    for at, _ in series.points[1:]:
        if at - last > 1.5 * step:
            spans.append((began, last))
            began = at
        last = at
    for first, final in (*spans, (began, last)):
        yield Episode(labels["alertname"], labels.get("service", ""), labels.get("severity", ""), first - step, final)


def during(start: float, end: float, changed: Iterable[Change], fired: Iterable[Episode]) -> tuple[str, ...]:
    """What happened in a span of time, in words: changes, then alerts of anything but a budget."""
    happened = [change.title for change in changed if change.began < end and change.ended >= start]
    alerts = [one.alert for one in fired if one.began < end and one.ended >= start and not one.alert.startswith("ErrorBudget")]
    return tuple(dict.fromkeys([*happened, *alerts]))


def _seconds(stamp: str) -> float:
    return datetime.fromisoformat(stamp).timestamp()
