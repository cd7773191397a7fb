"""Objectives are measured on the live stack; inv slo and inv report read them."""

from __future__ import annotations

import json
import os
import time
from pathlib import Path

from ops.core.machine import REPOSITORY
from ops.monitoring.api import Monitoring
from ops.monitoring.objectives import SOURCE, parse_objectives
from tests.smoke.live import Live

REPORT_SECONDS = 10.0
"""On a host that is not overloaded."""


def test_rules_of_every_objective_are_evaluated(live: Live) -> None:
    declared = parse_objectives((REPOSITORY / SOURCE).read_text(encoding="utf-8"))
    monitoring = Monitoring.of(live.project)

    # Alertmanager counts no delivery where it has no receiver.
    always = {name for name, one in declared.items() if not one.events}
    for series, wanted in (("slo:budget:ratio", set(declared)), ("slo:events:rate5m", always)):
        measured = {one.labels["objective"] for one in monitoring.query(series)}
        assert wanted <= measured, f"{series} lacks {wanted - measured}"
    rules = [rule for rule in monitoring.rules() if rule.group.startswith("objectives")]
    assert [f"{rule.name}: {rule.error}" for rule in rules if rule.error] == []
    assert sum(rule.seconds for rule in rules) < 1.0


def test_slo_shows_what_is_left(live: Live) -> None:
    found = json.loads(live.inv("slo", "--json").stdout)
    measured = {one["objective"] for one in found["objectives"] if one["left"] is not None}
    assert {"reachability", "api-availability", "login-latency"} <= measured
    assert all(len(line) <= 80 for line in live.inv("slo").stdout.splitlines())


def test_report_is_written_within_its_time(live: Live, tmp_path: Path) -> None:
    allowed = REPORT_SECONDS * max(1.0, os.getloadavg()[0] / (os.cpu_count() or 1))
    began = time.monotonic()
    live.inv("report", "--days", "1", "--output", str(tmp_path / "report.html"))

    assert time.monotonic() - began < allowed
    text = (tmp_path / "report.html").read_text(encoding="utf-8")
    assert "The API answers without error" in text
    assert "checks passed" in text or "has not been run" in text
