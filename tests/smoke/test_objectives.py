"""Objectives are measured on the live stack; inv slo and inv report read them."""

from __future__ import annotations

import json
from pathlib import Path

from ops.core.machine import REPOSITORY
from ops.monitoring.api import Monitoring
from ops.monitoring.objectives import SOURCE, parse_objectives
from tests.smoke.live import Live

GUARD = "and on () slo:counted"
"""Of what is counted: the first 15 minutes of a new stack are not."""


def counted(monitoring: Monitoring) -> bool:
    return bool(monitoring.query("slo:counted"))


def test_rules_of_every_objective_are_evaluated(live: Live) -> None:
    declared = parse_objectives((REPOSITORY / SOURCE).read_text(encoding="utf-8"))
    monitoring = Monitoring.of(live.project)
    rules = [rule for rule in monitoring.rules() if rule.group.startswith("objectives")]
    # Alertmanager counts no delivery where it has no receiver.
    always = {name for name, one in declared.items() if not one.events}

    assert [f"{rule.name}: {rule.error}" for rule in rules if rule.error] == []
    for series, wanted in (("slo:budget:ratio", set(declared)), ("slo:events:rate5m", always)):
        measured = {
            rule.labels["objective"] for rule in rules
            if rule.name == series and monitoring.query(rule.query.replace(GUARD, ""))
        }  # fmt: skip
        assert wanted <= measured, f"{series} lacks {wanted - measured}"


def test_what_is_recorded_begins_when_the_stack_is_no_longer_new(live: Live) -> None:
    monitoring = Monitoring.of(live.project)
    before = counted(monitoring)
    recorded = bool(monitoring.query("slo:events:rate5m"))

    assert recorded in (before, counted(monitoring))


def test_slo_shows_what_is_left(live: Live) -> None:
    new = not counted(Monitoring.of(live.project))
    found = json.loads(live.inv("slo", "--json").stdout)
    measured = {one["objective"] for one in found["objectives"] if one["left"] is not None}

    assert {one["objective"] for one in found["objectives"]} >= {"reachability", "api-availability", "login-latency"}
    assert new or {"reachability", "api-availability", "login-latency"} <= measured
    assert all(len(line) <= 80 for line in live.inv("slo").stdout.splitlines())


def test_report_is_written(live: Live, tmp_path: Path) -> None:
    live.inv("report", "--days", "1", "--output", str(tmp_path / "report.html"))
    text = (tmp_path / "report.html").read_text(encoding="utf-8")
    assert "The API answers without error" in text
    assert "checks passed" in text or "has not been run" in text
