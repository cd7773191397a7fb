"""Everything that should be measured is, by the configuration and the rules of this checkout."""

from __future__ import annotations

from collections import Counter
from typing import Any

import yaml

from ops.core.machine import REPOSITORY
from tests.smoke.conftest import Counted
from tests.smoke.live import SCRAPED_WITHIN, Live, eventually


def expected_jobs(live: Live) -> Counter[str]:
    """Job -> how many targets it has."""
    single = (
        "prometheus", "alertmanager", "cadvisor", "node", "keycloak", "postgres", "redis", "nginx", "edge", "backup", "logs",
        "collector",
    )  # fmt: skip
    jobs = Counter({"backend": len(live.slots("backend")), "probe": 3, **dict.fromkeys(single, 1)})
    return jobs + Counter({"grafana": 1} if live.has_grafana else {})


def test_every_target_is_up_and_none_is_missing(live: Live) -> None:
    def targets() -> list[dict[str, Any]]:
        found: list[dict[str, Any]] = live.ops.json("/prometheus/api/v1/targets", params={"state": "active"})["data"][
            "activeTargets"
        ]
        return found

    def down() -> str:
        return "; ".join(
            f"{one['scrapeUrl']}: {one['lastError'] or one['health']}" for one in targets() if one["health"] != "up"
        )

    assert Counter(target["labels"]["job"] for target in targets()) == expected_jobs(live)
    eventually(down, SCRAPED_WITHIN)


def test_site_is_watched_as_a_user_reaches_it(live: Live) -> None:
    eventually(lambda: "" if live.number("count(probe_success == 1)") == 3 else "not every probe succeeds", SCRAPED_WITHIN)
    assert live.number("min(probe_ssl_earliest_cert_expiry) - time()") > 7 * 86400


def test_requests_show_in_the_metrics(live: Live, counted: Counted) -> None:
    series = 'sum(http_requests_total{method="DELETE",route="/api/v1/items/{item_id}",status="404"})'

    eventually(lambda: "" if live.number(series) >= counted.after else "the counted requests are not there yet", SCRAPED_WITHIN)


def test_every_alert_of_the_checkout_is_loaded_and_works(live: Live) -> None:
    files = (REPOSITORY / "config" / "prometheus" / "alerts").glob("*.yml")
    rules = [rule for file in files for group in yaml.safe_load(file.read_text())["groups"] for rule in group["rules"]]
    written = {rule["alert"] for rule in rules if "alert" in rule}
    groups = live.ops.json("/prometheus/api/v1/rules")["data"]["groups"]
    loaded = {rule["name"]: rule for group in groups for rule in group["rules"] if rule["type"] == "alerting"}

    assert set(loaded) == written
    assert {name: rule["lastError"] for name, rule in loaded.items() if rule.get("lastError")} == {}


def test_no_critical_alert_fires(live: Live) -> None:
    def firing() -> str:
        alerts = live.ops.json("/prometheus/api/v1/alerts")["data"]["alerts"]
        grave = [one for one in alerts if one["state"] == "firing" and one["labels"].get("severity") == "critical"]
        return "; ".join(f"{one['labels']['alertname']}: {one['annotations']['summary']}" for one in grave)

    # What a deploy has just caused is over by the next evaluation.
    eventually(firing, SCRAPED_WITHIN)


def test_alerts_are_sent_to_alertmanager(live: Live) -> None:
    found = live.ops.json("/prometheus/api/v1/alertmanagers")["data"]

    assert [one["url"] for one in found["activeAlertmanagers"]] == ["https://alertmanager:9093/alertmanager/api/v2/alerts"]


def test_runs_on_its_present_configuration(live: Live) -> None:
    metrics = live.inside("prometheus", 9090, "/prometheus/metrics").text

    assert "prometheus_config_last_reload_successful 1" in metrics.splitlines()
