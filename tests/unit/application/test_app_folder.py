"""inv app.new writes a small application into an empty folder, and over nothing."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from ops.application.commands import write_starter
from ops.core.errors import UsageProblem


@pytest.mark.parametrize("present", [True, False])
def test_starter_is_written_into_an_empty_or_a_new_folder(tmp_path: Path, present: bool) -> None:
    folder = tmp_path if present else tmp_path / "new" / "app"

    said = write_starter(str(folder))

    assert sorted(path.name for path in folder.iterdir()) == ["Containerfile", "app.py", "healthy", "logged-in"]
    assert all(os.access(folder / name, os.X_OK) for name in ("healthy", "logged-in"))
    assert any(f"inv app.check {folder}" in line for line in said)


def test_folder_that_is_not_empty_is_refused_and_left_alone(tmp_path: Path) -> None:
    (tmp_path / "app.py").write_text("mine")

    with pytest.raises(UsageProblem):
        write_starter(str(tmp_path))

    assert [path.read_text() for path in tmp_path.iterdir()] == ["mine"]


def test_file_in_the_place_of_the_folder_is_refused(tmp_path: Path) -> None:
    (tmp_path / "app").write_text("mine")

    with pytest.raises(UsageProblem):
        write_starter(str(tmp_path / "app"))
