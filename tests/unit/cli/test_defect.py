"""A defect of the program leaves its traceback in a file that nobody else can have prepared or can read."""

from __future__ import annotations

import stat
import tempfile
import time
from pathlib import Path

import pytest

from ops.cli import command as common


@pytest.fixture
def everybodys(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    folder = tmp_path / "tmp"
    folder.mkdir()
    monkeypatch.setattr(tempfile, "tempdir", str(folder))
    return folder


def report(problem: Exception) -> Path:
    return Path(common._defect(problem).next_step.removeprefix("report it with "))


def test_report_is_for_its_owner_alone(everybodys: Path) -> None:
    found = report(RuntimeError("what went wrong"))

    assert "what went wrong" in found.read_text()
    assert found.parent == everybodys
    assert stat.S_IMODE(found.stat().st_mode) == 0o600


def test_report_follows_no_link_that_another_account_has_laid(everybodys: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    first = report(RuntimeError("first"))
    victim = everybodys.parent / "victim"
    victim.write_text("untouched")
    first.unlink()
    first.symlink_to(victim)
    # The same moment and the same process: a name made of both alone would be the same again.
    monkeypatch.setattr(time, "strftime", lambda form: first.name.split("-")[2])

    second = report(RuntimeError("second"))

    assert victim.read_text() == "untouched"
    assert second != first
