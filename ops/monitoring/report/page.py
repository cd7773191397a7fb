"""The report as HTML."""

from __future__ import annotations

from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING

from ops.core.amounts import age, minute
from ops.monitoring.budget import percent
from ops.monitoring.report.charts import HEIGHT, LEFT, WIDTH, said

if TYPE_CHECKING:
    from ops.monitoring.report.gather import Report


def html(report: Report) -> str:
    """One file that refers to no other."""
    from jinja2 import Environment, FileSystemLoader, StrictUndefined

    made = Environment(loader=FileSystemLoader(Path(__file__).parent), autoescape=True, undefined=StrictUndefined)
    made.filters.update(day=_day, stamp=minute, percent=percent, said=said, duration=age)
    return made.get_template("page.html").render(report=report, width=WIDTH, height=HEIGHT, left=LEFT)


def _day(at: float) -> str:
    return f"{datetime.fromtimestamp(at, UTC):%-d %B %Y}"
