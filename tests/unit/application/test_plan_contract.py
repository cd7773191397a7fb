"""The contract of a replaced application: which paths follow from the settings, and what its answers lack."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from ops.application.trials import TRIALS
from ops.stack import contract
from ops.stack.compose import parse_stack
from ops.stack.contract import ABSENT, FAILED, OK, PAGE, PARTS, ROWS, UNTRIED, Found, rows_of
from tests.unit.builders import PORTS, REPOSITORY, STATE, settings

COMPOSE = (REPOSITORY / "compose" / "compose.yaml").read_text(encoding="utf-8")


def smoke(text: str, part: str = "backend") -> str | None:
    return parse_stack(COMPOSE, settings(text), PORTS, REPOSITORY, STATE).services[part].smoke


@pytest.fixture
def own(tmp_path: Path) -> Path:
    (tmp_path / "Containerfile").write_text("FROM scratch\n")
    return tmp_path


def test_reference_is_asked_for_a_path_that_takes_the_way_of_real_requests() -> None:
    assert smoke("") == "/api/v1/probe"


def test_own_application_is_asked_for_the_ready_path_that_every_one_has(own: Path) -> None:
    assert smoke(f"build: {{backend: {own}}}") == "/api/v1/health/ready"


@pytest.mark.parametrize("part", [True, False])
def test_a_path_that_the_settings_name_wins(own: Path, part: bool) -> None:
    build = f"build: {{backend: {own}}}\n" if part else ""
    assert smoke(f"{build}prober: {{get: /api/shop}}") == "/api/shop"


def test_an_empty_path_of_the_prober_leaves_the_ready_path() -> None:
    assert smoke('prober: {get: ""}') == "/api/v1/health/ready"


def test_frontend_is_asked_for_its_page(own: Path) -> None:
    assert smoke(f"build: {{frontend: {own}}}", "frontend") == "/"


@pytest.mark.parametrize(("part", "key"), [("backend", "probe"), ("backend", "live"), ("frontend", "probe")])
def test_paths_of_the_contract_are_those_that_compose_yaml_asks(part: str, key: str) -> None:
    service = parse_stack(COMPOSE, settings(), PORTS, REPOSITORY, STATE).services[part]
    asked = service.probe if key == "probe" else service.live
    path = contract.READY[part] if key == "probe" else contract.LIVE
    assert asked == f"https://{part}:{contract.PORTS[part]}{path}"


@pytest.mark.parametrize(
    ("status", "refusal"),
    [(200, False), (204, False), (308, True), (401, True), (404, True), (405, True), (429, False), (500, False), (503, False)],
)
def test_answers_that_waiting_does_not_change(status: int, refusal: bool) -> None:
    assert contract.is_refusal(status) is refusal


LINE = re.compile(r"^\| `([a-z -]+)` \| (backend|frontend|both) \| (yes|no) \| (.*) \|$", re.MULTILINE)


def test_the_page_lists_every_row_of_the_contract_and_no_other() -> None:
    page = (REPOSITORY / PAGE).read_text(encoding="utf-8")
    wanted = [
        (row.name, "both" if row.parts == PARTS else row.parts[0], "yes" if row.needed else "no", row.expected) for row in ROWS
    ]
    assert LINE.findall(page) == wanted


@pytest.mark.parametrize("part", PARTS)
def test_every_row_is_tried(part: str) -> None:
    assert {row.name for row in rows_of(part)} - set(TRIALS) == set()
    assert set(TRIALS) <= {row.name for row in ROWS}


@pytest.mark.parametrize(
    ("needed", "result", "bad"),
    [(True, OK, False), (True, FAILED, True), (True, UNTRIED, True), (False, ABSENT, False), (False, FAILED, True),
     (False, UNTRIED, False)],
)  # fmt: skip
def test_what_counts_as_a_failed_row(needed: bool, result: str, bad: bool) -> None:
    row = next(one for one in ROWS if one.needed is needed)
    assert Found(row, result).bad is bad


@pytest.mark.parametrize(
    ("lines", "said"),
    [
        (['{"level": "info", "message": "x"}'], ""),
        ([], ""),
        (["Traceback"], "not JSON"),
        (["[1]"], "not an object"),
        (['{"level": "info"}'], "without message"),
    ],
)
def test_log_lines(lines: list[str], said: str) -> None:
    assert contract.judge_logs(lines).startswith(said) and bool(contract.judge_logs(lines)) == bool(said)


def test_request_is_found_in_the_log_by_its_id() -> None:
    lines = ["noise", '"text"', '{"request_id": "abc"}']
    assert contract.carries_request_id(lines, "abc") and not contract.carries_request_id(lines, "abcd")


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ('http_requests_total{method="GET",status="200"} 3', ""),
        ("# HELP http_requests_total status=\n", "it has no http_requests_total"),
        ('http_requests_total{code="200"} 3', "http_requests_total has no label"),
    ],
)
def test_metrics(text: str, said: str) -> None:
    assert contract.judge_metrics(text).startswith(said) and bool(contract.judge_metrics(text)) == bool(said)


GOOD: dict[str, object] = {"revision": None, "pending": []}
DONE: dict[str, object] = {"revision": None, "applied": []}


@pytest.mark.parametrize(
    ("check", "done", "said"),
    [
        (GOOD, DONE, ""),
        (None, DONE, "migrate --check: its last line"),
        ({"pending": []}, DONE, "migrate --check: its last line"),
        ({**GOOD, "pending": None}, DONE, "migrate --check: pending"),
        (GOOD, None, "migrate: its last line"),
        (GOOD, {"revision": "1"}, "migrate: its last line"),
    ],
)
def test_last_lines_of_a_migration(check: dict[str, object] | None, done: dict[str, object] | None, said: str) -> None:
    found = contract.judge_migration(check, done)
    assert found.startswith(said) and bool(found) == bool(said)
