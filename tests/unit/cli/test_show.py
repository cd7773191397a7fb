"""What stays on the screen of a plan that is carried out."""

from __future__ import annotations

from io import StringIO

import pytest
from rich.console import Console

from ops.cli import show
from ops.core.errors import OpsError
from ops.core.plan import Described
from ops.core.process import Ended

STEP = Described("image backend", "build backend [1]")
PROBLEM = OpsError("cannot build backend", "no space left on device", "df -h")


@pytest.fixture
def screen(monkeypatch: pytest.MonkeyPatch) -> StringIO:
    """A terminal."""
    written = StringIO()
    console = Console(file=written, force_terminal=True, width=120, highlight=False, soft_wrap=True, color_system=None)
    monkeypatch.setattr(show, "out", console)
    return written


def test_failure_stays_on_a_terminal_when_the_table_is_gone(screen: StringIO) -> None:
    with show.LiveProgress(3) as progress:
        progress.started(STEP)
        progress.failed(STEP, PROBLEM)
        progress.failed(Described("b", "build redis"), Ended())

    lines = [line.strip() for line in screen.getvalue().splitlines()]
    assert any(
        "failed after 0 s: build backend [1]: cannot build backend: no space left on device" in line for line in lines
    ), lines
    assert any("ended: build redis" in line for line in lines)


def test_failure_is_a_line_elsewhere(capsys: pytest.CaptureFixture[str]) -> None:
    progress = show.PlainProgress(3)
    progress.failed(STEP, PROBLEM)
    progress.failed(STEP, Ended())
    progress.failed(STEP, KeyError("x"))

    assert capsys.readouterr().out.splitlines() == [
        "[failed] build backend [1]: cannot build backend: no space left on device",
        "[ended] build backend [1]",
        "[failed] build backend [1]: KeyError: 'x'",
    ]
