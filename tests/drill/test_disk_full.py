"""A disk that fills while a release is made: nothing is half done, the old release serves, and the message says it."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from ops.machine.run import run
from tests.drill.clone import Clone
from tests.drill.stack import Drill

SPARE = 48 << 10
"""Bytes that are left: less than a release takes."""


@contextmanager
def nearly_full(folder: Path, spare: int) -> Iterator[None]:
    """Within the block, a folder lies on a file system of its own that has this many bytes left."""
    used = sum(path.stat().st_size // 4096 * 4096 + 4096 for path in folder.rglob("*") if path.is_file())
    aside = folder.with_name(f".{folder.name}.aside")
    shutil.copytree(folder, aside, symlinks=True)
    run(("mount", "-t", "tmpfs", "-o", f"size={used + spare},nr_inodes=0", "tmpfs", str(folder)), timeout=10)
    try:
        shutil.copytree(aside, folder, symlinks=True, dirs_exist_ok=True)
        yield
    finally:
        run(("umount", "--lazy", str(folder)), timeout=10)
        shutil.rmtree(aside)


@pytest.fixture
def clone(tmp_path: Path) -> Clone:
    return Clone.make(tmp_path / "clone")


def test_while_the_release_is_written(stack: Drill, clone: Clone) -> None:
    clone.version("that does not fit")
    assert clone.inv("build").returncode == 0
    before = {slot: item["Id"] for slot, item in stack.containers().items()}
    with nearly_full(stack.project.state.releases, SPARE):
        answer = clone.inv("deploy", "--yes")
        assert answer.returncode == 3, answer.stdout + answer.stderr
        assert "No space left on device" in answer.stderr
        assert "nothing was changed" in answer.stderr
    assert {slot: item["Id"] for slot, item in stack.containers().items()} == before
    stack.assert_as_wanted()

    clone.deploy()


def test_while_an_image_is_built(stack: Drill, clone: Clone) -> None:
    clone.edit(
        "compose/backend/Containerfile", "\nUSER ",
        "\nRUN --mount=type=tmpfs,target=/small,tmpfs-size=1048576 dd if=/dev/zero of=/small/file bs=1M count=8\nUSER ",
    )  # fmt: skip
    before = {slot: item["Id"] for slot, item in stack.containers().items()}
    answer = clone.inv("deploy", "--yes")
    assert answer.returncode == 1, answer.stdout + answer.stderr
    assert "make room" in answer.stderr
    assert "nothing was changed" in answer.stderr
    assert {slot: item["Id"] for slot, item in stack.containers().items()} == before
    stack.assert_as_wanted()
