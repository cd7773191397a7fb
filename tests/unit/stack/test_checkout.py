"""Which files of a build context count: what the build sees, and the Containerfile that says how it is done."""

from __future__ import annotations

from pathlib import Path

import pytest

from ops.core.errors import UsageProblem
from ops.stack.checkout import files_of, read_settings


def test_containerfile_counts_although_the_context_leaves_it_out(tmp_path: Path) -> None:
    """Otherwise a corrected Containerfile would get the tag of the image that it was corrected for."""
    (tmp_path / ".containerignore").write_text("# not copied into the image\nContainerfile\ndist\n*.test.ts\n")
    for name in ("Containerfile", "main.ts", "main.test.ts", "dist/bundle.js", "docs/Containerfile"):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).write_text(name)

    assert [path for path, _, _ in files_of(tmp_path)] == [".containerignore", "Containerfile", "main.ts"]


def test_settings_file_that_is_not_utf_8_is_refused_with_its_line(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "stack.yaml"
    path.write_bytes("project: cc03\n# Größe\n".encode("latin-1"))
    monkeypatch.setenv("CC03_STACK", str(path))

    with pytest.raises(UsageProblem) as caught:
        read_settings(tmp_path)

    assert caught.value.what == "stack.yaml:2 is not UTF-8"
