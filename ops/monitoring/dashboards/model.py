"""What a dashboard is: data alone. grafana.py and pages.py say how it is shown."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Any

RATE = "$__rate_interval"
"""Stands in a query for a window of at least four scrapes, and one step of the chart."""
VARIABLE = re.compile(r"\$(?:\{([a-z_]\w*)\}|([a-z_]\w*))")


@dataclass(frozen=True)
class Query:
    """One query of Prometheus. unit, warn and bad are those of a column, in a table."""

    legend: str
    """Of the line, with {{label}} for the value of a label; in a table the name of the column."""
    expr: str
    unit: str = ""
    warn: float | None = None
    bad: float | None = None


@dataclass(frozen=True)
class Panel:
    """What one picture shows. warn, bad: where a value begins to be a warning or a failure; where warn > bad less is worse."""

    kind: str
    """`timeseries`, `stat` (one figure) or `table` (the last value of each query, a row for each combination of labels)."""
    title: str
    description: str
    unit: str
    """A unit of Grafana's; compose/nginx/www/ops/dashboards/units.js knows the same ones."""
    queries: tuple[Query, ...]
    width: int
    """Of the 24 columns of a page."""
    warn: float | None = None
    bad: float | None = None
    stacked: bool = False
    labels: tuple[str, ...] = ()
    """Of a table: the labels that make the first columns."""
    logs: str = ""
    """What the page of the logs searches for, as its address has it: `service=backend&level=error`."""
    runbooks: tuple[str, ...] = ()
    """Alerts that watch what is shown."""
    empty: str = ""
    """Why a stack that works may have no data for it."""

    @property
    def thresholds(self) -> tuple[tuple[float | None, str], ...]:
        """(from this value on, colour), the first one from minus infinity on."""
        return thresholds(self.warn, self.bad)


def thresholds(warn: float | None, bad: float | None) -> tuple[tuple[float | None, str], ...]:
    """See Panel."""
    if warn is None and bad is None:
        return ()
    if bad is None:
        return ((None, "green"), (warn, "orange"))
    if warn is None:
        return ((None, "green"), (bad, "red"))
    if warn > bad:
        return ((None, "red"), (bad, "orange"), (warn, "green"))
    return ((None, "green"), (warn, "orange"), (bad, "red"))


@dataclass(frozen=True)
class Section:
    title: str
    panels: tuple[Panel, ...]


@dataclass(frozen=True)
class Variable:
    """A choice at the top of a dashboard. `$name` in a query is a regular expression: one value, or `.*` for all."""

    name: str
    title: str
    metric: str
    """A selector of the series whose label has the values."""
    label: str


@dataclass(frozen=True)
class Dashboard:
    uid: str
    """In addresses, so it stays. In Grafana with the prefix `cc03-`."""
    title: str
    description: str
    sections: tuple[Section, ...]
    variables: tuple[Variable, ...] = ()

    @property
    def panels(self) -> tuple[Panel, ...]:
        return tuple(panel for section in self.sections for panel in section.panels)


DEPLOYS = "cc03_activation_last_timestamp_seconds"
"""The value is when a deploy, rollback or scaling (label verb) last ended in that way (label outcome)."""


def chart(title: str, description: str, unit: str, *queries: tuple[str, str], width: int = 12, **more: Any) -> Panel:
    """Lines over time. queries: (legend, query). more: fields of Panel."""
    return Panel("timeseries", title, description, unit, tuple(Query(*one) for one in queries), width, **more)


def stat(title: str, description: str, unit: str, expr: str, *, width: int = 4, **more: Any) -> Panel:
    """One figure, with its course. more: fields of Panel."""
    return Panel("stat", title, description, unit, (Query("", expr),), width, **more)


def table(title: str, description: str, labels: tuple[str, ...], *columns: Query, width: int = 24, **more: Any) -> Panel:
    """Figures as they are now. Each query yields one series for each combination of the labels, and has no others."""
    return Panel("table", title, description, columns[0].unit, columns, width, labels=labels, **more)
