"""What is left of error budgets, which hours used it, and what happened in them."""

from __future__ import annotations

import re
from collections.abc import Mapping
from datetime import UTC, datetime
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs

import pytest
import requests

from ops.monitoring.api import Monitoring
from ops.monitoring.budget import HOUR, budgets, percent
from ops.monitoring.history import Change, Episode, cost, during, episodes, join_activations
from ops.stack.release import Activation
from tests.unit.monitoring.recorded import BASE, Recorded

NOW = 1_796_079_600.0
API = {"objective": "api-availability", "service": "backend", "counts": "requests"}


def series(labels: Mapping[str, str], *points: tuple[float, float]) -> dict[str, Any]:
    return {
        "metric": labels,
        "value": [points[-1][0], str(points[-1][1])],
        "values": [[at, str(value)] for at, value in points],
    }


def client(answers: Mapping[str, list[dict[str, Any]]]) -> Monitoring:
    """answers: beginning of an expression -> the series that it has."""

    def answer(request: requests.PreparedRequest) -> tuple[int, Any]:
        asked = parse_qs(str(request.body))["query"][0]
        kind = "matrix" if "range" in str(request.url) else "vector"
        found = next((result for start, result in answers.items() if asked.startswith(start)), [])
        return 200, {"status": "success", "data": {"resultType": kind, "result": found}}

    made = Monitoring(BASE, Path("/ca.pem"))
    made.session.mount("https://", Recorded(answer))
    return made


DECLARED = {"last_over_time(slo:budget:ratio": [series({**API, "title": "The API answers"}, (NOW, 0.001))]}
USED = {
    **DECLARED,
    "sum_over_time(slo:bad:rate5m[15d])": [series(API, (NOW, 40.0))],
    "sum_over_time(slo:events:rate5m[15d])": [series(API, (NOW, 100_000.0))],
    "slo:burn_rate:1h": [series(API, (NOW, 2.5))],
    "sum_over_time(slo:bad:rate5m[1h])": [series(API, (NOW - 2 * HOUR, 30.0), (NOW - HOUR, 0.5), (NOW, 9.5))],
    "count_over_time(slo:events:rate5m[1h])": [series(API, (NOW - 50 * HOUR, 40.0), (NOW, 120.0))],
}


def test_budget_is_what_may_be_bad_of_all_that_was_counted() -> None:
    (one,) = budgets(client(USED), NOW, 15)

    assert (one.objective, one.title, one.target) == ("api-availability", "The API answers", 99.9)
    assert one.good == pytest.approx(99.96)
    assert one.left == pytest.approx(0.6), "40 of 100 that may be bad"
    assert (one.burn, one.since) == (2.5, NOW - 50 * HOUR - 1200)


def test_hours_that_used_it_begin_an_hour_before_the_point_and_come_worst_first() -> None:
    (one,) = budgets(client(USED), NOW, 15)
    assert [(hour.start, round(hour.share, 3)) for hour in one.hours] == [(NOW - 3 * HOUR, 0.3), (NOW - HOUR, 0.095)]


def test_budget_of_what_never_happened_is_unknown() -> None:
    for nothing in (DECLARED, {**USED, "sum_over_time(slo:events:rate5m[15d])": [series(API, (NOW, 0.0))]}):
        (one,) = budgets(client(nothing), NOW, 15)
        assert (one.good, one.left, one.hours) == (None, None, ())


@pytest.mark.parametrize(
    ("value", "shown"), [(100.0, "100 %"), (99.9996, "99.999 %"), (99.95, "99.95 %"), (99, "99 %"), (None, "–")]
)
def test_nothing_is_rounded_up_to_all(value: float | None, shown: str) -> None:
    assert percent(value) == shown


def stamp(at: float) -> str:
    return datetime.fromtimestamp(at, UTC).strftime("%Y-%m-%dT%H:%M:%S%z")


ENTRIES = [
    {"verb": "deploy", "began": stamp(NOW - 600), "at": stamp(NOW - 300), "outcome": "done", "who": "alice"},
    {"verb": "secrets.rotate", "began": stamp(NOW - 200), "at": stamp(NOW - 100), "outcome": "failed", "who": "bob"},
    {"verb": "deploy", "at": stamp(NOW - 90_000), "outcome": "killed", "who": "alice"},
]
MEASURED = {"requests": 2000, "failed": 3, "p99_ms": {"before": 12.0, "during": 40.0, "after": None}}


def test_change_has_the_activation_that_was_recorded_within_it() -> None:
    activations = [
        Activation(7, "deploy", stamp(NOW - 301), "reverted", requests=MEASURED),
        Activation(6, "deploy", stamp(NOW - 700), "good"),
    ]  # fmt: skip

    deployed, rotated = join_activations(ENTRIES, activations, NOW - 3600)

    assert (deployed.title, deployed.outcome, deployed.who, deployed.measured) == (
        "deploy 7",
        "reverted",
        "alice",
        True,
    )
    assert (deployed.p99("during"), deployed.p99("after")) == (40.0, None)
    assert (rotated.title, rotated.outcome, rotated.release, rotated.measured) == ("secrets.rotate", "failed", None, False)


def test_alert_that_pauses_has_fired_twice() -> None:
    labels = {"alertname": "SiteDown", "service": "nginx", "severity": "critical"}
    found = episodes(client({"max by": [series(labels, (60, 1), (120, 1), (600, 1))]}), 0, 3600)
    assert [(one.alert, one.began, one.ended) for one in found] == [("SiteDown", 0, 120), ("SiteDown", 540, 600)]


def test_range_of_a_month_is_asked_in_steps_that_prometheus_accepts() -> None:
    found = client({})
    episodes(found, 0, 30 * 86400)
    (asked,) = found.session.adapters["https://"].asked  # type: ignore[attr-defined]
    fields = parse_qs(str(asked.body))
    assert 30 * 86400 / float(fields["step"][0]) < 11_000
    assert f"[{fields['step'][0]}s]" in fields["query"][0]


def test_what_happened_in_an_hour() -> None:
    changed = [Change("deploy", 100, 200, "good", "a", 3), Change("restore", 5000, 6000, "done", "a")]
    fired = [Episode("SiteDown", "nginx", "critical", 150, 300), Episode("ErrorBudgetBurnsFast", "nginx", "critical", 150, 300)]

    assert during(0, 3600, changed, fired) == ("deploy 3", "SiteDown")
    assert during(3600, 4000, changed, fired) == ()


def test_cost_of_a_change_is_that_of_users_requests() -> None:
    answers = {
        "label_replace": [series({"part": "requests"}, (0, 900.0)), series({"part": "failed"}, (0, 2.0)),
                          series({"part": "p99"}, (0, 0.25))]
    }  # fmt: skip
    found = client(answers)

    paid = cost(found, Change("deploy", NOW, NOW + 200, "good", "a", 3))
    assert (paid.requests, paid.failed, paid.p99_ms) == (900.0, 2.0, 250.0)
    asked = parse_qs(str(found.session.adapters["https://"].asked[0].body))  # type: ignore[attr-defined]
    assert set(re.findall(r"\[(\d+)s\]", asked["query"][0])) == {"260"}
    assert float(asked["time"][0]) == NOW + 260
    assert cost(client({}), Change("deploy", NOW, NOW + 200, "good", "a", 3)).failed is None
