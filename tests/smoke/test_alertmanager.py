"""Alertmanager takes alerts, from Prometheus and by hand, and lets go of them."""

from __future__ import annotations

import secrets
from datetime import UTC, datetime, timedelta

from tests.smoke.live import Live, eventually

ALERTS = "/alertmanager/api/v2/alerts"


def listed(live: Live, name: str) -> list[dict[str, object]]:
    found: list[dict[str, object]] = live.ops.json(ALERTS, params={"filter": f'alertname="{name}"'})
    return found


def test_test_alert_arrives_and_goes(live: Live) -> None:
    name = f"SmokeTest{secrets.token_hex(4)}"

    def post(lasts: timedelta) -> None:
        now = datetime.now(UTC)
        # Ends before the 20 s for which a group waits: nobody is notified.
        alert = {
            "labels": {"alertname": name, "severity": "none", "service": "alertmanager"},
            "annotations": {"summary": "A test that ends by itself"},
            "startsAt": (now - timedelta(seconds=1)).isoformat(), "endsAt": (now + lasts).isoformat(),
        }  # fmt: skip
        assert live.ops("POST", ALERTS, json=[alert]).status_code == 200

    post(timedelta(seconds=10))
    eventually(lambda: "" if listed(live, name) else "the test alert is not listed", 5)
    post(timedelta(seconds=0))
    eventually(lambda: "the test alert is still listed" if listed(live, name) else "", 15)


def test_watchdog_arrives_from_prometheus(live: Live) -> None:
    eventually(lambda: "" if listed(live, "Watchdog") else "Watchdog has not arrived", 75)


def test_alerts_are_routed_to_a_receiver(live: Live) -> None:
    status = live.ops.json("/alertmanager/api/v2/status")

    assert "receiver: operator" in status["config"]["original"]
    assert status["cluster"]["status"] in {"ready", "disabled"}


def test_runs_on_its_present_configuration(live: Live) -> None:
    assert live.inside("alertmanager", 9093, "/alertmanager/-/ready").status_code == 200
    metrics = live.inside("alertmanager", 9093, "/alertmanager/metrics").text
    assert "alertmanager_config_last_reload_successful 1" in metrics.splitlines()
