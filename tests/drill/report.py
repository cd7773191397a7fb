"""How long each recovery took beside what is promised: shown as a table, kept as JSON for the documentation."""

from __future__ import annotations

import json
import os
import platform
import time
from dataclasses import asdict, dataclass
from pathlib import Path

from rich.console import Console
from rich.table import Table

RESULTS = Path(__file__).parent / "results.json"


@dataclass(frozen=True)
class Recovery:
    """What was done, and the seconds until all was as it should be. `promised`: None where no figure is promised."""

    what: str
    seconds: float
    promised: float | None = None
    note: str = ""

    @property
    def verdict(self) -> str:
        if self.promised is None:
            return ""
        return "met" if self.seconds <= self.promised else "missed"


def table(recoveries: list[Recovery]) -> Table:
    drawn = Table("WHAT", "SECONDS", "PROMISED", "", "NOTE", box=None, pad_edge=False, title="Recoveries", title_justify="left")
    for column in drawn.columns[1:3]:
        column.justify = "right"
    for one in recoveries:
        promised = "" if one.promised is None else f"{one.promised:.0f}"
        drawn.add_row(one.what, f"{one.seconds:.1f}", promised, one.verdict, one.note)
    return drawn


def show(recoveries: list[Recovery]) -> None:
    Console(width=120, highlight=False).print(table(recoveries))


def save(recoveries: list[Recovery]) -> None:
    """Figures of an earlier, partial run stay until they are measured again."""
    before = json.loads(RESULTS.read_text())["recoveries"] if RESULTS.is_file() else []
    fresh = [{**asdict(one), "seconds": round(one.seconds, 1), "verdict": one.verdict} for one in recoveries]
    again = {one["what"] for one in fresh}
    content = {
        "at": time.strftime("%Y-%m-%dT%H:%M:%S%z"), "cores": os.cpu_count(), "kernel": platform.release(),
        "recoveries": [*(one for one in before if one["what"] not in again), *fresh],
    }  # fmt: skip
    RESULTS.write_text(json.dumps(content, indent=2) + "\n")
