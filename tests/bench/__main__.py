"""python -m tests.bench: every promised figure, measured. Removes and redeploys its own project; leaves nothing behind.

Exit code 0 whatever was measured: a missed promise is a line in the table, for people to judge. 1 where a command failed.
"""

from __future__ import annotations

import argparse
import os
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

from ops.core.errors import OpsError
from ops.core.process import installed
from tests.bench import commands, figures
from tests.bench.backup import backup
from tests.bench.cold import cold
from tests.bench.compose import HOW_TO_INSTALL, compose, program
from tests.bench.figures import Figure
from tests.bench.handshakes import handshakes
from tests.bench.idle import idle
from tests.bench.load import load
from tests.bench.logins import logins
from tests.bench.releases import releases
from tests.drill.clone import RATE

PARTS = ("start", "commands", "load", "handshakes", "logins", "idle", "releases", "compose", "backup")


def options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m tests.bench", description="Measure what the documentation promises.")
    parser.add_argument("--only", choices=PARTS, action="append", help="measure this part only (may be given again)")
    parser.add_argument("--rounds", type=int, default=3, help="repetitions of which the median counts (3)")
    parser.add_argument("--settle", type=float, default=120, help="seconds of rest before idle is measured (120)")
    parser.add_argument("--idle", type=float, default=180, help="seconds over which idle is measured (180)")
    parser.add_argument("--rate", type=int, default=RATE, help=f"requests/s of the users while releases change ({RATE})")
    parser.add_argument("--compose", type=Path, metavar="PATH", help="docker-compose 2, where it is not on the search path")
    parser.add_argument("--cold", action="store_true", help="also build everything from nothing, in a storage of its own")
    parser.add_argument("--keep", action="store_true", help="leave the project deployed afterwards")
    parser.add_argument("--json", type=Path, default=Path(__file__).parent / "bench.json", help="where the figures are written")
    return parser.parse_args()


def refusal(parts: list[str]) -> str:
    """Why nothing can be measured here; empty where it can."""
    from tests.drill.stack import refusal as must_live

    if why := must_live():
        return why
    if "load" in parts and not installed("h2load"):
        return "h2load is not installed: apt-get install nghttp2-client"
    return "" if os.geteuid() == 0 else "not root: run it with sudo"


def measure(chosen: argparse.Namespace, parts: list[str]) -> Iterator[Figure]:
    measures: dict[str, Callable[[], Iterator[Figure]]] = {
        "start": lambda: commands.start(chosen.rounds),
        "commands": commands.nothing_to_do,
        "load": lambda: load(chosen.rounds),
        "handshakes": handshakes,
        "logins": logins,
        "idle": lambda: idle(chosen.settle, chosen.idle),
        "releases": lambda: releases(chosen.rounds, chosen.rate),
        "backup": lambda: backup(chosen.rounds),
        "compose": lambda: compose(program(chosen.compose), chosen.rounds, chosen.rate),
    }
    commands.inv("deploy", "--yes")
    try:
        for part in parts:
            print(f"measuring: {part}", file=sys.stderr, flush=True)
            yield from measures[part]()
    finally:
        if not chosen.keep:
            commands.inv("destroy", "--no-keep-data", "--yes")
    if chosen.cold:
        print("measuring: from nothing to a live stack", file=sys.stderr, flush=True)
        yield from cold()


def main() -> int:
    os.environ.setdefault("CC03_PROJECT", "cc03-bench")
    chosen = options()
    parts = [part for part in PARTS if part in (chosen.only or PARTS)]
    if why := refusal(parts):
        print(f"failed: nothing was measured\n   why: {why}", file=sys.stderr)
        return 2
    if "compose" in parts and not program(chosen.compose):
        print(f"left out: compose\n   why: {HOW_TO_INSTALL}", file=sys.stderr)
        parts.remove("compose")
    if not parts:
        return 0
    found: list[Figure] = []
    try:
        for figure in measure(chosen, parts):
            found.append(figure)
            figures.save(found, chosen.json)
    except OpsError as problem:
        print("\n".join(problem.lines()), file=sys.stderr)
        return 1
    finally:
        figures.show(found)
    return 0


if __name__ == "__main__":
    sys.exit(main())
