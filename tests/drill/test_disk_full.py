"""A disk that fills while a release is made: nothing is half done, the old release serves, and the message says it."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.drill.clone import Clone
from tests.drill.disk import disk_of_its_own
from tests.drill.stack import Drill

SPARE = 48 << 10
"""Bytes that are left: less than a release takes."""


@pytest.fixture
def clone(tmp_path: Path) -> Clone:
    return Clone.make(tmp_path / "clone")


def test_while_the_release_is_written(stack: Drill, clone: Clone) -> None:
    clone.version("that does not fit")
    assert clone.inv("build").returncode == 0
    before = {slot: item["Id"] for slot, item in stack.containers().items()}
    with disk_of_its_own(stack.project.state.releases, SPARE):
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
