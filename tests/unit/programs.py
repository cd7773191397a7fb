"""Programs that do not exist: what `subprocess.Popen` and `os.killpg` are to `ops.core.process`, with threads that wait."""

from __future__ import annotations

import os
import signal
import subprocess
import threading
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from io import StringIO
from typing import Any

import pytest

PATIENCE = 10.0
"""Seconds until a test that hangs fails."""


@dataclass
class Behaviour:
    """What one program does. seconds: until it ends by itself; after_term: seconds that it goes on after a SIGTERM, None: it
    ignores that; term_code: its exit code then. leaves: whether something of its process group outlives it."""

    seconds: float = PATIENCE
    code: int = 0
    says: str = ""
    after_term: float | None = 0.0
    term_code: int = -signal.SIGTERM
    leaves: bool = False


class Program:
    """Stands for `subprocess.Popen`."""

    def __init__(self, argv: Sequence[str], behaviour: Behaviour, pid: int) -> None:
        self.argv = self.args = tuple(argv)
        self.behaviour, self.pid = behaviour, pid
        self.returncode: int | None = None
        self.stdin: Any = None
        self.stdout = StringIO(behaviour.says)
        self.began = time.monotonic()
        self.ends = self.began + behaviour.seconds
        self.code = behaviour.code
        self.signals: list[tuple[int, float]] = []
        self.left = behaviour.leaves

    def poll(self) -> int | None:
        if self.returncode is None and time.monotonic() >= self.ends:
            self.returncode = self.code
        return self.returncode

    def wait(self, timeout: float | None = None) -> int:
        end = time.monotonic() + (PATIENCE if timeout is None else timeout)
        while self.poll() is None:
            if time.monotonic() >= end:
                raise subprocess.TimeoutExpired(self.argv, timeout or 0.0)
            time.sleep(0.005)
        assert self.returncode is not None
        return self.returncode

    def communicate(self, given: str | None = None, timeout: float | None = None) -> tuple[str, str]:
        self.wait(timeout)
        return self.behaviour.says, ""

    def signalled(self, number: int) -> None:
        if self.poll() is not None and not self.left:
            raise ProcessLookupError
        self.signals.append((number, time.monotonic()))
        if number == signal.SIGKILL:
            self.ends, self.code, self.left = min(self.ends, time.monotonic()), -number, False
        elif self.behaviour.after_term is not None:
            self.ends, self.code = min(self.ends, time.monotonic() + self.behaviour.after_term), self.behaviour.term_code

    @property
    def lives(self) -> bool:
        return self.poll() is None or self.left


@dataclass
class Programs:
    """Those that were started. behaviours: first word of a command -> what it does; every other one ends at once, well."""

    behaviours: dict[str, Behaviour] = field(default_factory=dict)
    started: list[Program] = field(default_factory=list)
    guard: threading.Lock = field(default_factory=threading.Lock)

    def start(self, argv: Sequence[str], **_: Any) -> Program:
        with self.guard:
            made = Program(argv, self.behaviours.get(argv[0], Behaviour(seconds=0)), 100_000 + len(self.started))
            self.started.append(made)
        return made

    def killpg(self, pid: int, number: int) -> None:
        self.started[pid - 100_000].signalled(number)

    def named(self, name: str) -> Program:
        return next(one for one in self.started if one.argv[0] == name)

    @property
    def names(self) -> list[str]:
        return [one.argv[0] for one in self.started]

    @property
    def living(self) -> list[str]:
        return [one.argv[0] for one in self.started if one.lives]

    def await_started(self, *names: str) -> None:
        end = time.monotonic() + PATIENCE
        while not set(names) <= set(self.names):
            assert time.monotonic() < end, f"{names} were not started"
            time.sleep(0.005)


@pytest.fixture
def programs(monkeypatch: pytest.MonkeyPatch) -> Iterator[Programs]:
    made = Programs()
    monkeypatch.setattr(subprocess, "Popen", made.start)
    monkeypatch.setattr(os, "killpg", made.killpg)
    yield made
