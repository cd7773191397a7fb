"""One measured figure beside its promise; all of them as a table and as JSON."""

from __future__ import annotations

import json
import os
import platform
import time
from collections.abc import Iterable
from dataclasses import asdict, dataclass
from pathlib import Path

from rich.console import Console
from rich.table import Table


@dataclass(frozen=True)
class Figure:
    """`promise`: the bound; None where the figure only explains another one. `at_least`: the bound is the lowest good value."""

    name: str
    value: float
    unit: str
    promise: float | None = None
    at_least: bool = False
    note: str = ""

    @property
    def verdict(self) -> str:
        if self.promise is None:
            return ""
        met = self.value >= self.promise if self.at_least else self.value < self.promise
        return "met" if met else "missed"

    @property
    def bound(self) -> str:
        return "" if self.promise is None else f"{'at least' if self.at_least else 'below'} {self.promise:g}"


def table(figures: Iterable[Figure]) -> Table:
    drawn = Table(box=None, pad_edge=False, padding=(0, 2, 0, 0))
    drawn.add_column("FIGURE")
    drawn.add_column("MEASURED", justify="right", no_wrap=True)
    drawn.add_column("PROMISED", no_wrap=True)
    drawn.add_column("")
    drawn.add_column("NOTE", style="dim")
    colours = {"met": "green", "missed": "red", "": ""}
    for one in figures:
        verdict = f"[{colours[one.verdict]}]{one.verdict}[/]" if one.verdict else ""
        drawn.add_row(one.name, f"{one.value:,.4g} {one.unit}", one.bound, verdict, one.note)
    return drawn


def show(figures: Iterable[Figure]) -> None:
    Console(highlight=False, width=None if Console().is_terminal else 150).print(table(figures))


def save(figures: Iterable[Figure], path: Path) -> None:
    content = {
        "at": time.strftime("%Y-%m-%dT%H:%M:%S%z"), "cores": os.cpu_count(), "kernel": platform.release(),
        "machine": platform.machine(), "load_before": LOAD_BEFORE,
        "figures": [{**asdict(one), "verdict": one.verdict} for one in figures],
    }  # fmt: skip
    path.write_text(json.dumps(content, indent=2) + "\n")


LOAD_BEFORE = round(os.getloadavg()[0], 2)
"""How busy the machine was already: above a tenth of a core, figures say more about that than about the stack."""
