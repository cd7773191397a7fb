"""The dashboards as Grafana is provisioned with them. A development dependency: nothing but __main__.py imports this module."""

from __future__ import annotations

import json
import warnings
from collections.abc import Iterator
from typing import Any

with warnings.catch_warnings():
    # The second version of the schema is recommended, and experimental in Grafana 12.
    warnings.simplefilter("ignore", DeprecationWarning)
    from grafana_foundation_sdk.builders import common, dashboard, prometheus, stat, table, timeseries
    from grafana_foundation_sdk.cog.encoder import JSONEncoder
    from grafana_foundation_sdk.models.common import (
        BigValueColorMode,
        BigValueGraphMode,
        DataSourceRef,
        GraphThresholdsStyleMode,
        LegendDisplayMode,
        LegendPlacement,
        SortOrder,
        StackingMode,
        TooltipDisplayMode,
        VisibilityMode,
    )
    from grafana_foundation_sdk.models.dashboard import (
        DashboardCursorSync,
        DashboardLinkType,
        DataTransformerConfig,
        DynamicConfigValue,
        GridPos,
        Threshold,
        ThresholdsMode,
        VariableOption,
        VariableRefresh,
        VariableSort,
    )
    from grafana_foundation_sdk.models.prometheus import PromQueryFormat

from ops.monitoring.dashboards.model import DEPLOYS, VARIABLE, Dashboard, Panel, Variable, thresholds

SOURCE = DataSourceRef(type_val="prometheus", uid="prometheus")
"""config/grafana/provisioning/datasources/prometheus.yaml."""
PAGES = "${CC03_PAGES_URL}"
HEIGHTS = {"stat": 4, "timeseries": 8, "table": 9}
MAKE: dict[str, Any] = {"stat": stat.Panel, "timeseries": timeseries.Panel, "table": table.Panel}
COLUMNS = 24


def render(board: Dashboard) -> str:
    """The JSON of one dashboard."""
    made = (
        dashboard.Dashboard(board.title).uid(f"cc03-{board.uid}").description(board.description).tags(["cc03"])
        .readonly().refresh("30s").time("now-6h", "now").timezone("browser").tooltip(DashboardCursorSync.CROSSHAIR)
        .link(_link("Dashboards", "").type(DashboardLinkType.DASHBOARDS).tags(["cc03"]).as_dropdown(True).keep_time(True))
        .link(_link("The same without Grafana", f"{PAGES}/dashboards/#{board.uid}"))
        .annotation(_deploys())
    )  # fmt: skip
    for one in board.variables:
        made.with_variable(_variable(one))
    for panel in _placed(board):
        made.with_row(panel) if isinstance(panel, dashboard.Row) else made.with_panel(panel)
    document = json.loads(json.dumps(made.build(), cls=JSONEncoder))
    return json.dumps(document, indent=1, ensure_ascii=False) + "\n"


def _placed(board: Dashboard) -> Iterator[Any]:
    """Rows and panels, from left to right and from top to bottom."""
    x = y = height = number = 0
    for section in board.sections:
        y, number = y + height, number + 1
        yield dashboard.Row(section.title).id(number).grid_pos(GridPos(h=1, w=COLUMNS, x=0, y=y))
        x, y, height = 0, y + 1, 0
        for panel in section.panels:
            if x + panel.width > COLUMNS:
                x, y, height = 0, y + height, 0
            number, height = number + 1, max(height, HEIGHTS[panel.kind])
            yield _panel(panel).id(number).grid_pos(GridPos(h=HEIGHTS[panel.kind], w=panel.width, x=x, y=y))
            x += panel.width


def _panel(panel: Panel) -> Any:
    made = MAKE[panel.kind]().title(panel.title).description(panel.description).datasource(SOURCE).unit(panel.unit)
    made.targets([_target(panel, index) for index in range(len(panel.queries))])
    made.links([_link(title, url) for title, url in _links(panel)])
    if panel.thresholds:
        made.thresholds(_thresholds(panel.thresholds))
    if panel.kind == "timeseries":
        return _as_chart(made, panel)
    return _as_stat(made) if panel.kind == "stat" else _as_table(made, panel)


def _target(panel: Panel, index: int) -> Any:
    query = panel.queries[index]
    made = prometheus.Dataquery().ref_id(chr(ord("A") + index)).datasource(SOURCE).expr(query.expr)
    if panel.kind == "table":
        return made.instant().format(PromQueryFormat.TABLE)
    return made.range().legend_format(query.legend)


def _as_chart(made: Any, panel: Panel) -> Any:
    made.min(0).line_width(2).fill_opacity(35 if panel.stacked else 8).show_points(VisibilityMode.NEVER)
    made.legend(
        common.VizLegendOptions().display_mode(LegendDisplayMode.LIST).placement(LegendPlacement.BOTTOM).calcs(["lastNotNull"])
    )
    made.tooltip(common.VizTooltipOptions().mode(TooltipDisplayMode.MULTI).sort(SortOrder.DESCENDING))
    if panel.stacked:
        made.stacking(common.StackingConfig().mode(StackingMode.NORMAL))
    if panel.thresholds:
        made.thresholds_style(common.GraphThresholdsStyleConfig().mode(GraphThresholdsStyleMode.DASHED))
    return made


def _as_stat(made: Any) -> Any:
    return (
        made.color_mode(BigValueColorMode.VALUE).graph_mode(BigValueGraphMode.AREA)
        .reduce_options(common.ReduceDataOptions().calcs(["lastNotNull"]))
    )  # fmt: skip


def _as_table(made: Any, panel: Panel) -> Any:
    """The values of all queries in one row for each combination of the labels."""
    named = {f"Value #{chr(ord('A') + index)}": query.legend for index, query in enumerate(panel.queries)}
    if len(panel.queries) == 1:
        named["Value"] = panel.queries[0].legend
    made.with_transformation(DataTransformerConfig(id_val="merge", options={}))
    made.with_transformation(
        DataTransformerConfig(id_val="organize", options={
            "excludeByName": {"Time": True}, "renameByName": named,
            "indexByName": {name: place for place, name in enumerate([*panel.labels, *named])},
        })
    )  # fmt: skip
    for query in panel.queries:
        properties = [DynamicConfigValue("unit", query.unit)]
        steps = thresholds(query.warn, query.bad)
        if steps:
            listed = [{"value": value, "color": colour} for value, colour in steps]
            properties.append(DynamicConfigValue("thresholds", {"mode": "absolute", "steps": listed}))
            properties.append(DynamicConfigValue("custom.cellOptions", {"type": "color-text"}))
        made.override_by_name(query.legend, properties)
    return made


def _thresholds(steps: tuple[tuple[float | None, str], ...]) -> dashboard.ThresholdsConfig:
    return (
        dashboard.ThresholdsConfig().mode(ThresholdsMode.ABSOLUTE).steps([Threshold(value, colour) for value, colour in steps])
    )


def _links(panel: Panel) -> Iterator[tuple[str, str]]:
    if panel.logs:
        yield "Logs", f"{PAGES}/logs/#{VARIABLE.sub('', panel.logs)}"
    for name in panel.runbooks:
        yield f"Runbook: {name}", f"{PAGES}/docs/runbooks/{name}/"


def _link(title: str, url: str) -> dashboard.DashboardLink:
    return dashboard.DashboardLink(title).type(DashboardLinkType.LINK).url(url).target_blank(bool(url))


def _variable(one: Variable) -> dashboard.QueryVariable:
    everything = VariableOption(selected=True, text="All", value="$__all")
    return (
        dashboard.QueryVariable(one.name).label(one.title).datasource(SOURCE).query(f"label_values({one.metric}, {one.label})")
        .refresh(VariableRefresh.ON_TIME_RANGE_CHANGED).sort(VariableSort.NATURAL_ASC)
        .include_all(True).all_value(".*").current(everything)
    )  # fmt: skip


def _deploys() -> dashboard.AnnotationQuery:
    """Grafana takes a value for milliseconds."""
    return (
        dashboard.AnnotationQuery().name("Deploys").datasource(SOURCE).enable(True).icon_color("purple")
        .expr(f"{DEPLOYS} * 1000").use_value_for_time(True).step("60s")
        .title_format("{{verb}}").text_format("{{outcome}}").tag_keys("verb,outcome")
    )  # fmt: skip
