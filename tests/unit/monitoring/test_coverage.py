"""The matrix of inv coverage."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

from ops.monitoring.coverage.facts import with_tests
from ops.monitoring.coverage.matrix import COLUMNS, AlertRule, Found, gaps, matrix, percent, selectors


def alert(name: str, covers: str, *services: str) -> AlertRule:
    return AlertRule(name, frozenset(covers.split()), frozenset(services), tested=True, documented=True, routed=True)


ALERTS = (alert("Down", "down", "redis", "logs"), alert("Full", "saturation", "redis"), alert("Slow", "symptom", "redis"))
COMPLETE = Found({"redis": 1}, {"redis": 3}, {"redis": 1}, {"redis": ["Redis: memory"]}, {"redis": 12}, ALERTS)


def test_everything_covered_is_100_percent() -> None:
    found = matrix(["redis"], COMPLETE)

    assert gaps(found) == []
    assert percent(found) == 100
    assert found["redis"]["down"] == "Down"


@pytest.mark.parametrize(
    ("lacking", "column"),
    [
        (replace(COMPLETE, targets={}), "target"), (replace(COMPLETE, series={}), "series"),
        (replace(COMPLETE, probes={}), "probe"), (replace(COMPLETE, panels={}), "dashboard"),
        (replace(COMPLETE, logs={"redis": 0}), "logs"),
        (replace(COMPLETE, alerts=ALERTS[1:]), "down"), (replace(COMPLETE, alerts=(ALERTS[0], ALERTS[2])), "saturation"),
        (replace(COMPLETE, alerts=ALERTS[:2]), "symptom"),
        (replace(COMPLETE, alerts=(replace(ALERTS[0], tested=False), *ALERTS[1:])), "tests"),
        (replace(COMPLETE, alerts=(replace(ALERTS[0], routed=False), *ALERTS[1:])), "route"),
        (replace(COMPLETE, alerts=(replace(ALERTS[0], documented=False), *ALERTS[1:])), "runbook"),
    ],
)  # fmt: skip
def test_what_is_missing_leaves_its_own_cell_empty(lacking: Found, column: str) -> None:
    found = matrix(["redis"], lacking)

    assert gaps(found) == [("redis", column)]
    assert percent(found) == pytest.approx(100 - 100 / len(COLUMNS))


def test_alert_of_another_service_covers_nothing() -> None:
    assert ("logs", "saturation") in gaps(matrix(["logs"], COMPLETE))


def test_service_without_any_alert_has_none_that_is_tested() -> None:
    row = matrix(["redis"], replace(COMPLETE, alerts=()))["redis"]

    assert (row["tests"], row["route"], row["runbook"]) == ("", "", "")


def test_selectors_are_told_from_functions_and_labels() -> None:
    expr = 'sum by (service) (rate(http_total{status=~"5.."}[5m])) / on (service) up > 0.05'

    assert selectors(expr, frozenset(("http_total", "up"))) == ['http_total{status=~"5.."}', "up"]


def test_alert_counts_as_tested_with_a_test_of_each_outcome(tmp_path: Path) -> None:
    (tmp_path / "a_test.yml").write_text("""
tests:
  - alert_rule_test:
      - {eval_time: 1m, alertname: Both, exp_alerts: []}
      - {eval_time: 1m, alertname: Both, exp_alerts: [{exp_labels: {}}]}
      - {eval_time: 1m, alertname: Fires, exp_alerts: [{exp_labels: {}}]}
      - {eval_time: 1m, alertname: Silent, exp_alerts: []}
""")

    assert with_tests(tmp_path) == {"Both"}
