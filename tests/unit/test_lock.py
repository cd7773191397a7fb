"""One operation at a time, between real processes: forked, for the kernel keeps the lock by open file."""

from __future__ import annotations

import os
import signal
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from ops.errors import LockHeld
from ops.machine.lock import busy, hold


@contextmanager
def held_elsewhere(path: Path, verb: str) -> Iterator[int]:
    """Another process holds the lock while the block runs; its process id. Killed at the end, as if by the kernel."""
    reader, writer = os.pipe()
    child = os.fork()
    if child == 0:
        try:
            with hold(path, verb):
                os.write(writer, b"held")
                signal.pause()
        finally:
            os._exit(1)
    try:
        assert os.read(reader, 4) == b"held"
        yield child
    finally:
        os.kill(child, signal.SIGKILL)
        os.waitpid(child, 0)
        os.close(reader)
        os.close(writer)


def test_second_holder_is_refused_and_told_who_the_first_is(tmp_path: Path) -> None:
    path = tmp_path / "lock"
    with held_elsewhere(path, "deploy") as pid, pytest.raises(LockHeld) as caught, hold(path, "restart"):
        pytest.fail("two processes hold the lock")

    assert caught.value.exit_code == 4
    assert f"inv deploy (process {pid}) since 2" in caught.value.why


def test_lock_is_free_once_its_process_has_been_killed(tmp_path: Path) -> None:
    path = tmp_path / "lock"
    with held_elsewhere(path, "deploy"):
        assert busy(path)

    assert not busy(path)
    with hold(path, "restart"):
        assert "restart" in path.read_text()


def test_lock_is_free_after_the_block(tmp_path: Path) -> None:
    path = tmp_path / "lock"
    with hold(path, "deploy"):
        assert busy(path)
    assert not busy(path)


def test_lock_is_free_after_a_failure(tmp_path: Path) -> None:
    path = tmp_path / "lock"
    with pytest.raises(ZeroDivisionError), hold(path, "deploy"):
        _ = 1 / 0
    assert not busy(path)


def test_lock_that_never_was_held_is_free_and_asking_leaves_nothing_behind(tmp_path: Path) -> None:
    assert not busy(tmp_path / "lock")
    assert list(tmp_path.iterdir()) == []


def test_holder_whose_note_cannot_be_read_is_still_refused(tmp_path: Path) -> None:
    path = tmp_path / "lock"
    with held_elsewhere(path, "deploy"):
        path.write_text("{half")
        with pytest.raises(LockHeld, match="another operation"), hold(path, "restart"):
            pytest.fail("two processes hold the lock")
