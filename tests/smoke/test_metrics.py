"""What the list of metrics promises is there: each has data on the live stack, and is of the type that is listed."""

from __future__ import annotations

from ops.monitoring.reference import metrics
from tests.smoke.live import SCRAPED_WITHIN, Live, eventually

PARTS = {"histogram": "_count", "summary": "_count"}


def test_every_metric_has_data(live: Live) -> None:
    """Within the last day: some come with the first request, or are made anew by each scrape."""

    def absent() -> str:
        expression = 'count by (__name__) (last_over_time({__name__!=""}[1d]))'
        there = {one["metric"]["__name__"] for one in live.query(expression)}
        return ", ".join(
            metric.name for metric in metrics().values()
            if not metric.missing and metric.name + PARTS.get(metric.type, "") not in there
        )  # fmt: skip

    eventually(absent, SCRAPED_WITHIN)


def test_types_are_those_of_the_exporters(live: Live) -> None:
    told = live.ops.json("/prometheus/api/v1/metadata")["data"]
    wrong = {
        metric.name: told[metric.name][0]["type"] for metric in metrics().values()
        if metric.name in told and told[metric.name][0]["type"] != metric.type
    }  # fmt: skip

    assert wrong == {}
