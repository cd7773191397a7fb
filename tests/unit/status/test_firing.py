"""What inv status says of the monitoring: alerts that fire, and who does not answer."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any, cast

from ops.core.errors import OpsError
from ops.monitoring.api import Monitoring
from ops.status.firing import SHOWN, lines


def alert(name: str, severity: str = "critical", state: str = "active", since: float = 0.0) -> Any:
    labels = {"severity": severity, "service": "nginx"}
    return SimpleNamespace(name=name, labels=labels, annotations={"summary": "Users wait"}, state=state, since=since)


class Closed:
    def alerts(self) -> list[Any]:
        raise OpsError("nginx does not answer", "timed out", "inv status")


class Servers:
    def __init__(self, *alerts: Any, alertmanager: bool = True, prometheus: bool = True) -> None:
        self.found, self.alertmanager, self.prometheus = alerts, alertmanager, prometheus

    def alerts(self) -> list[Any]:
        if not self.alertmanager:
            raise OpsError("Alertmanager does not answer", "502", "inv status")
        return list(self.found)

    def query(self, _: str) -> list[Any]:
        if not self.prometheus:
            raise OpsError("Prometheus does not answer", "504\nmore", "inv status")
        return []


def said(*alerts: Any, **answers: bool) -> list[str]:
    return [line.text for line in lines(cast(Monitoring, Servers(*alerts, **answers)))]


def test_alerts_the_gravest_and_newest_first_and_none_that_somebody_has_answered() -> None:
    found = said(
        alert("Slow", "warning"), alert("Late", since=2.0), alert("Early", since=1.0), alert("Answered", state="suppressed"),
        alert("Watchdog", "none"),
    )  # fmt: skip

    assert found == [
        "critical: Late nginx: Users wait", "critical: Early nginx: Users wait", "warning: Slow nginx: Users wait",
    ]  # fmt: skip


def test_of_a_storm_the_first_few() -> None:
    found = said(*(alert(f"A{number}") for number in range(SHOWN + 3)))

    assert len(found) == SHOWN + 1
    assert found[-1] == "and 3 more alerts: inv alerts"


def test_who_does_not_answer_is_named() -> None:
    assert [line.text for line in lines(cast(Monitoring, Closed()))] == ["nginx does not answer: timed out"]
    assert said() == []
    assert said(alert("Down"), prometheus=False) == ["critical: Down nginx: Users wait", "Prometheus does not answer: 504"]
    assert said(alertmanager=False, prometheus=False) == [
        "Alertmanager does not answer: 502",
        "Prometheus does not answer: 504",
    ]
