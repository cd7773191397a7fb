"""Line charts as data for the report's template: scales, ticks and paths of an SVG. Pure."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime

from ops.monitoring.api import Series

WIDTH, HEIGHT = 720, 170
LEFT, RIGHT, TOP, BOTTOM = 76, 24, 10, 24
GAP = 2.5
"""Steps without a point after which a line is interrupted."""
DAY = 86400
Tick = tuple[float, str]
Scale = Callable[[float], float]


@dataclass(frozen=True)
class Line:
    name: str
    path: str
    last: str
    """Newest value with its unit."""


@dataclass(frozen=True)
class Chart:
    """What the template draws."""

    title: str
    meaning: str
    lines: tuple[Line, ...]
    across: tuple[Tick, ...]
    """x of each label below."""
    up: tuple[Tick, ...]
    """y of each label on the left."""
    spans: tuple[tuple[float, float, str], ...] = ()
    """x, width and title of times that are marked."""


def chart(
    title: str, meaning: str, series: Sequence[tuple[str, Series]], start: float, end: float, step: float, unit: str,
    marks: Sequence[tuple[float, float, str]] = (), ceiling: float | None = None,
) -> Chart:  # fmt: skip
    """A chart of some lines.

    series: lines with their names. step: seconds between points. unit: %, ms, GB or empty.
    marks: beginning, end and title of times to mark. ceiling: top of the scale; None: as the values need it.
    """
    values = [value for _, one in series for _, value in one.points if math.isfinite(value)]
    top = ceiling or _nice(max(values, default=1.0))
    span = max(end - start, 1.0)

    def x(at: float) -> float:
        return round(LEFT + (WIDTH - LEFT - RIGHT) * (min(max(at, start), end) - start) / span, 1)

    def y(value: float) -> float:
        return round(TOP + (HEIGHT - TOP - BOTTOM) * (1 - min(max(value, 0.0), top) / top), 1)

    lines = tuple(Line(name, " ".join(_path(one, step, x, y)), said(_last(one), unit)) for name, one in series)
    return Chart(
        title, meaning, lines, tuple((x(at), label) for at, label in _ticks(start, end)),
        tuple((y(part * top), said(part * top, unit)) for part in (0.0, 0.5, 1.0)),
        tuple((x(began), round(max(1.5, x(ended) - x(began)), 1), what) for began, ended, what in marks),
    )  # fmt: skip


def _last(one: Series) -> float:
    return next((value for _, value in reversed(one.points) if math.isfinite(value)), math.nan)


def _path(one: Series, step: float, x: Scale, y: Scale) -> Iterator[str]:
    before = -math.inf
    for at, value in one.points:
        if math.isfinite(value):
            yield f"{'L' if at - before <= GAP * step else 'M'}{x(at):g},{y(value):g}"
            before = at


def _nice(most: float) -> float:
    """The next of 1, 2, 5, 10, … above a value."""
    if most <= 0:
        return 1.0
    size: float = 10.0 ** math.floor(math.log10(most))
    return next(factor * size for factor in (1, 2, 5, 10) if factor * size >= most)


MINUTES = (1, 2, 5, 10, 15, 30, 60, 120, 180, 240, 360)
MOST_TICKS = 8


def _ticks(start: float, end: float) -> Iterator[Tick]:
    """Labels of times: minutes, hours or days apart."""
    minutes = (end - start) / 60
    apart = next((one for one in MINUTES if minutes / one <= MOST_TICKS), 0)
    every = 60 * apart or DAY * math.ceil(minutes / 1440 / MOST_TICKS)
    at = math.ceil(start / every) * every if apart else math.ceil(start / DAY) * DAY
    while at <= end:
        yield at, f"{datetime.fromtimestamp(at, UTC):{'%H:%M' if apart else '%-d %b'}}"
        at += every


def said(value: float, unit: str) -> str:
    """A value with three digits and its unit."""
    if not math.isfinite(value):
        return "–"
    if 0 < value < 0.01:
        return f"< 0.01 {unit}".rstrip()
    digits = 0 if abs(value) >= 100 or value == 0 else 1 if abs(value) >= 10 else 2
    text = f"{value:,.{digits}f}"
    text = text.rstrip("0").rstrip(".") if "." in text else text
    return f"{text} {unit}".rstrip()
