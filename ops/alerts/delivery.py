"""A marked alert through every receiver. Alertmanager counts what a receiver has taken, and logs what one has answered else."""

from __future__ import annotations

import json
import re
import secrets
import time
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass
from typing import TYPE_CHECKING

from ops.core.errors import HostLacks
from ops.stack.alert_receivers import HEARTBEAT, TEST, WATCHDOG

if TYPE_CHECKING:
    from ops.monitoring.api import Monitoring
    from ops.project import Project

SECONDS = 60.0
PAUSE_SECONDS = 1.0
LOG_TAIL = 256 << 10
_COUNT = re.compile(r'^alertmanager_notification_requests(_failed)?_total\{.*receiver_name="([^"]+)".*\} (\S+)$', re.MULTILINE)


@dataclass(frozen=True)
class Outcome:
    """Of one receiver. why: the error that it, or the way to it, has given."""

    receiver: str
    delivered: bool
    seconds: float
    why: str = ""


def taken(metrics: str) -> dict[str, float]:
    """Receiver -> messages that it has accepted, by Alertmanager's metrics."""
    found: dict[str, float] = {}
    for failed, receiver, value in _COUNT.findall(metrics):
        found[receiver] = found.get(receiver, 0.0) + (-float(value) if failed else float(value))
    return found


def deliver(project: Project, receivers: Sequence[str]) -> list[Outcome]:
    """Send the alert to each, and wait for all. The heartbeat is sent all the time: its next call counts.

    Raises HostLacks where Alertmanager does not have these receivers yet.
    """
    from ops.monitoring.api import Monitoring

    monitoring = Monitoring.of(project)
    names = {one: WATCHDOG if one == HEARTBEAT else one for one in receivers}
    if missing := set(names.values()) - set(monitoring.receivers()):
        raise HostLacks(
            f"Alertmanager has no receiver {missing.pop()}", "stack.yaml was changed since the last deploy", "inv deploy"
        )
    before, began, mark = taken(monitoring.alertmanager_metrics()), time.monotonic(), secrets.token_hex(4)
    for one in receivers:
        if one != HEARTBEAT:
            _post(monitoring, one, mark, time.time() + 300)
    deadline = began + SECONDS + (_heartbeat_seconds(project) if HEARTBEAT in receivers else 0)
    outcomes: dict[str, Outcome] = {}
    while len(outcomes) < len(receivers) and time.monotonic() < deadline:
        time.sleep(PAUSE_SECONDS)
        now = taken(monitoring.alertmanager_metrics())
        for one, name in names.items():
            if one not in outcomes and now.get(name, 0) > before.get(name, 0):
                outcomes[one] = Outcome(one, True, time.monotonic() - began)
            elif one not in outcomes and (why := _error(project, name, mark)):
                outcomes[one] = Outcome(one, False, time.monotonic() - began, why)
    for one in receivers:
        if one != HEARTBEAT:
            _post(monitoring, one, mark, time.time())
    waited = time.monotonic() - began
    silent = "Alertmanager has neither delivered it nor given up yet: inv logs alertmanager --since 5m"
    return [outcomes.get(one, Outcome(one, False, waited, silent)) for one in receivers]


def _post(monitoring: Monitoring, receiver: str, mark: str, ends: float) -> None:
    labels = {"alertname": TEST, "receiver": receiver, "severity": "none", "service": "alertmanager", "test": mark}
    monitoring.post_alert(labels, {
        "summary": f"Test of the delivery to {receiver}",
        "description": "Nothing is wrong: somebody has typed inv alerts.test.",
    }, ends)  # fmt: skip


def _heartbeat_seconds(project: Project) -> float:
    from ops.stack.model import seconds

    heartbeat = project.settings.alerts.heartbeat
    return float(seconds(heartbeat.every)) if heartbeat else 0.0


def _error(project: Project, receiver: str, mark: str) -> str:
    """The last error that Alertmanager has logged of this alert; of the heartbeat, of the last minutes."""
    for line in reversed(list(project.engine.logs("alertmanager".__eq__, LOG_TAIL))):
        text = line.text
        if (mark in text or receiver == WATCHDOG) and '"err"' in text and f'"{receiver}"' in text:
            with suppress(ValueError, KeyError):
                return str(json.loads(text)["err"])
    return ""
