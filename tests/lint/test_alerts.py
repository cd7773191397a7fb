"""Alerts: each says how grave it is and what to read, and is shown to fire and to stay silent."""

from __future__ import annotations

import copy
import re
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import promql_parser
import pytest
import yaml

from ops.core.machine import REPOSITORY

from .deployed import CONFIG, Deployed, Question

FOLDER = REPOSITORY / "config" / "prometheus"
SEVERITIES = ("critical", "warning", "none")


def rules_of(folder: Path) -> list[dict[str, Any]]:
    documents = [yaml.safe_load(path.read_text()) for path in sorted((folder / "alerts").glob("*.yml"))]
    return [rule for document in documents for group in document["groups"] for rule in group["rules"] if "alert" in rule]


def cases_of(folder: Path) -> list[dict[str, Any]]:
    documents = [yaml.safe_load(path.read_text()) for path in sorted((folder / "tests").glob("*_test.yml"))]
    return [test for document in documents for case in document["tests"] for test in case.get("alert_rule_test") or ()]


RULES = rules_of(FOLDER)
ALERTS = [rule["alert"] for rule in RULES if "alert" in rule]
TESTS = cases_of(FOLDER)
RUNBOOKS = {path.stem for path in (REPOSITORY / "docs" / "runbooks").glob("*.md")}
ALWAYS_FIRES = {"Watchdog"}
"""Its silence is what a receiver notices, so there is no state of the stack in which it is silent."""


def rule_problems(rule: dict[str, Any], tests: list[dict[str, Any]], runbooks: set[str]) -> Iterator[str]:
    name = rule.get("alert", "")
    labels, annotations = rule.get("labels") or {}, rule.get("annotations") or {}
    try:
        promql_parser.parse(re.sub(r"\$\{CC03_\w+\}", "1", str(rule["expr"])))
    except ValueError as problem:
        yield f"the expression cannot be read: {problem}"
    if labels.get("severity") not in SEVERITIES:
        yield f"severity is none of {', '.join(SEVERITIES)}"
    for key in ("summary", "description"):
        if not annotations.get(key):
            yield f"has no {key}"
    if annotations.get("runbook_url") != f"docs/runbooks/{name}.md":
        yield "does not name its runbook"
    if name not in runbooks:
        yield f"has no docs/runbooks/{name}.md"
    own = [bool(test.get("exp_alerts")) for test in tests if test["alertname"] == name]
    if True not in own:
        yield "no test shows it firing"
    if False not in own and name not in ALWAYS_FIRES:
        yield "no test shows it silent"


@pytest.mark.parametrize("alert", ALERTS)
def test_alert_is_complete(alert: str) -> None:
    rule = next(rule for rule in RULES if rule.get("alert") == alert)
    assert not list(rule_problems(rule, TESTS, RUNBOOKS))


def test_alerts_have_names_of_their_own() -> None:
    assert len(ALERTS) == len(set(ALERTS))


def test_every_runbook_belongs_to_an_alert() -> None:
    assert RUNBOOKS - {"README", "index", "disaster", "postgresql-cluster"} <= set(ALERTS)


GOOD: dict[str, Any] = {
    "alert": "Down", "expr": "up == 0", "labels": {"severity": "critical"},
    "annotations": {"summary": "down", "description": "It is down.", "runbook_url": "docs/runbooks/Down.md"},
}  # fmt: skip
FIRES: dict[str, Any] = {"alertname": "Down", "exp_alerts": [{"exp_labels": {}}]}
SILENT: dict[str, Any] = {"alertname": "Down", "exp_alerts": []}

BROKEN: dict[str, tuple[Callable[[dict[str, Any]], Any], str]] = {
    "expression": (lambda rule: rule.update(expr="up =="), "cannot be read"),
    "no severity": (lambda rule: rule.pop("labels"), "severity"),
    "unknown severity": (lambda rule: rule["labels"].update(severity="high"), "severity"),
    "no summary": (lambda rule: rule["annotations"].pop("summary"), "no summary"),
    "no description": (lambda rule: rule["annotations"].pop("description"), "no description"),
    "another's runbook": (lambda rule: rule["annotations"].update(runbook_url="docs/runbooks/Up.md"), "name its runbook"),
}


@pytest.mark.parametrize("case", BROKEN)
def test_a_broken_alert_is_refused(case: str) -> None:
    change, complaint = BROKEN[case]
    rule = copy.deepcopy(GOOD)
    assert not list(rule_problems(rule, [FIRES, SILENT], {"Down"}))
    change(rule)
    found = list(rule_problems(rule, [FIRES, SILENT], {"Down"}))
    assert len(found) == 1
    assert complaint in found[0]


def test_an_alert_without_its_tests_or_runbook_is_refused() -> None:
    assert list(rule_problems(GOOD, [FIRES], {"Down"})) == ["no test shows it silent"]
    assert list(rule_problems(GOOD, [SILENT], {"Down"})) == ["no test shows it firing"]
    assert list(rule_problems(GOOD, [FIRES, SILENT], set())) == ["has no docs/runbooks/Down.md"]


def test_runbook_of_each_alert_is_served_to_the_operator(deployed: Deployed) -> None:
    """As a page of the docs in nginx' image, under the path that a notification leads to."""
    (answer,) = deployed.ask("nginx", [Question(("bash", "-c", "cd /usr/share/edge/ops/docs/runbooks && ls */index.html"), {})])
    assert {f"{alert}/index.html" for alert in ALERTS} <= set(answer.output.split())


def test_alerts_fire_and_stay_silent_as_their_tests_say(deployed: Deployed) -> None:
    files = deployed.config("prometheus") | deployed.filled("prometheus", "tests")
    test_rules = ["promtool", "test", "rules"]
    everything = [*test_rules, *(f"{CONFIG}/{path}" for path in files if path.startswith("tests/"))]
    blind = {**files, "alerts/services.yml": files["alerts/services.yml"].replace("expr: up == 0", "expr: up == 2", 1)}
    assert blind != files
    good, broken = deployed.ask(
        "prometheus", [Question(everything, files), Question([*test_rules, f"{CONFIG}/tests/services_test.yml"], blind)]
    )
    assert good.returncode == 0, str(good)
    assert broken.returncode != 0, str(broken)
    assert "TargetDown" in broken.output, str(broken)
