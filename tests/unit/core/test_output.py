"""A command writes over nothing unasked, and leaves the old file where it does not come to its end."""

from __future__ import annotations

from pathlib import Path

import pytest

from ops.core.errors import UsageProblem
from ops.core.output import destination, whole


def test_new_file_is_accepted(tmp_path: Path) -> None:
    assert destination(str(tmp_path / "new"), overwrite=False) == tmp_path / "new"


@pytest.mark.parametrize("name", ["kept", "folder", "missing/new"])
def test_existing_file_folder_or_missing_folder_is_refused(name: str, tmp_path: Path) -> None:
    (tmp_path / "kept").write_text("a key")
    (tmp_path / "folder").mkdir()

    with pytest.raises(UsageProblem):
        destination(str(tmp_path / name), overwrite=False)

    assert (tmp_path / "kept").read_text() == "a key"


def test_existing_file_is_accepted_where_that_was_asked_for(tmp_path: Path) -> None:
    (tmp_path / "kept").write_text("old")
    assert destination(str(tmp_path / "kept"), overwrite=True).exists()


def test_old_file_stays_until_the_new_one_is_whole(tmp_path: Path) -> None:
    path = tmp_path / "archive"
    path.write_text("old")

    with whole(path) as fresh:
        fresh.write_text("new")
        assert path.read_text() == "old"

    assert (path.read_text(), sorted(tmp_path.iterdir())) == ("new", [path])


def test_old_file_stays_where_the_new_one_fails(tmp_path: Path) -> None:
    path = tmp_path / "archive"
    path.write_text("old")

    with pytest.raises(KeyboardInterrupt), whole(path) as fresh:
        fresh.write_text("ne")
        raise KeyboardInterrupt

    assert (path.read_text(), sorted(tmp_path.iterdir())) == ("old", [path])
