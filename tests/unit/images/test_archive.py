"""The stamp of `inv build --refresh` that comes with an archive: part of every tag, so it must be the archive's own."""

from __future__ import annotations

from pathlib import Path
from typing import Any, cast

import pytest

from ops.core.errors import UsageProblem
from ops.core.state import State
from ops.images.archive import load_images, save_images, take_stamp


@pytest.mark.parametrize("before", [None, "2026-01-01T00:00:00+0000"])
@pytest.mark.parametrize("stamp", ["", "2026-02-02T00:00:00+0000"])
def test_stamp_is_that_of_the_archive_whatever_was_there(tmp_path: Path, before: str | None, stamp: str) -> None:
    path = tmp_path / "refresh"
    if before:
        path.write_text(before)

    take_stamp(State(tmp_path), stamp)

    assert (path.read_text() if path.exists() else "") == stamp


@pytest.mark.parametrize("kept", ["images.tar", "images.tar.json"])
def test_nothing_is_written_over_unasked(tmp_path: Path, kept: str) -> None:
    (tmp_path / kept).write_text("an exported key")

    with pytest.raises(UsageProblem, match="exists"):
        save_images(cast(Any, None), str(tmp_path / "images.tar"))

    assert (tmp_path / kept).read_text() == "an exported key"


def test_file_that_holds_no_images_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "other.tar"
    for content in (b"some text", b""):
        path.write_bytes(content)
        with pytest.raises(UsageProblem, match="no archive of images"):
            load_images(cast(Any, None), str(path))
