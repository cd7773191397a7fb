"""What real Keycloaks have said, in public issues and on this stack: each excerpt is told for its cause, and for no other."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import yaml

from ops.engines.engine import Line
from ops.keycloak.failures.diagnose import diagnose
from ops.keycloak.failures.facts import Facts
from ops.keycloak.failures.log import log_lines
from ops.keycloak.failures.table import FAILURES
from tests.unit.keycloak.test_causes import CAUSES
from tests.unit.keycloak_facts import HEALTHY, NOW, failing

FOLDER = Path(__file__).parents[1] / "keycloak_excerpts"
AT = "2027-01-15T07:59:30.000000000+00:00"
"""Half a minute before NOW."""
Excerpt = dict[str, Any]


def excerpts(*names: str) -> list[Excerpt]:
    return [one for name in names for one in yaml.safe_load((FOLDER / f"{name}.yaml").read_text(encoding="utf-8"))]


def named(excerpt: Excerpt) -> str:
    return f"{excerpt.get('mode', 'harmless')} {excerpt['source']}"


STARTS, SERVING, HARMLESS = excerpts("starts", "measured"), excerpts("serving"), excerpts("harmless")


def as_json(line: str) -> str:
    """The same words as Keycloak writes them with log-console-output=json."""
    if line.startswith("{"):
        return line
    return json.dumps({"level": "ERROR", "loggerName": "org.keycloak", "message": line})


def said_by(facts: Facts, excerpt: Excerpt, form: str) -> Facts:
    said = excerpt["lines"].splitlines() * excerpt.get("times", 1)
    written = [Line("keycloak", AT, as_json(line) if form == "json" else line) for line in said if line]
    return replace(facts, log=tuple(log_lines(written, NOW - 600)))


def found(facts: Facts) -> list[str]:
    return [finding.id for finding in diagnose(facts).findings]


@pytest.mark.parametrize("form", ["plain", "json"])
@pytest.mark.parametrize("excerpt", STARTS, ids=named)
def test_start_that_failed_is_told_by_its_cause_alone(excerpt: Excerpt, form: str) -> None:
    assert found(said_by(failing(), excerpt, form)) == [excerpt["mode"]]


@pytest.mark.parametrize("excerpt", SERVING, ids=named)
def test_complaint_of_one_that_serves_is_told_by_its_cause_alone(excerpt: Excerpt) -> None:
    if excerpt.get("starting"):
        assert found(said_by(failing(), excerpt, "plain")) == ["crash-loop", excerpt["mode"]]
    else:
        assert found(said_by(HEALTHY, excerpt, "plain")) == [excerpt["mode"]]


@pytest.mark.parametrize("excerpt", HARMLESS, ids=named)
def test_harmless_lines_are_no_finding(excerpt: Excerpt) -> None:
    assert found(said_by(HEALTHY, excerpt, "plain")) == []
    # Beside a loop of another cause they explain nothing.
    assert found(said_by(failing(), excerpt, "plain")) == ["crash-loop"]


def test_there_are_enough_of_them_and_each_pattern_has_its_own() -> None:
    assert len(STARTS) + len(SERVING) >= 60
    assert len(HARMLESS) >= 10
    assert {failure.id for failure in FAILURES if failure.lines} <= {one["mode"] for one in (*STARTS, *SERVING)} | set(CAUSES)
