"""What came of each fault, as a table: `python -m tests.drill.gameday.results` prints that of all runs."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path

from rich import box
from rich.console import Console
from rich.table import Table

from tests.drill.gameday.cases import COLUMNS, Outcome, cells

RESULTS = Path(__file__).parent / "game-day.json"


def show(outcomes: Sequence[Outcome]) -> None:
    drawn = Table(*COLUMNS, box=box.MARKDOWN)
    for one in outcomes:
        drawn.add_row(*cells(one))
    Console(width=240, highlight=False).print(drawn)


if __name__ == "__main__":
    show([Outcome(**one) for one in json.loads(RESULTS.read_text())["outcomes"]])
