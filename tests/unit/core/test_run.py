"""Programs are ended side by side, whole, and none is started while a command comes to its end."""

from __future__ import annotations

import os
import signal
import threading
import time
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path

import pytest

from ops.core import process as running
from ops.core.errors import OpsError
from ops.core.process import Ended, alongside, run, stop_all, stream
from ops.core.state import State
from ops.engines.podman import images
from ops.engines.podman.host import Host
from tests.unit.programs import PATIENCE, Behaviour, Programs
from tests.unit.programs import programs as programs  # noqa: PLC0414  (a fixture)


@pytest.fixture(autouse=True)
def goes_on() -> Iterator[None]:
    yield
    running.stopping.clear()


def in_threads(*names: str) -> tuple[list[threading.Thread], dict[str, BaseException]]:
    """Run each of these programs from a thread of its own; what it raised."""
    raised: dict[str, BaseException] = {}

    def one(name: str) -> None:
        try:
            run((name,), timeout=PATIENCE)
        except BaseException as problem:
            raised[name] = problem

    threads = [threading.Thread(target=one, args=(name,), daemon=True) for name in names]
    for thread in threads:
        thread.start()
    return threads, raised


def test_programs_are_ended_side_by_side_within_one_grace_period(programs: Programs, monkeypatch: pytest.MonkeyPatch) -> None:
    """Three that ignore SIGTERM took three grace periods, one after the other."""
    monkeypatch.setattr(running, "GRACE_SECONDS", 0.8)
    names = ("a", "b", "c")
    programs.behaviours = {name: Behaviour(after_term=None) for name in names}
    threads, raised = in_threads(*names)
    programs.await_started(*names)

    began = time.monotonic()
    stop_all()
    took = time.monotonic() - began
    for thread in threads:
        thread.join(PATIENCE)

    assert took < 2.0
    assert {type(problem) for problem in raised.values()} == {Ended} and len(raised) == 3
    for program in programs.started:
        (first, at), (second, later) = program.signals
        assert (first, second) == (signal.SIGTERM, signal.SIGKILL) and later - at >= 0.35


def test_restart_of_a_container_is_waited_for_and_a_build_is_not(programs: Programs) -> None:
    """A restart that was broken off left PostgreSQL `stopping`, and no command repaired that."""
    programs.behaviours = {"podman": Behaviour(seconds=0.5)}
    raised: list[tuple[str, str]] = []

    def one(*argv: str) -> None:
        try:
            run(argv, timeout=PATIENCE)
            raised.append((argv[1], "done"))
        except Ended:
            raised.append((argv[1], "ended"))

    threads = [
        threading.Thread(target=one, args=argv, daemon=True)
        for argv in (("podman", "restart", "a"), ("podman", "build", "."), ("podman", "start", "--attach", "b"))
    ]
    for thread in threads:
        thread.start()
    end = time.monotonic() + PATIENCE
    while len(programs.names) < len(threads) and time.monotonic() < end:
        time.sleep(0.005)
    stop_all()
    for thread in threads:
        thread.join(PATIENCE)

    assert sorted(raised) == [("build", "ended"), ("restart", "done"), ("start", "ended")]


def test_second_interrupt_waits_for_no_restart(programs: Programs) -> None:
    programs.behaviours = {"podman": Behaviour(after_term=None)}
    raised: list[type[BaseException]] = []

    def restart() -> None:
        try:
            run(("podman", "restart", "a"), timeout=PATIENCE)
        except BaseException as problem:
            raised.append(type(problem))

    thread = threading.Thread(target=restart, daemon=True)
    thread.start()
    programs.await_started("podman")
    stop_all(at_once=True)
    thread.join(PATIENCE)

    assert raised == [Ended]


def test_program_that_ends_in_its_grace_is_waited_for(programs: Programs) -> None:
    programs.behaviours = {"tidy": Behaviour(after_term=0.2)}
    threads, raised = in_threads("tidy")
    programs.await_started("tidy")

    stop_all()

    assert programs.living == []
    assert programs.named("tidy").returncode == -signal.SIGTERM, "it had its grace"
    threads[0].join(PATIENCE)
    assert isinstance(raised["tidy"], Ended)


def test_program_that_was_ended_has_no_result_whatever_its_exit_code(programs: Programs) -> None:
    """Seen: `podman build` exits with 0 at SIGTERM, and so a build that was broken off was taken for done."""
    programs.behaviours = {"podman": Behaviour(term_code=0)}
    threads, raised = in_threads("podman")
    programs.await_started("podman")

    stop_all()
    threads[0].join(PATIENCE)

    assert programs.named("podman").returncode == 0 and isinstance(raised["podman"], Ended)


def test_program_that_had_ended_by_itself_has_its_result(programs: Programs) -> None:
    programs.behaviours = {"quick": Behaviour(seconds=0.1)}
    threads, raised = in_threads("quick")
    programs.await_started("quick")
    time.sleep(0.3)
    stop_all()
    threads[0].join(PATIENCE)
    assert raised == {}


def test_no_program_starts_while_the_command_comes_to_its_end(programs: Programs, tmp_path: Path) -> None:
    stop_all()

    with pytest.raises(Ended):
        run(("late",), timeout=1)
    with pytest.raises(Ended):
        stream(("later",), timeout=1, stdin="", env={}, cwd=tmp_path, each=lambda line: None)
    assert programs.names == []
    running.stopping.clear()
    assert run(("again",), timeout=1).returncode == 0


def test_what_outlives_a_program_that_was_ended_is_killed(programs: Programs) -> None:
    """A build's own children: some of them survive the SIGTERM that ends the build."""
    programs.behaviours = {"build": Behaviour(leaves=True)}
    threads, _ = in_threads("build")
    programs.await_started("build")

    stop_all()
    threads[0].join(PATIENCE)

    assert programs.living == []


def test_program_that_takes_too_long_is_ended_with_what_it_started(programs: Programs) -> None:
    programs.behaviours = {"slow": Behaviour(leaves=True)}

    with pytest.raises(OpsError, match="slow") as caught:
        run(("slow",), timeout=0.05)

    assert caught.value.why == "did not end within 0 s and was stopped"
    assert programs.living == []


def test_hook_leaves_nothing_running(programs: Programs, tmp_path: Path) -> None:
    """A hook that starts something in the background and ends well: that would outlive the lock."""
    programs.behaviours = {"hook": Behaviour(seconds=0.05, says="one\ntwo\n", leaves=True)}
    lines: list[str] = []

    code = stream(("hook",), timeout=PATIENCE, stdin="", env={}, cwd=tmp_path, each=lines.append)

    assert (code, lines) == (0, ["one", "two"])
    assert programs.living == []


def test_hook_that_takes_too_long_has_no_exit_code(programs: Programs, tmp_path: Path) -> None:
    programs.behaviours = {"hook": Behaviour()}

    assert stream(("hook",), timeout=0.05, stdin="", env={}, cwd=tmp_path, each=lambda line: None) is None
    assert programs.living == []


def test_second_interrupt_kills_and_leaves_nobody_behind(programs: Programs, monkeypatch: pytest.MonkeyPatch) -> None:
    """Who presses Ctrl-C twice used to leave the program running beside a lock that was free."""
    programs.behaviours = {"stubborn": Behaviour(after_term=None)}
    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    presses = [threading.Timer(after, os.kill, (os.getpid(), signal.SIGINT)) for after in (0.1, 0.4)]
    for press in presses:
        press.start()
    began = time.monotonic()
    try:
        with pytest.raises(KeyboardInterrupt):
            run(("stubborn",), timeout=PATIENCE)
    finally:
        signal.signal(signal.SIGINT, before)

    assert programs.living == []
    assert time.monotonic() - began < running.GRACE_SECONDS


def test_program_beside_a_block_ends_with_it(programs: Programs, tmp_path: Path) -> None:
    programs.behaviours = {"prober": Behaviour(leaves=True)}

    with pytest.raises(KeyError), alongside(("prober",), log=tmp_path / "log", env={}) as ended:
        assert ended() is None
        raise KeyError

    assert programs.living == []


def test_build_that_waits_for_a_builder_begins_none_when_the_command_ends(programs: Programs, tmp_path: Path) -> None:
    host = Host("cc03", State(tmp_path / "cc03"))
    host.state.prepare()
    log = images.log_of(host, "backend")
    log.write_text("of the last build\n")
    with ExitStack() as builders:
        for _ in range(images.AT_ONCE):
            builders.enter_context(images._free_builder())
        threading.Timer(0.2, running.stopping.set).start()
        with pytest.raises(Ended):
            images.build_image(host, "backend", "localhost/cc03/backend:1", tmp_path, {}, 1200, lambda text: None)

    assert programs.names == [] and log.read_text() == "of the last build\n"
    running.stopping.clear()
    with ExitStack() as builders:
        for _ in range(images.AT_ONCE):
            builders.enter_context(images._free_builder())


def test_what_has_left_the_process_group_is_killed_too(
    programs: Programs, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Seen: `podman build` ends at once at SIGTERM; the step that it runs is in a session of its own, and went on for ever."""
    killed: list[tuple[int, int]] = []

    def process(pid: int, parent: int, name: str, started: int = 7) -> None:
        (tmp_path / str(pid)).mkdir(exist_ok=True)
        fields = " ".join(["S", str(parent), *["0"] * 17, str(started), "0"])
        (tmp_path / str(pid) / "stat").write_text(f"{pid} ({name}) {fields}\n")

    def reused(pid: int, number: int) -> None:
        programs.killpg(pid, number)
        process(204, 1, "another of that number", started=8)

    process(100_000, 1, "podman")
    process(201, 100_000, "buildah (oci) runtime")
    process(202, 201, "sh")
    process(203, 1, "somebody else")
    process(204, 202, "ends by itself")
    process(205, 100_000, "conmon")
    process(206, 205, "a container")
    process(207, 100_000, "(conmon")
    (tmp_path / "208").mkdir()
    (tmp_path / "208" / "stat").write_text("208 (cut off) S")
    monkeypatch.setattr(running, "PROC", tmp_path)
    monkeypatch.setattr(os, "kill", lambda pid, number: killed.append((pid, number)))
    monkeypatch.setattr(os, "killpg", reused)

    with pytest.raises(OpsError, match="podman build"):
        programs.behaviours = {"podman": Behaviour()}
        run(("podman", "build"), timeout=0.05)

    assert sorted(killed) == [(201, signal.SIGKILL), (202, signal.SIGKILL), (207, signal.SIGKILL)]
