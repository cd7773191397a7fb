"""The description of the dashboards is whole, and Grafana and the operator's own pages show the same of it."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from typing import Any

import promql_parser
import pytest

from ops.monitoring.dashboards import BOARDS, grafana, pages
from ops.monitoring.dashboards.model import VARIABLE, Dashboard, Panel, Query, Section, stat, table, thresholds
from tests.unit.builders import REPOSITORY

PANELS = [(board, panel) for board in BOARDS for panel in board.panels]
OURS = {"__rate_interval": "5m", "__range": "1h"}


def plain(expr: str) -> str:
    """A query as Prometheus gets it."""
    return VARIABLE.sub(lambda found: OURS.get(found[1] or found[2], ".*"), expr)


def named(one: tuple[Dashboard, Panel]) -> str:
    return f"{one[0].uid}: {one[1].title}"


def test_uids_are_unique_and_fit_an_address() -> None:
    uids = [board.uid for board in BOARDS]
    assert len(set(uids)) == len(uids)
    assert all(re.fullmatch(r"[a-z]+", uid) for uid in uids)


def problems(board: Dashboard, panel: Panel) -> Iterator[str]:
    """What a panel lacks."""
    if not (panel.title and panel.description.endswith(".") and panel.unit and panel.queries):
        yield "lacks a title, a description that is a sentence, a unit or a query"
    if not 3 <= panel.width <= 24:
        yield f"is {panel.width} columns wide"
    known = {*OURS, *(variable.name for variable in board.variables)}
    for query in panel.queries:
        try:
            promql_parser.parse(plain(query.expr))
        except ValueError as problem:
            yield f"{query.expr}: {problem}"
        yield from (
            f"{query.expr}: no variable {name}" for one in VARIABLE.findall(query.expr) if (name := max(one)) not in known
        )
        if len(panel.queries) > 1 and not query.legend:
            yield f"{query.expr}: has no legend"
        if panel.kind == "table" and not (query.unit and query.legend and panel.labels):
            yield f"{query.expr}: a column has a name, a unit and labels to be joined by"
    yield from (
        f"there is no runbook {name}" for name in panel.runbooks if not (REPOSITORY / f"docs/runbooks/{name}.md").is_file()
    )


@pytest.mark.parametrize(("board", "panel"), PANELS, ids=map(named, PANELS))
def test_panel_is_whole(board: Dashboard, panel: Panel) -> None:
    assert list(problems(board, panel)) == []


@pytest.mark.parametrize(("panel", "complaint"), [
    (stat("Up", "no sentence", "none", "up"), "sentence"),
    (stat("Up", "Up.", "none", "sum(up"), "sum(up"),
    (stat("Up", "Up.", "none", 'up{service="$service"}'), "no variable service"),
    (stat("Up", "Up.", "none", "up", runbooks=("Nowhere",)), "no runbook Nowhere"),
    (table("Up", "Up.", (), Query("Up", "up", "none")), "labels"),
])  # fmt: skip
def test_panel_that_is_not_is_noticed(panel: Panel, complaint: str) -> None:
    (found,) = problems(BOARDS[0], panel)
    assert complaint in found


def test_thresholds_rise_whichever_side_is_worse() -> None:
    assert thresholds(None, None) == ()
    assert thresholds(1, 2) == ((None, "green"), (1, "orange"), (2, "red"))
    assert thresholds(2, 1) == ((None, "red"), (1, "orange"), (2, "green"))
    assert thresholds(None, 1) == ((None, "green"), (1, "red"))
    assert thresholds(1, None) == ((None, "green"), (1, "orange"))


def of_grafana(board: Dashboard) -> dict[str, Any]:
    document = json.loads(grafana.render(board))
    rows = [panel for panel in document["panels"] if panel["type"] == "row"]
    assert all(not row.get("panels") for row in rows)
    return {
        "uid": document["uid"].removeprefix("cc03-"), "title": document["title"], "description": document["description"],
        "variables": [one["name"] for one in document["templating"].get("list", [])],
        "sections": [row["title"] for row in rows],
        "panels": [
            (
                panel["type"], panel["title"], panel["description"], panel["fieldConfig"]["defaults"]["unit"],
                [one["expr"] for one in panel["targets"]],
                [one["value"] for one in panel["fieldConfig"]["defaults"].get("thresholds", {}).get("steps", [])[1:]],
            )
            for panel in document["panels"] if panel["type"] != "row"
        ],
    }  # fmt: skip


def of_pages(board: dict[str, Any]) -> dict[str, Any]:
    panels = [panel for section in board["sections"] for panel in section["panels"]]
    return {
        "uid": board["uid"], "title": board["title"], "description": board["description"],
        "variables": [one["name"] for one in board.get("variables", [])],
        "sections": [section["title"] for section in board["sections"]],
        "panels": [
            (
                panel["kind"], panel["title"], panel["description"], panel["unit"], [one["expr"] for one in panel["queries"]],
                sorted(panel[bound] for bound in ("warn", "bad") if bound in panel),
            )
            for panel in panels
        ],
    }  # fmt: skip


def test_grafana_and_the_own_pages_show_the_same() -> None:
    """Each from its own JSON: dashboards, panels, units, queries, thresholds."""
    ours = json.loads(pages.render(BOARDS))["dashboards"]
    assert [of_pages(board) for board in ours] == [of_grafana(board) for board in BOARDS]


def test_panels_of_grafana_fill_rows_from_the_left_and_do_not_overlap() -> None:
    panels = (stat("A", "A.", "none", "a", width=20), stat("B", "B.", "none", "b"), stat("C", "C.", "none", "c"))
    document = json.loads(grafana.render(Dashboard("x", "X", "X.", (Section("One", panels), Section("Two", panels[:1])))))
    assert [tuple(one["gridPos"][key] for key in "xywh") for one in document["panels"]] == [
        (0, 0, 24, 1), (0, 1, 20, 4), (20, 1, 4, 4), (0, 5, 4, 4), (0, 9, 24, 1), (0, 10, 20, 4),
    ]  # fmt: skip
    assert len({one["id"] for one in document["panels"]}) == 6
