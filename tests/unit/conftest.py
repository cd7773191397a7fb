"""Makes every way out of the process fail: a unit test that needs a host is in the wrong folder."""

from __future__ import annotations

import os
import socket
import subprocess
import tempfile
from collections.abc import Callable, Iterator
from typing import NoReturn

import pytest

from tests.own_processes import guarded


@pytest.fixture(autouse=True, scope="session")
def own_temporary_files(tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    """What code under test makes in the folder for temporary files, such as reports of defects, goes with the tests' own."""
    before = tempfile.tempdir
    tempfile.tempdir = str(tmp_path_factory.mktemp("tmp"))
    yield
    tempfile.tempdir = before


@pytest.fixture(autouse=True)
def no_monitoring(monkeypatch: pytest.MonkeyPatch) -> None:
    """Changes are announced to no Alertmanager."""
    monkeypatch.setattr("ops.alerts.change.touched", lambda change: ())


@pytest.fixture(autouse=True)
def no_host(monkeypatch: pytest.MonkeyPatch) -> None:
    """Programs and connections end the test. `pytest.fail` is no `Exception`, so no code under test can swallow it."""

    def refuse(way: str) -> Callable[..., NoReturn]:
        def refused(*_: object, **__: object) -> NoReturn:
            pytest.fail(f"a unit test reached the host through {way}")

        return refused

    monkeypatch.setattr(subprocess, "Popen", refuse("subprocess.Popen"))
    for function in ("kill", "killpg"):
        monkeypatch.setattr(os, function, guarded(getattr(os, function), refuse(f"os.{function}")))
    for function in ("system", "popen", "posix_spawn", "execve", "execv"):
        monkeypatch.setattr(os, function, refuse(f"os.{function}"))
    for method in ("connect", "connect_ex", "bind", "sendto"):
        monkeypatch.setattr(socket.socket, method, refuse(f"socket.{method}"))
    monkeypatch.setattr(socket, "getaddrinfo", refuse("socket.getaddrinfo"))
