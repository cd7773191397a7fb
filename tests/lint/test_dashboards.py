"""Dashboards: found by a uid of their own; every panel says what it shows and in which unit, by a query that can be read."""

from __future__ import annotations

import copy
import json
import re
from collections import Counter
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any

import promql_parser
import pytest

from ops.core.machine import REPOSITORY
from ops.monitoring.dashboards.__main__ import GRAFANA, PAGES, files, outdated

from .grafana_schema import board_problems

DASHBOARDS: dict[str, dict[str, Any]] = {
    str(path.relative_to(REPOSITORY)): json.loads(path.read_text())
    for path in sorted((REPOSITORY / "config").rglob("*.json"))
    if '"panels"' in path.read_text()
}
WITHOUT_UNIT = ("text", "logs", "row", "alertlist", "dashlist")
VARIABLE = re.compile(r"\$\{?__(rate_interval|interval|range)\}?")


def panels_of(dashboard: Mapping[str, Any]) -> Iterator[dict[str, Any]]:
    for panel in dashboard.get("panels", []):
        yield panel
        yield from panels_of(panel)


def dashboard_problems(dashboards: Mapping[str, Mapping[str, Any]]) -> Iterator[str]:
    uids = Counter(dashboard.get("uid") for dashboard in dashboards.values())
    for path, dashboard in dashboards.items():
        if not dashboard.get("uid") or uids[dashboard["uid"]] > 1:
            yield f"{path}: has no uid of its own"
        if not dashboard.get("title"):
            yield f"{path}: has no title"
        yield from (f"{path}{problem}" for problem in board_problems(dashboard))
        for panel in panels_of(dashboard):
            yield from (f"{path}: {panel.get('title', panel.get('id'))}: {problem}" for problem in panel_problems(panel))


def panel_problems(panel: Mapping[str, Any]) -> Iterator[str]:
    kind = panel.get("type")
    if kind != "row" and not panel.get("description"):
        yield "has no description"
    if kind not in WITHOUT_UNIT and not panel.get("fieldConfig", {}).get("defaults", {}).get("unit"):
        yield "has no unit"
    steps = panel.get("fieldConfig", {}).get("defaults", {}).get("thresholds", {}).get("steps", [])
    bounds = [step["value"] for step in steps[1:]]
    if bounds != sorted(set(bounds)):
        yield f"has a colour that is never seen: its thresholds are {bounds}"
    for target in panel.get("targets", []):
        source = target.get("datasource") or panel.get("datasource") or {}
        if source.get("type", "prometheus") != "prometheus" or "expr" not in target:
            continue
        query = re.sub(r"\$\{?\w+(:\w+)?\}?", "x", VARIABLE.sub("5m", target["expr"]))
        try:
            promql_parser.parse(query)
        except ValueError as problem:
            yield f"{target['expr']}: {problem}"


def test_dashboards_are_in_order() -> None:
    assert not list(dashboard_problems(DASHBOARDS))


def test_files_are_what_the_description_says() -> None:
    assert outdated() == [], "nox -s docs writes them"


def test_file_that_is_old_or_belongs_to_no_dashboard_is_noticed(tmp_path: Path) -> None:
    for path, text in files().items():
        (tmp_path / path).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / path).write_text(text)
    assert outdated(tmp_path) == []
    (tmp_path / PAGES).write_text("{}")
    (tmp_path / GRAFANA / "gone.json").write_text("{}")
    assert outdated(tmp_path) == [PAGES, GRAFANA / "gone.json"]


GOOD: dict[str, Any] = {
    "uid": "example",
    "title": "Example",
    "panels": [
        {
            "id": 1, "title": "Requests", "type": "timeseries", "description": "By status.",
            "fieldConfig": {
                "defaults": {
                    "unit": "reqps", "custom": {"lineWidth": 2},
                    "thresholds": {"mode": "absolute", "steps": [
                        {"color": "green", "value": None}, {"color": "orange", "value": 1}, {"color": "red", "value": 2},
                    ]},
                },
                "overrides": [],
            },
            "options": {"tooltip": {"mode": "multi", "sort": "desc"}},
            "targets": [{
                "refId": "A", "datasource": {"type": "prometheus"},
                "expr": 'sum by (status) (rate(http_requests_total{job="$job"}[$__rate_interval]))',
            }],
        },
        {"id": 2, "type": "row", "panels": [{"id": 3, "type": "text", "description": "How to read this."}]},
    ],
}  # fmt: skip


def steps(board: dict[str, Any]) -> Any:
    return board["panels"][0]["fieldConfig"]["defaults"]["thresholds"]["steps"]


BROKEN: dict[str, tuple[Callable[[dict[str, Any]], Any], str]] = {
    "no uid": (lambda board: board.pop("uid"), "uid"),
    "no title": (lambda board: board.pop("title"), "title"),
    "no unit": (lambda board: board["panels"][0].pop("fieldConfig"), "unit"),
    "no description": (lambda board: board["panels"][0].pop("description"), "description"),
    "no description within a row": (lambda board: board["panels"][1]["panels"][0].pop("description"), "description"),
    "query": (lambda board: board["panels"][0]["targets"][0].update(expr="sum(rate(x[5m])"), "sum(rate("),
    "thresholds": (lambda board: steps(board)[1].update(value=2), "never seen"),
    "key of the dashboard": (lambda board: board.update(schemaVersio=41), "Dashboard has no schemaVersio"),
    "key of a panel": (lambda board: board["panels"][0].update(unit="s"), "Panel has no unit"),
    "kind of panel": (lambda board: board["panels"][0].update(type="graph"), "no kind of panel 'graph'"),
    "option": (lambda board: board["panels"][0]["options"]["tooltip"].update(mode="all"), "'all' is none of"),
    "style": (lambda board: board["panels"][0]["fieldConfig"]["defaults"]["custom"].update(lineWidth="2"), "'2' is no float"),
    "key of a query": (lambda board: board["panels"][0]["targets"][0].update(legend="x"), "Dataquery has no legend"),
    "key within a row": (lambda board: board["panels"][1]["panels"][0].update(legend="x"), "Panel has no legend"),
    "colour": (lambda board: steps(board)[0].update(color=1), "1 is no str"),
}


@pytest.mark.parametrize("case", BROKEN)
def test_a_broken_dashboard_is_refused(case: str) -> None:
    change, complaint = BROKEN[case]
    board = copy.deepcopy(GOOD)
    assert not list(dashboard_problems({"a.json": board}))
    change(board)
    found = list(dashboard_problems({"a.json": board}))
    assert len(found) == 1
    assert complaint in found[0]


def test_a_uid_used_twice_is_refused() -> None:
    assert len(list(dashboard_problems({"a.json": GOOD, "b.json": GOOD}))) == 2
