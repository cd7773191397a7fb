"""Since when each secret is what it is, for Prometheus: written after each change, since nothing else changes it."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING

from ops.core import files
from ops.core.state import State
from ops.secrets import versions
from ops.secrets.table import TARGETS

if TYPE_CHECKING:
    from ops.cli.execute import UnderWay

FILE = "secrets.prom"
METRIC = "cc03_secret_created_timestamp_seconds"


def exposition(state: State) -> str:
    """Only of those that a command rotates: of the others an alert would ask for what cannot be done."""
    lines = [f"# HELP {METRIC} Since when the present version exists.", f"# TYPE {METRIC} gauge"]
    for target in TARGETS:
        path = state.secrets / target.secret / str(versions.newest(state, target.secret))
        if target.to and path.is_file():
            lines.append(f'{METRIC}{{secret="{target.secret}",service="{target.owner}"}} {path.stat().st_mtime:.0f}')
    return "\n".join(lines) + "\n"


def write(state: State) -> None:
    """Raises OSError where it cannot be written."""
    if state.metrics.is_dir():
        files.write(state.metrics / FILE, exposition(state))


@contextmanager
def write_after(change: UnderWay) -> Iterator[None]:
    """Write the metrics after every plan that was executed. That it fails is worth a note, no more."""
    try:
        yield
    finally:
        try:
            write(change.project.state)
        except OSError as problem:
            change.note(f"metrics of secrets are not up to date: {problem}; the next change writes them")
