"""The full screen of inv status --watch."""

from __future__ import annotations

from io import StringIO
from types import SimpleNamespace
from typing import Any, cast

import pytest
from rich.console import Console

from ops.core.errors import OpsError
from ops.monitoring.api import Monitoring, Series
from ops.releases.headline import Line
from ops.status import watch
from ops.status.facts import Row
from ops.status.watch import Curve, Measured, draw, measure, sparkline

NAMES = (
    "postgres", "redis", "keycloak", "backend-1", "backend-2", "frontend-1", "edge", "nginx", "backup", "logs", "prometheus",
    "alertmanager", "cadvisor", "grafana",
)  # fmt: skip
NOW = 1_800_000_000.0


def row(name: str, health: str = "healthy", reason: str = "") -> Row:
    return Row(name, name, "running", health, 0, "image", 300 << 20, 1 << 30, 12.34, reason)


def drawn(measured: Measured, rows: list[Row] | None = None, width: int = 80) -> list[str]:
    console = Console(width=width, height=24, record=True, file=StringIO())
    head = (Line("release 7 since 2026-01-31 12:00 (deploy)"), Line("last operation: inv deploy by ada, done"))
    console.print(
        draw("[bold]cc03[/bold]  14 of 14 containers healthy", head, rows or [row(one) for one in NAMES], measured, "", NOW)
    )
    return console.export_text().splitlines()


@pytest.mark.parametrize(
    ("points", "line"),
    [([], ""), ([0.0, 0.0], "▁▁"), ([0.0, 0.5, 1.0], "▁▅█"), ([None, 2.0], " █"), ([1e-9, 100.0], "▂█")],
)
def test_sparkline(points: list[float | None], line: str) -> None:
    assert sparkline(points) == line


def test_whole_stack_with_five_alerts_fits_80_columns_and_24_lines() -> None:
    curves = [Curve(name, unit, [1.0] * watch.POINTS) for name, unit, _ in watch.CURVES]
    firing = [("critical", "SiteDown", "nginx")] * 6
    ill = [row("postgres", "unhealthy", "it answers nothing " * 10), *(row(one) for one in NAMES[1:])]

    times = [("backup", 7300.0), ("restore drill", 7300.0), ("certificate for", 30 * 86400.0)]
    budgets = [("site-availability", 99.0), ("api-availability", 99.0), ("login-latency", 99.0)]
    lines = drawn(Measured(curves, firing, times, budgets), ill)

    assert len(lines) <= 24
    assert max(map(len, lines)) <= 80
    assert "critical: SiteDown nginx" in lines
    assert "and 2 more: inv alerts" in lines
    assert any("backup 2 h, restore drill 2 h, certificate for 30 d" in line for line in lines)
    assert any("login-latency 99 %" in line for line in lines)
    assert any(line.startswith("postgres: it answers nothing") and line.rstrip().endswith("…") for line in lines)
    for name in NAMES:
        assert any(name in line for line in lines), name


def test_screen_without_monitoring_says_so_and_shows_the_containers() -> None:
    class Down:
        def alerts(self) -> list[Any]:
            raise OpsError("Alertmanager does not answer", "connection refused", "inv status")

    measured = measure(cast(Monitoring, Down()), NOW)
    lines = drawn(measured)

    assert "Alertmanager does not answer: connection refused" in lines
    assert any("postgres" in line for line in lines)


def test_measured_are_alerts_that_are_active_and_samples_at_their_time() -> None:
    def alert(name: str, state: str) -> Any:
        return SimpleNamespace(name=name, state=state, labels={"severity": "warning", "service": "redis"})

    class Up:
        def alerts(self) -> list[Any]:
            return [alert("Watchdog", "active"), alert("A", "active"), alert("B", "suppressed")]

        def query(self, expr: str) -> list[Series]:
            if "slo:" in expr:
                return [Series({"objective": "api-latency"}, ((NOW, 12.0),))]
            return [Series({}, ((NOW, 60.0),))] if "drill" in expr else []

        def query_range(self, expr: str, start: float, end: float, step: float) -> list[Series]:
            return [Series({}, ((end - step, 3.0), (end, float("nan"))))]

    measured = measure(cast(Monitoring, Up()), NOW)

    assert measured.firing == [("warning", "A", "redis")]
    assert measured.times == [("restore drill", 60.0)]
    assert measured.budgets == [("api-latency", 12.0)]
    assert list(measured.curves[0].points) == [None] * (watch.POINTS - 2) + [3.0, None]
