"""Which files of a build context count: what the build sees, and the Containerfile that says how it is done."""

from __future__ import annotations

from pathlib import Path

from ops.machine.checkout import files_of


def test_containerfile_counts_although_the_context_leaves_it_out(tmp_path: Path) -> None:
    """Otherwise a corrected Containerfile would get the tag of the image that it was corrected for."""
    (tmp_path / ".containerignore").write_text("# not copied into the image\nContainerfile\ndist\n*.test.ts\n")
    for name in ("Containerfile", "main.ts", "main.test.ts", "dist/bundle.js", "docs/Containerfile"):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).write_text(name)

    assert [path for path, _, _ in files_of(tmp_path)] == [".containerignore", "Containerfile", "main.ts"]
