"""The page of inv report: complete in itself, every value escaped, readable where nothing was measured."""

from __future__ import annotations

import math
import re
from dataclasses import replace
from datetime import UTC, datetime
from html.parser import HTMLParser
from itertools import pairwise
from pathlib import Path

import pytest

from ops.core.state import State
from ops.monitoring.api import Series
from ops.monitoring.budget import Budget
from ops.monitoring.history import Change, Cost, Episode
from ops.monitoring.report.charts import HEIGHT, LEFT, RIGHT, WIDTH, chart, said
from ops.monitoring.report.gather import Figure, Report, Route, _fired, audit_of, impact
from ops.monitoring.report.page import html
from ops.security_audit.last import keep, last
from tests.unit.builders import REPOSITORY

RUNBOOKS = REPOSITORY / "docs" / "runbooks"
DAY = 86400.0
END = 1_796_079_600.0
POINTS = Series({}, tuple((END - DAY + 600 * n, float(n % 7)) for n in range(144)))
EMPTY = Report("cc03", "shop.example.com", END - 7 * DAY, END, 7, (), (), (), 0, (), (), (), (), audit_of(None))
HOSTILE = "<script>alert('x')</script>"
ACCEPTED = {"where": "logs", "what": "runs as root", "reason": HOSTILE, "owner": "operator", "until": "2027-05-01"}
AUDIT = {
    "at": "2026-11-28T12:00:00+00:00", "counts": {"passed": 70, "accepted": 1, "failed": 1, "not checked": 2},
    "controls": [
        {"title": "No root", "findings": [], "accepted": [ACCEPTED, {**ACCEPTED, "where": "nginx"}]},
        {"title": "Images", "findings": [{"where": "nginx", "what": HOSTILE}], "accepted": []},
    ],
}  # fmt: skip
FULL = replace(
    EMPTY,
    objectives=(
        Budget("api", f"The API {HOSTILE}", "backend", "requests", 99.9, good=99.8, left=-1.0, burn=0.1, since=END - 2 * DAY),
        Budget("site", "The site", "frontend", "requests", 99.9, good=99.99, left=0.9, burn=0.1, since=END - 2 * DAY),
        Budget("alerts", "Alerts", "alertmanager", "events", 99),
    ),
    routes=(Route("API", 1000, 2, 12.3, math.nan),),
    changes=(
        (Change("deploy", END - 600, END - 300, "reverted", HOSTILE, 4, {"requests": 90, "failed": 3}), Cost(500.0, 2.0, None)),
        (Change("restore", END - 200, END - 100, "done", "bob"), None),
    ),
    proofs=(("Newest backup", "never"),),
    alerts=tuple(_fired([Episode("SiteDown", "nginx", "critical", END - 900, END - 60)], END, RUNBOOKS)),
    charts=(chart("Requests", "A minute.", [("API", POINTS)], END - DAY, END, 600, "%", [(END - 900, END, HOSTILE)]),),
    figures=(Figure("Requests", "1,000", "–", ""),),
    audit=audit_of(AUDIT),
)  # fmt: skip


class Reader(HTMLParser):
    def __init__(self, text: str) -> None:
        super().__init__()
        self.tags: list[str] = []
        self.addresses: list[str] = []
        self.open: list[str] = []
        self.feed(text)

    def handle_starttag(self, tag: str, attributes: list[tuple[str, str | None]]) -> None:
        self.tags.append(tag)
        self.addresses += [str(value) for name, value in attributes if name in ("href", "src", "srcset", "action")]
        if tag not in ("meta", "br"):
            self.open.append(tag)

    def handle_startendtag(self, tag: str, attributes: list[tuple[str, str | None]]) -> None:
        self.tags.append(tag)

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag


@pytest.mark.parametrize("report", [EMPTY, FULL], ids=["empty", "full"])
def test_page_is_well_formed_and_refers_to_nothing_else(report: Report) -> None:
    text = html(report)
    found = Reader(text)

    assert found.open == []
    assert found.addresses == []
    assert not {"script", "link", "iframe", "img"} & set(found.tags)
    assert not re.search(r"url\(|@import|https?://", text)


def test_what_others_wrote_is_shown_as_text() -> None:
    text = html(FULL)
    assert HOSTILE not in text
    assert text.count("&lt;script&gt;") == 6, "title, verdict, who, a mark of the chart, a finding, an exception"


def test_verdict_counts_what_was_measured_and_names_what_was_missed() -> None:
    assert "1 of 2 promises were kept. Not kept: The API" in html(FULL)
    assert "Nothing has been measured yet." in html(EMPTY)
    kept = replace(FULL, objectives=FULL.objectives[1:])
    assert "All 1 promises to the users were kept." in html(kept)
    assert f"There are measurements since {'2026-11-28'}" in html(FULL)


def test_change_is_shown_with_what_it_cost_users_and_the_prober() -> None:
    text = html(FULL)
    assert "2 of 500 requests" in text
    assert "test requests: 3 of 90" in text


def test_alert_that_ended_a_minute_ago_is_of_now_and_says_what_users_notice() -> None:
    (one,) = FULL.alerts
    assert (one.now, one.times, one.services) == (True, 1, "nginx")
    assert one.impact.startswith("page: the site is down.")


def test_every_runbook_says_what_users_notice() -> None:
    pages = [path for path in RUNBOOKS.glob("*.md") if path.stem not in ("README", "disaster", "postgresql-cluster")]
    assert [path.stem for path in pages if not impact(path)] == []
    assert impact(Path("/none.md")) == ""


def test_chart_leaves_out_what_was_not_measured() -> None:
    series = Series({}, ((0, 1.0), (60, 2.0), (120, math.nan), (600, 3.0), (660, math.inf)))
    (line,) = chart("", "", [("a", series)], 0, 660, 60, "ms").lines

    assert [part[0] for part in line.path.split()] == ["M", "L", "M"]
    assert line.last == "3 ms"


def test_chart_stays_within_its_frame() -> None:
    drawn = chart("", "", [("a", Series({}, ((0, 0.0), (100, 120.0))))], 0, 100, 100, "%", [(-50, 50, "early")], ceiling=100)
    pairs = [tuple(map(float, part[1:].split(","))) for part in drawn.lines[0].path.split()]
    assert all(LEFT <= x <= WIDTH - RIGHT and 0 <= y <= HEIGHT for x, y in pairs)
    assert drawn.spans[0][0] == LEFT


@pytest.mark.parametrize(("hours", "most"), [(1, 8), (24, 9), (168, 8), (720, 9), (8760, 9)])
def test_labels_of_time_fit(hours: int, most: int) -> None:
    places = [x for x, _ in chart("", "", [], END - hours * 3600, END, 60, "").across]
    assert 3 <= len(places) <= most
    assert min(after - before for before, after in pairwise(places)) > 50


@pytest.mark.parametrize(
    ("value", "unit", "shown"),
    [(0, "", "0"), (12345.6, "", "12,346"), (12.34, "ms", "12.3 ms"), (0.004, "%", "< 0.01 %"), (2.0, "%", "2 %"),
     (math.nan, "ms", "–")],
)  # fmt: skip
def test_figures_have_three_digits(value: float, unit: str, shown: str) -> None:
    assert said(value, unit) == shown


def test_last_audit_is_summed_up_and_an_exception_listed_once() -> None:
    found = audit_of(AUDIT)
    assert found.summary == "The audit of 2026-11-28 12:00 UTC: 71 of 72 checks passed; 2 were not checked."
    assert found.findings == (("Images", "nginx", HOSTILE),)
    assert found.accepted == (("No root", HOSTILE, "operator", "2027-05-01", 2),)


def test_result_of_an_audit_is_kept(tmp_path: Path) -> None:
    state = State(tmp_path)
    assert last(state) is None
    keep(state, AUDIT, datetime(2026, 11, 28, 12, tzinfo=UTC))
    assert audit_of(last(state)) == audit_of(AUDIT)
    state.security_audit.write_text("{")
    assert last(state) is None
    keep(State(tmp_path / "none"), AUDIT, datetime(2026, 11, 28, 12, tzinfo=UTC))
