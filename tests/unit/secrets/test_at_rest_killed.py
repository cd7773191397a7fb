"""Encryption at rest, killed at each of its changes of the disk: the same command goes on, or the other one."""

from __future__ import annotations

import os
import shutil
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from ops.core.errors import HostLacks
from ops.core.state import State
from ops.store import encrypted_copies, encryption
from tests.unit.at_rest_state import boot, decrypt, encrypt, made, memory_at, on_disk, whole

CHANGES: tuple[tuple[Any, str], ...] = (
    (Path, "rename"), (Path, "replace"), (Path, "symlink_to"), (Path, "unlink"), (Path, "mkdir"), (Path, "write_text"),
    (shutil, "rmtree"), (shutil, "copytree"), (os, "sync"), (os, "open"),
)  # fmt: skip
REALLY_UNLINK = Path.unlink
LIMIT = 400
"""More changes than either command makes."""


@pytest.fixture(autouse=True)
def flushing_takes_no_time(monkeypatch: pytest.MonkeyPatch) -> None:
    """A killed program loses nothing of what it has written: the kernel has it. test_durability.py is about the power."""
    monkeypatch.setattr(os, "fsync", lambda descriptor: None)
    monkeypatch.setattr(os, "sync", lambda: None)


class Killed(BaseException):
    """Nothing that the program does after this has an effect."""


@contextmanager
def killed_at(number: int) -> Iterator[list[int]]:
    """The change of that number is the first that is not done, or only in part; nor is any after it. Yields how many began."""
    begun: list[int] = []

    def dying(real: Callable[..., Any], name: str) -> Callable[..., Any]:
        def change(*arguments: Any, **named: Any) -> Any:
            begun.append(1)
            if len(begun) < number:
                return real(*arguments, **named)
            if len(begun) == number and name == "rmtree":
                half_removed(Path(arguments[0]))
            raise Killed

        return change

    with pytest.MonkeyPatch.context() as patched:
        for owner, name in CHANGES:
            patched.setattr(owner, name, dying(getattr(owner, name), name))
        try:
            yield begun
        except Killed:
            return


def half_removed(folder: Path) -> None:
    for path in sorted(folder.rglob("*"))[:1] if folder.is_dir() and not folder.is_symlink() else ():
        if path.is_file():
            REALLY_UNLINK(path)


def states(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[tuple[int, State, Path]]:
    """(number of the change at which to kill, a fresh state folder, its key)"""
    for number in range(1, LIMIT):
        place = tmp_path / str(number)
        memory_at(place / "memory", monkeypatch)
        (place / "stick").mkdir()
        yield number, made(place / "cc03"), place / "stick" / "key.txt"
        shutil.rmtree(place)
    pytest.fail("it never came to its end")


def another_command(state: State) -> None:
    """Whatever else is typed next: it opens what is locked, or says what to do, and leaves everything as it is."""
    try:
        encryption.open_again(state.root)
    except HostLacks as problem:
        assert "inv secrets." in problem.next_step, problem.lines()
    state.prepare()


@pytest.mark.parametrize("booted", [False, True])
@pytest.mark.parametrize(("then", "looked"), [("encrypt", True), ("encrypt", False), ("decrypt", True)])
def test_beginning_that_was_killed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, then: str, *, looked: bool, booted: bool
) -> None:
    for number, state, key in states(tmp_path, monkeypatch):
        with killed_at(number) as begun:
            encrypt(state, key)
        if booted:
            boot(state)
        if looked:
            another_command(state)
        if then == "encrypt":
            encrypt(state, key)
            assert (whole(state), list(on_disk(state)), encryption.is_unfinished(state.root)) == (True, [], False), number
            boot(state)
            encryption.open_again(state.root)
        else:
            decrypt(state)
            assert not encrypted_copies.is_on(state.root) and not state.secrets.is_symlink(), number
        assert whole(state), number
        if len(begun) < number:
            return


@pytest.mark.parametrize("booted", [False, True])
@pytest.mark.parametrize("then", ["decrypt", "encrypt at once"])
def test_end_that_was_killed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, then: str, *, booted: bool) -> None:
    for number, state, key in states(tmp_path, monkeypatch):
        encrypt(state, key)
        with killed_at(number) as begun:
            decrypt(state)
        if booted:
            boot(state)
        if then == "encrypt at once":
            state.prepare()
            encrypt(state, key)
            assert (whole(state), list(on_disk(state)), encryption.is_unfinished(state.root)) == (True, [], False), number
        else:
            another_command(state)
        decrypt(state)
        assert whole(state), number
        assert not any((state.root / name).is_symlink() for name in encrypted_copies.FOLDERS), number
        assert [path.name for path in state.root.iterdir() if path.name.startswith(".")] == [], number
        if len(begun) < number:
            return


def test_beginning_that_was_killed_twice_with_a_boot_between(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for number, state, key in states(tmp_path, monkeypatch):
        with killed_at(40):
            encrypt(state, key)
        boot(state)
        with killed_at(number) as begun:
            encrypt(state, key)
        encrypt(state, key)
        boot(state)
        encryption.open_again(state.root)
        assert (whole(state), list(on_disk(state))) == (True, []), number
        if len(begun) < number:
            return


def test_opening_that_was_killed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for number, state, key in states(tmp_path, monkeypatch):
        encrypt(state, key)
        boot(state)
        with killed_at(number) as begun:
            encryption.open_again(state.root)
        encryption.open_again(state.root)
        assert whole(state), number
        if len(begun) < number:
            return
