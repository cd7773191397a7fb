"""Objectives are read with file and line, and become the rules that Prometheus evaluates."""

from __future__ import annotations

from typing import Any

import promql_parser
import pytest
import yaml

from ops.core.errors import UsageProblem
from ops.monitoring.objectives import BOUNDS, RULES, SOURCE, Objective, parse_objectives, rules_text, window_days
from tests.unit.builders import REPOSITORY

DECLARED = parse_objectives((REPOSITORY / SOURCE).read_text(encoding="utf-8"))
ONE = "objectives:\n  api:\n    title: The API answers\n    service: backend\n    target: 99.9\n"


def objective(more: str) -> Objective:
    return parse_objectives(f"{ONE}    {more}\n")["api"]


def test_responses_without_5xx_are_good() -> None:
    assert objective("requests: {route: api}").expressions() == (
        'sum(rate(edge_responses_total{route="api",status=~"5.."}[5m]))', 'sum(rate(edge_responses_total{route="api"}[5m]))',
    )  # fmt: skip


@pytest.mark.parametrize(("within", "le"), [("0.5", "0.5"), ("1", "1"), ("10", "10")])
def test_slower_responses_are_bad(within: str, le: str) -> None:
    bad, events = objective(f"requests: {{route: api, within: {within}}}").expressions()
    assert events == 'sum(rate(edge_response_duration_seconds_count{route="api"}[5m]))'
    assert bad == f'{events} - sum(rate(edge_response_duration_seconds_bucket{{route="api",le="{le}"}}[5m]))'


def test_events_and_time() -> None:
    assert objective("events: {all: a, bad: b}").expressions() == ("sum(rate(b[5m]))", "sum(rate(a[5m]))")
    assert objective("time: min(up)").expressions() == ("1 - avg_over_time((min(up))[5m:30s])", "vector(1)")


@pytest.mark.parametrize(
    ("more", "what", "why"),
    [
        ("requests: {route: page, within: 0.3}", ":6 objectives.api.requests.within is 0.3", "one of 0.05, 0.1"),
        ("requests: {route: pages}", ":6 objectives.api.requests.route is 'pages'", "page or api or login"),
        ("request: {route: api}", ':6 unknown setting "request" in objectives.api', 'did you mean "requests"?'),
        ("events: {all: a}", ":6 objectives.api.events has no bad", "bad"),
        ("time: ''", ":6 objectives.api.time is ''", "an expression of PromQL"),
    ],
)
def test_what_cannot_be_meant_is_refused_with_its_line(more: str, what: str, why: str) -> None:
    with pytest.raises(UsageProblem) as caught:
        objective(more)
    assert caught.value.what.startswith(SOURCE + what)
    assert why in caught.value.why


@pytest.mark.parametrize("more", ["", "requests: {route: api}\n    time: up"])
def test_an_objective_counts_exactly_one_thing(more: str) -> None:
    with pytest.raises(UsageProblem, match=f"{SOURCE}:2 objectives.api|{SOURCE}:3 objectives.api") as caught:
        objective(more)
    assert "exactly one of requests, events and time" in caught.value.why


def rules() -> list[dict[str, Any]]:
    return [rule for group in yaml.safe_load(rules_text(DECLARED))["groups"] for rule in group["rules"]]


def test_each_objective_has_its_series_and_every_expression_can_be_read() -> None:
    found = {(rule["record"], (rule.get("labels") or {}).get("objective")) for rule in rules() if "record" in rule}
    for name in DECLARED:
        assert {(f"slo:{one}", name) for one in ("bad:rate5m", "events:rate5m", "budget:ratio")} <= found
    for rule in rules():
        promql_parser.parse(rule["expr"])


def test_burn_rate_of_every_window_that_an_alert_reads_is_recorded() -> None:
    recorded = {rule["record"] for rule in rules() if "record" in rule}
    assert {f"slo:burn_rate:{window}" for window in ("5m", "30m", "1h", "6h", "3d", "window")} <= recorded


def test_rules_are_few() -> None:
    assert len(rules()) <= 3 * len(DECLARED) + 9


def test_file_of_rules_is_the_one_that_prometheus_reads() -> None:
    assert (REPOSITORY / RULES).read_text(encoding="utf-8") == rules_text(DECLARED), "run: nox -s docs"


def test_bounds_are_those_that_nginx_counts() -> None:
    script = (REPOSITORY / "config" / "nginx" / "responses.js").read_text(encoding="utf-8")
    assert f"const SECONDS = [{', '.join(f'{bound:g}' for bound in BOUNDS)}];" in script


def test_site_api_and_login_have_availability_and_latency() -> None:
    routes = {(one.requests.route, one.requests.within is None) for one in DECLARED.values() if one.requests}
    assert routes == {(route, kind) for route in ("page", "api", "login") for kind in (True, False)}


@pytest.mark.parametrize(("retention", "days"), [("15d", 15), ("30d", 30), ("1y", 30)])
def test_window_is_as_long_as_metrics_are_kept(retention: str, days: int) -> None:
    assert window_days(retention) == days
