"""Exceptions, the share that passed, and the report."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from datetime import date
from typing import Any

import pytest

from ops.core.errors import UsageProblem
from ops.security_audit.controls import CONTROLS
from ops.security_audit.controls.control import SECTIONS
from ops.security_audit.judge import ACCEPTED, FAILED, NOT_CHECKED, PASSED, Accepted, flaws, judge, parse_exceptions
from ops.security_audit.judge import FILE as EXCEPTIONS
from ops.security_audit.report import as_json, page, summary
from tests.unit.builders import REPOSITORY
from tests.unit.security_audit.facts import clean, with_answer, with_process
from tests.unit.security_audit.test_plan_walls import TODAY, _without, accepted_of, numbers


def _accept(**changes: Any) -> Accepted:
    plain = Accepted("2.6", "redis", ("uid 0",), "it reads files that belong to root", "operator", date(2027, 1, 1))
    return replace(plain, **changes)


def _judged(*accepted: Accepted) -> tuple[str, list[str]]:
    facts = with_process("redis", uids=frozenset({0}))
    report = judge(facts, [*accepted_of(clean()), *accepted], TODAY)
    outcome = next(one.outcome for one in report.results if one.control.number == "2.6")
    return outcome, [f"{control.number} {one.what}" for control, one in report.findings]


def test_an_exception_accepts_what_it_names() -> None:
    assert _judged(_accept()) == (ACCEPTED, [])


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"until": date(2026, 11, 26)}, "expired on 2026-11-26"),
        ({"until": date(2030, 1, 1)}, "longer than 400 days"),
        ({"reason": "because"}, "cannot be reviewed"),
    ],
)
def test_an_exception_that_does_not_hold_accepts_nothing(change: Mapping[str, Any], said: str) -> None:
    outcome, findings = _judged(_accept(**change))

    assert outcome == FAILED
    assert [one for one in findings if one.startswith("9.9 ") and said in one]


def test_an_exception_holds_on_its_last_day() -> None:
    assert flaws(_accept(until=TODAY), TODAY) == ""


@pytest.mark.parametrize("change", [{"where": "postgres"}, {"control": "2.3"}, {"subjects": ("another",)}])
def test_an_exception_for_something_else_is_unused(change: Mapping[str, Any]) -> None:
    outcome, findings = _judged(_accept(**change))

    assert outcome == FAILED
    assert [one for one in findings if one.startswith("9.9 no finding matches")]


def test_exception_for_an_unchecked_control_is_not_unused() -> None:
    facts = replace(clean(), unread={"realm": "offline"})
    report = judge(facts, [*accepted_of(clean()), _accept(control="7.6", where="keycloak")], TODAY)

    assert report.findings == ()


def test_the_exceptions_of_this_repository_hold_and_cover_its_listeners() -> None:
    accepted = parse_exceptions((REPOSITORY / EXCEPTIONS).read_text(), CONTROLS)

    assert [(str(one), why) for one in accepted if (why := flaws(one, TODAY))] == []
    report = judge(clean(), accepted, TODAY)
    assert [found for control, found in report.findings if control.number == "5.1"] == []
    assert [found for control, found in report.findings if control.number == "9.9" and found.where.startswith("5.1 ")] == []


def test_exception_for_a_stopped_container_is_not_unused() -> None:
    facts = _without("logs")
    report = judge(facts, [*accepted_of(clean()), _accept(control="2.6", where="logs", subjects=("uid 0",))], TODAY)

    assert {control.number for control, _ in report.findings} == {"2.1"}


WHOLE = "- {control: '2.6', where: logs, subjects: [uid 0], reason: it reads them, owner: operator, until: 2027-01-01}"


@pytest.mark.parametrize(
    ("old", "new", "said"),
    [
        ("owner: operator, ", "", "lacks owner"),
        ("'2.6'", "'2.99'", "no control 2.99"),
        ("until: 2027-01-01", "until: soon", "until is 'soon'"),
        ("subjects: [uid 0]", "subjects: uid 0", "subjects is no list"),
        ("owner", "ownr", "ownr is not known"),
        (WHOLE, "- everything", "entry 1"),
    ],
)
def test_invalid_exception_is_refused(old: str, new: str, said: str) -> None:
    assert parse_exceptions(WHOLE, CONTROLS)[0].until == date(2027, 1, 1)
    with pytest.raises(UsageProblem, match=said):
        parse_exceptions(WHOLE.replace(old, new), CONTROLS)


# ---- The report


def test_the_share_counts_what_was_checked_only() -> None:
    facts = replace(with_process("redis", seccomp=0), unread={"python": "offline"})
    report = judge(facts, accepted_of(clean()), TODAY)
    number = len(CONTROLS) + 1

    assert (report.count(FAILED), report.count(NOT_CHECKED)) == (1, 1)
    assert report.share == pytest.approx(100 * (number - 2) / (number - 1))
    assert summary(report).startswith(f"{number - 2} of {number - 1} controls passed (9")
    told = as_json(report, 1.0)
    assert told["counts"][PASSED] + told["counts"][ACCEPTED] == number - 2
    assert len(told["controls"]) == number


def test_every_section_is_used_and_every_number_belongs_to_one() -> None:
    assert {number.partition(".")[0] for number in CONTROLS} == set(SECTIONS)


def test_page_lists_findings_exceptions_and_unchecked_controls() -> None:
    facts = replace(with_process("redis", seccomp=0), unread={"python": "no | network"})
    text = page(
        judge(facts, accepted_of(clean()), TODAY), project="cc03", host="db1", at="2026-11-27 19:00", commit="abc", seconds=2.0
    )

    assert "| 2.5 | redis | process redis has no seccomp filter |" in text
    assert (
        "| 5.1 | nginx | nginx:8080 speaks http without TLS | the reason is told in five words | operator | 2027-01-01 |"
        in text
    )
    assert "| 8.2 | The backend has no Python package with a known vulnerability | no \\| network |" in text
    assert "| 2.5 | Every process has a seccomp filter | **failed** |" in text


def test_a_page_that_is_not_there_is_not_public() -> None:
    assert numbers(with_answer("monitoring /metrics", status=404, body="x")) == set()
