"""Causes by real log lines. Half of the excerpts of each cause were collected after its pattern was written."""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import yaml

from ops.engines.engine import Line
from ops.keycloak.failures.diagnose import diagnose
from ops.keycloak.failures.facts import Facts, LogLine, PostgresFacts
from ops.keycloak.failures.failure import Finding
from ops.keycloak.failures.log import log_lines
from ops.keycloak.failures.table import BY_ID
from tests.unit.keycloak_facts import HEALTHY, NOW, failing

FOLDER = Path(__file__).parents[1] / "keycloak_excerpts"
AT = "2027-01-15T07:59:30.000000000+00:00"
"""Half a minute before NOW."""
HELD_OUT = "test"
SERVING = replace(HEALTHY, postgres=PostgresFacts(), unread={"database": "no answer within 4.5 s"})
"""One that serves, and nothing but its log says what it complains of."""
Excerpt = dict[str, Any]


def causes() -> dict[str, list[Excerpt]]:
    files = (yaml.safe_load(path.read_text(encoding="utf-8")) for path in sorted((FOLDER / "causes").glob("*.yaml")))
    return {file["mode"]: [{"mode": file["mode"], **one} for one in file["excerpts"]] for file in files}


CAUSES = causes()
EXCERPTS = [one for excerpts in CAUSES.values() for one in excerpts]
UNKNOWN: list[Excerpt] = yaml.safe_load((FOLDER / "unknown.yaml").read_text(encoding="utf-8"))


def named(excerpt: Excerpt) -> str:
    return f"{excerpt.get('mode', 'unknown')} {excerpt.get('split', '')} {excerpt['source']}"


def records(excerpt: Excerpt) -> list[LogLine]:
    written = [Line("keycloak", AT, line) for line in excerpt["lines"].splitlines() if line]
    return list(log_lines(written, NOW - 600)) * int(excerpt.get("times", 1))


def as_json(found: list[LogLine]) -> Iterator[LogLine]:
    """The same as Keycloak writes it with log-console-output=json; what comes from another program has no level."""
    for one in found:
        text = one.text
        if one.level:
            text = json.dumps({"level": one.level, "loggerName": one.logger, "message": one.text})
        yield from log_lines([Line("keycloak", AT, text)], NOW - 600)


def findings(excerpt: Excerpt, form: str = "plain") -> list[Finding]:
    facts: Facts = SERVING if excerpt.get("serving") else failing()
    found = records(excerpt)
    return list(diagnose(replace(facts, log=tuple(as_json(found) if form == "json" else found))).findings)


def causes_of(excerpt: Excerpt, form: str) -> list[str]:
    """What is named, without the loop that a complaint of a running Keycloak does not explain."""
    found = [finding.id for finding in findings(excerpt, form)]
    beside = "crash-loop" not in BY_ID[excerpt["mode"]].explains
    return [name for name in found if not (beside and name == "crash-loop")]


@pytest.mark.parametrize("form", ["plain", "json"])
@pytest.mark.parametrize("excerpt", EXCERPTS, ids=named)
def test_excerpt_is_named_by_its_cause_and_by_no_other(excerpt: Excerpt, form: str) -> None:
    assert causes_of(excerpt, form) == [excerpt["mode"]]


@pytest.mark.parametrize("cause", CAUSES)
def test_cause_has_three_sources_and_half_of_its_excerpts_are_held_out(cause: str) -> None:
    excerpts = CAUSES[cause]
    held_out = [one for one in excerpts if one["split"] == HELD_OUT]

    assert len({one["source"] for one in excerpts}) >= 3
    assert 2 * len(held_out) >= len(excerpts)
    assert len({one["lines"] for one in excerpts}) == len(excerpts)


@pytest.mark.parametrize("excerpt", UNKNOWN, ids=named)
def test_unknown_loop_is_called_unknown_with_what_it_says(excerpt: Excerpt) -> None:
    (finding,) = findings(excerpt)

    assert finding.id == "crash-loop"
    assert any(excerpt["says"] in said for said in finding.saw)
