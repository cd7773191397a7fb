"""What the monitoring says is wrong, for `inv status`: alerts that fire, and servers of the monitoring that do not answer.

Health checks are made from within each container: that others do not reach it, only the monitoring notices.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from ops.core.errors import OpsError

if TYPE_CHECKING:
    from ops.monitoring.api import Alert, Monitoring

ANSWER_SECONDS = 3.0
SHOWN = 6
STYLES = {"critical": "red", "warning": "yellow"}
"""Severity -> its colour. An alert of another severity is there to fire always."""


@dataclass(frozen=True)
class Line:
    text: str
    style: str


def lines(monitoring: Monitoring) -> list[Line]:
    """One for each alert that is neither silenced nor explained by another one: the gravest first, and of these the newest."""
    from ops.monitoring.api import NGINX

    found = []
    try:
        found = _alerts(monitoring.alerts())
    except OpsError as problem:
        found.append(_problem(problem))
        if problem.what.startswith(NGINX):
            return found
    try:
        monitoring.query("vector(1)")
    except OpsError as problem:
        found.append(_problem(problem))
    return found


def _alerts(alerts: Sequence[Alert]) -> list[Line]:
    rank = list(STYLES)
    firing = sorted(
        (one for one in alerts if one.state == "active" and one.labels.get("severity") in STYLES),
        key=lambda one: (rank.index(one.labels["severity"]), -one.since),
    )
    shown = [Line(_sentence(one), STYLES[one.labels["severity"]]) for one in firing[:SHOWN]]
    more = [Line(f"and {len(firing) - SHOWN} more alerts: inv alerts", "yellow")] if len(firing) > SHOWN else []
    return shown + more


def _sentence(one: Alert) -> str:
    named = f"{one.name} {one.labels.get('service', '')}".rstrip()
    return f"{one.labels['severity']}: {named}: {one.annotations.get('summary', '')}".removesuffix(": ")


def _problem(problem: OpsError) -> Line:
    """Without the address, which says little to people."""
    return Line(f"{problem.what}: {problem.why.splitlines()[0][:120]}", "red")
