"""The list of metrics has each that a rule or a dashboard names, and says where it is from."""

from __future__ import annotations

import pytest
import yaml

from ops.monitoring.reference import family, metrics, names_in, uses
from tests.unit.builders import REPOSITORY

JOBS = {
    job["job_name"] for job in yaml.safe_load((REPOSITORY / "config/prometheus/prometheus.yml").read_text())["scrape_configs"]
}
TYPES = {"counter", "gauge", "histogram", "summary", "unknown"}


def test_every_metric_that_is_used_is_listed() -> None:
    assert {name: users for name, users in uses().items() if name not in metrics()} == {}, "list it in config/metrics.yaml"


def test_every_metric_says_what_it_is_and_where_from() -> None:
    for metric in metrics().values():
        assert metric.type in TYPES, metric
        assert metric.meaning and not metric.meaning.endswith("."), metric
        assert set(metric.job.split(", ")) <= JOBS | {"all", "rules"}, metric


@pytest.mark.parametrize(("expression", "names"), [
    ('sum by (a) (rate(foo_total{x="bar"}[5m])) / on (a) group_left (b) baz > 0.5', {"foo_total", "baz"}),
    ('label_replace(max(up{service=~"$service"}), "a", "$1", "b", "(.+)")', {"up"}),
    ("rate(foo[$__rate_interval]) > ${CC03_LOGS_BYTES}", {"foo"}),
    ('count({__name__=~"foo.*"})', set()),
])  # fmt: skip
def test_names_are_those_of_the_selectors(expression: str, names: set[str]) -> None:
    assert names_in(expression) == names


def test_parts_of_a_histogram_are_one_metric() -> None:
    assert family("edge_response_duration_seconds_bucket") == "edge_response_duration_seconds"
    assert family("pg_stat_activity_count") == "pg_stat_activity_count"
