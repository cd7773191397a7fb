"""The package lies beside the tests, as it does in the image."""

import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

sys.path.insert(0, str(Path(__file__).parents[1]))

import backup.__main__  # noqa: F401 - all of its modules: their paths are moved
from stack import Stack, stack


@pytest.fixture
def container(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Iterator[Stack]:
    with stack(monkeypatch, tmp_path) as made:
        yield made
