"""One health ticker per project: found, started on its own copy of the code, stopped. The ticker is a forked process."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest

from ops.core import lock
from ops.core.errors import OpsError
from ops.core.process import until
from ops.core.state import State
from ops.engines.podman import supervise
from ops.engines.podman.supervise import end_supervision, start_supervisor, stop_supervisor, supervisor_version
from tests.unit.core.test_lock import held_elsewhere


@pytest.fixture
def state(tmp_path: Path) -> State:
    made = State(tmp_path / "cc03")
    made.prepare()
    return made


@pytest.fixture
def sent(monkeypatch: pytest.MonkeyPatch) -> list[tuple[int, int]]:
    """Signals to processes; they arrive."""
    found: list[tuple[int, int]] = []
    real = os.kill

    def kill(pid: int, number: int) -> None:
        found.append((pid, number))
        real(pid, number)

    monkeypatch.setattr(os, "kill", kill)
    return found


@contextmanager
def running(state: State, version: str = "v1") -> Iterator[int]:
    """A ticker that works from a list of that version."""
    (state.ticker / "supervise.json").write_text(json.dumps({"version": version}))
    with held_elsewhere(state.ticker / "lock", "ticker") as pid:
        yield pid


def test_version_is_that_of_the_list_of_a_running_ticker(state: State) -> None:
    assert supervisor_version(state) == ""
    with running(state, "v7"):
        assert supervisor_version(state) == "v7"
    assert supervisor_version(state) == "", "it has ended"


@pytest.mark.parametrize("text", ["{}", "[]"])
def test_ticker_with_a_list_that_has_no_version_is_known_to_run(state: State, text: str) -> None:
    with running(state):
        (state.ticker / "supervise.json").write_text(text)
        assert supervisor_version(state) == "unknown"


def test_ticker_that_is_told_to_watch_nothing_has_no_version(state: State) -> None:
    with running(state):
        (state.ticker / "stopped").touch()
        assert supervisor_version(state) == ""


def test_ticker_is_known_by_its_command_line(monkeypatch: pytest.MonkeyPatch) -> None:
    lines = {"/proc/6/cmdline": b"python3\0-P\0-m\0ops.engines.podman.supervisor\0/var/lib/cc03/cc03\0"}
    lines |= {"/proc/7/cmdline": b"python3\0-P\0-m\0ops.machine.ticker\0/var/lib/cc03/cc03\0", "/proc/8/cmdline": b"bash\0"}
    lines |= {"/proc/9/cmdline": b"python3\0-P\0-m\0ops.supervisor\0/var/lib/cc03/cc03\0"}
    with monkeypatch.context() as patch:
        patch.setattr(Path, "read_bytes", lambda self: lines[str(self)])
        assert all(map(supervise._is_supervisor, (6, 7, 9))) and not supervise._is_supervisor(8)
    assert not supervise._is_supervisor(os.getpid())
    assert not supervise._is_supervisor(1 << 30), "there is no such process"


def test_ticker_is_asked_to_end_and_waited_for(
    state: State, sent: list[tuple[int, int]], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(supervise, "_is_supervisor", lambda pid: True)
    with running(state) as pid:
        stop_supervisor(state)
        assert lock.holder(state.ticker / "lock") is None
    assert sent[0] == (pid, signal.SIGTERM)


def test_nothing_is_signalled_where_none_runs(state: State, sent: list[tuple[int, int]]) -> None:
    stop_supervisor(state)
    assert sent == []


def test_stranger_that_holds_the_lock_is_not_signalled_and_told_in_the_end(
    state: State, sent: list[tuple[int, int]], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(supervise, "STOP_SECONDS", 0.05)
    with running(state) as pid:
        with pytest.raises(OpsError, match="does not stop") as caught:
            stop_supervisor(state)
        assert sent == [] and str(pid) in caught.value.why


def test_ticker_has_time_to_finish_a_restart(
    state: State, sent: list[tuple[int, int]], monkeypatch: pytest.MonkeyPatch
) -> None:
    asked: list[int] = []

    def is_ticker(pid: int) -> bool:
        asked.append(pid)
        return len(asked) > 2  # until then the signal has no effect

    monkeypatch.setattr(supervise, "_is_supervisor", is_ticker)
    with running(state) as pid:
        stop_supervisor(state)
        assert set(asked) == {pid}


def test_holder_of_whom_nothing_is_known_is_not_signalled(state: State, sent: list[tuple[int, int]]) -> None:
    """Process 0 is every process of this group."""

    def named(pid: int) -> bool:
        pytest.fail("asked about process 0")

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(supervise, "STOP_SECONDS", 0.0)
        patch.setattr(supervise, "_is_supervisor", named)
        patch.setattr(lock, "holder", lambda path: lock.Holder())
        with pytest.raises(OpsError, match="does not stop"):
            stop_supervisor(state)
    assert sent == []


def test_end_of_supervision_is_remembered(state: State, sent: list[tuple[int, int]], monkeypatch: pytest.MonkeyPatch) -> None:
    marked: list[bool] = []

    def is_ticker(pid: int) -> bool:
        marked.append((state.ticker / "stopped").exists())
        return True

    monkeypatch.setattr(supervise, "_is_supervisor", is_ticker)
    with running(state):
        end_supervision(state)

    assert marked[0], "a ticker that starts again meanwhile finds the mark"
    assert (state.ticker / "stopped").read_text() == ""
    assert supervisor_version(state) == ""


@dataclass
class Launch:
    """Stands for `subprocess.Popen`: takes the ticker's lock as that would, after a while. seconds: None: it never does."""

    state: State
    seconds: float | None = 0.0
    argv: list[str] = field(default_factory=list)
    options: dict[str, Any] = field(default_factory=dict)
    files: dict[str, str] = field(default_factory=dict)
    children: list[int] = field(default_factory=list)

    pid = 1 << 30

    def __call__(self, argv: list[str], **options: Any) -> Launch:
        self.argv, self.options = argv, options
        code = Path(options["env"]["PYTHONPATH"])
        self.files = {str(path.relative_to(code)): path.read_text() for path in code.rglob("*") if path.is_file()}
        assert not (self.state.ticker / "stopped").exists()
        options["stdout"].write("no module ops\n")
        if self.seconds is not None:
            child = os.fork()
            if child == 0:
                try:
                    time.sleep(self.seconds)
                    with lock.hold(self.state.ticker / "lock", "ticker"):
                        signal.pause()
                finally:
                    os._exit(1)
            self.children.append(child)
        return self


@pytest.fixture
def launch(state: State, monkeypatch: pytest.MonkeyPatch) -> Iterator[Launch]:
    made = Launch(state)
    monkeypatch.setattr(subprocess, "Popen", made)
    yield made
    for child in made.children:
        os.kill(child, signal.SIGKILL)
        os.waitpid(child, 0)


SOURCES = {"__init__.py": "", "supervisor.py": "x = 1\n", "core/lock.py": "y = 1\n"}


def start(state: State, version: str = "v2") -> None:
    start_supervisor(state, SOURCES, {"targets": [1]}, version, {"CONTAINERS_CONF": "/conf"})


def test_ticker_starts_on_its_own_copy_of_the_code(state: State, launch: Launch) -> None:
    (state.ticker / "code" / "ops" / "of_before").mkdir(parents=True)
    (state.ticker / "stopped").touch()
    before = time.monotonic()
    start(state)

    assert lock.busy(state.ticker / "lock")
    assert time.monotonic() - before < supervise.START_SECONDS
    assert launch.argv[1:] == ["-P", "-m", "ops.supervisor", str(state.root)]
    assert launch.argv[0] in ("/usr/bin/python3", "python3")
    assert launch.files == {f"ops/{name}": text for name, text in SOURCES.items()}
    assert launch.options["env"].items() >= {"CONTAINERS_CONF": "/conf", "PYTHONPATH": str(state.ticker / "code")}.items()
    assert not (state.ticker / "code" / "ops" / "of_before").exists()
    assert json.loads((state.ticker / "supervise.json").read_text()) == {"version": "v2", "targets": [1]}
    assert supervisor_version(state) == "v2"
    assert (state.ticker / "ticker.log").read_text() == "no module ops\n"


@pytest.mark.parametrize("there", [True, False])
def test_python_of_the_system_is_taken_where_there_is_one(
    state: State, launch: Launch, monkeypatch: pytest.MonkeyPatch, there: bool
) -> None:
    """The checkout's own may be gone one day."""
    asked: list[tuple[str, int]] = []

    def access(path: str, mode: int) -> bool:
        asked.append((path, mode))
        return there

    monkeypatch.setattr(os, "access", access)
    start(state)

    assert launch.argv[0] == ("/usr/bin/python3" if there else "python3")
    assert asked == [("/usr/bin/python3", os.X_OK)]


def test_ticker_that_is_slow_to_start_is_waited_for(state: State, launch: Launch) -> None:
    launch.seconds = 0.15
    start(state)
    assert lock.busy(state.ticker / "lock")


def test_ticker_that_does_not_start_is_told_with_the_end_of_its_log(
    state: State, launch: Launch, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(supervise, "START_SECONDS", 0.1)
    launch.seconds = None
    began = time.monotonic()
    with pytest.raises(OpsError, match="does not start") as caught:
        start(state)

    assert time.monotonic() - began >= 0.1
    assert caught.value.why == "no module ops" and str(state.ticker / "ticker.log") in caught.value.next_step


def holder_of(state: State) -> int:
    who = lock.holder(state.ticker / "lock")
    return who.pid if who else 0


def test_ticker_of_before_is_stopped_first(
    state: State, launch: Launch, sent: list[tuple[int, int]], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(supervise, "_is_supervisor", lambda pid: True)
    with running(state) as pid:
        start(state)
        # It has the lock a moment before it writes down who it is.
        until(lambda: "" if holder_of(state) else "nobody is named yet", 10)
        assert holder_of(state) == launch.children[0]
    assert sent[0] == (pid, signal.SIGTERM)
