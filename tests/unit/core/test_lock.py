"""One operation at a time, between real processes: forked, for the kernel keeps the lock by open file."""

from __future__ import annotations

import json
import os
import signal
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from ops.core.errors import LockHeld, OpsError
from ops.core.lock import SUPERVISOR, Holder, alone, boot_id, busy, hold, holder
from ops.core.process import process_started


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
    # Where the other process ends without a word, this one must not wait for it.
    os.close(writer)
    try:
        assert os.read(reader, 4) == b"held"
        yield child
    finally:
        os.kill(child, signal.SIGKILL)
        os.waitpid(child, 0)
        os.close(reader)


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
    assert path.read_text() == ""


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


def test_holder_is_told_while_it_lives_and_only_then(tmp_path: Path) -> None:
    path = tmp_path / "lock"
    assert holder(path) is None
    with held_elsewhere(path, "deploy") as pid:
        who = holder(path)
    assert who is not None
    assert (who.verb, who.pid, who.started, who.boot) == ("deploy", pid, who.started, boot_id())
    assert who.started > 0
    assert holder(path) is None


def test_killed_holder_is_told_to_the_next_and_to_nobody_after(tmp_path: Path) -> None:
    path = tmp_path / "lock"
    with held_elsewhere(path, "deploy") as pid:
        pass

    with hold(path, "restart") as killed:
        assert killed is not None
        assert (killed.verb, killed.pid, killed.named()) == ("deploy", pid, f"inv deploy (process {pid})")
    with hold(path, "restart") as killed:
        assert killed is None


def test_holder_that_failed_was_not_killed(tmp_path: Path) -> None:
    path = tmp_path / "lock"
    with pytest.raises(KeyboardInterrupt), hold(path, "deploy"):
        raise KeyboardInterrupt

    with hold(path, "restart") as killed:
        assert killed is None


def test_stranger_with_the_number_of_the_killed_one_is_not_taken_for_it(tmp_path: Path) -> None:
    path = tmp_path / "lock"
    mine = process_started(os.getpid())
    assert mine is not None
    told = {"verb": "deploy", "pid": os.getpid(), "since": "2026-01-31T12:00:00+0000"}
    for other in ({"started": mine + 1, "boot": boot_id()}, {"started": mine, "boot": "another boot"}):
        path.write_text(json.dumps({**told, **other}))
        with hold(path, "restart") as killed:
            assert killed is not None
            assert killed.pid == os.getpid()


def test_record_of_an_older_version_is_no_killed_holder(tmp_path: Path) -> None:
    path = tmp_path / "lock"
    path.write_text('{"verb": "deploy", "pid": 1, "since": "2026-01-31T12:00:00+0000"}')

    with hold(path, "restart") as killed:
        assert killed is None


def test_holder_of_an_older_version_is_known_by_its_number_alone() -> None:
    assert Holder("ticker", os.getpid(), "").lives()
    assert not Holder("ticker", 0, "").lives()


def test_note_of_one_that_is_gone_is_not_taken_for_who_holds_the_lock_now(tmp_path: Path) -> None:
    path = tmp_path / "lock"
    with held_elsewhere(path, "deploy"):
        path.write_text(json.dumps({"verb": "stop", "pid": os.getpid(), "since": "", "started": 1, "boot": "another boot"}))
        assert holder(path) == Holder()


def test_refusal_says_what_the_holder_is_at(tmp_path: Path) -> None:
    path = tmp_path / "lock"
    with (
        held_elsewhere(path, "deploy"),
        pytest.raises(LockHeld) as caught,
        hold(path, "restart", doing=lambda: "wait for backend-1"),
    ):
        pytest.fail("two processes hold the lock")

    assert caught.value.why.endswith(", which is at: wait for backend-1")


def test_process_that_has_ended_and_waits_to_be_collected_does_not_live(tmp_path: Path) -> None:
    child = os.fork()
    if child == 0:
        os._exit(0)
    os.waitid(os.P_PID, child, os.WEXITED | os.WNOWAIT)
    try:
        assert process_started(child) is None
    finally:
        os.waitpid(child, 0)


def test_shared_lock_is_waited_for_and_says_so(tmp_path: Path) -> None:
    order: list[str] = []
    path = tmp_path / "folder" / "image"

    def second() -> None:
        with alone(path, 10) as free:
            order.append(f"second, at once: {free}")

    with alone(path, 10) as free:
        thread = threading.Thread(target=second)
        thread.start()
        time.sleep(0.2)
        order.append(f"first, at once: {free}")
    thread.join(10)

    assert order == ["first, at once: True", "second, at once: False"]


def test_shared_lock_that_is_not_free_in_time_is_an_error(tmp_path: Path) -> None:
    refused = pytest.raises(OpsError, match="held by another process")
    with alone(tmp_path / "image", 10), refused, alone(tmp_path / "image", 0.2):
        pass


def test_command_waits_for_a_repair_and_the_supervisor_for_nobody(tmp_path: Path) -> None:
    path = tmp_path / "lock"
    with held_elsewhere(path, SUPERVISOR) as pid:
        began = time.monotonic()
        threading.Timer(0.4, os.kill, (pid, signal.SIGKILL)).start()
        with hold(path, "deploy"):
            waited = time.monotonic() - began
    assert waited > 0.3

    with held_elsewhere(path, "deploy"), pytest.raises(LockHeld), hold(path, SUPERVISOR):
        pass


def test_note_names_the_process_for_ever(tmp_path: Path) -> None:
    """Numbers are given out again: the beginning of the process and of its boot go with it."""
    path = tmp_path / "lock"
    with hold(path, "deploy"):
        said = json.loads(path.read_text())
    assert (said["verb"], said["pid"], said["boot"]) == ("deploy", os.getpid(), boot_id())
    assert said["started"] == process_started(os.getpid()) and said["started"] > 0
    assert abs(time.mktime(time.strptime(said["since"][:19], "%Y-%m-%dT%H:%M:%S")) - time.time()) < 60
    assert path.read_text() == "", "who ends leaves no name"


def test_process_may_call_itself_anything() -> None:
    before, name = process_started(os.getpid()), Path("/proc/self/comm").read_bytes()
    Path("/proc/self/comm").write_bytes(b"\xff) Z 1 (")
    try:
        assert process_started(os.getpid()) == before is not None
    finally:
        Path("/proc/self/comm").write_bytes(name.strip())


def test_note_of_an_older_version_is_read(tmp_path: Path) -> None:
    path = tmp_path / "lock"
    with held_elsewhere(path, "deploy"):
        path.write_text(json.dumps({"verb": "stop", "pid": os.getpid(), "since": "2026-01-31T12:00:00+0000"}))
        assert holder(path) == Holder("stop", os.getpid(), "2026-01-31T12:00:00+0000")


def test_health_supervisor_is_not_called_a_command() -> None:
    assert Holder(SUPERVISOR, 7).named() == "the health supervisor (process 7)"
    assert Holder().named() == "inv something (process ?)"


def test_who_has_nothing_else_to_do_waits_for_as_long_as_it_takes(tmp_path: Path) -> None:
    """A ticker that systemd starts, until the one before it has ended."""
    path = tmp_path / "lock"
    with held_elsewhere(path, "ticker") as pid:
        began = time.monotonic()
        threading.Timer(0.4, os.kill, (pid, signal.SIGKILL)).start()
        with hold(path, "ticker", patiently=True):
            assert time.monotonic() - began > 0.3 and busy(path)
            assert json.loads(path.read_text())["pid"] == os.getpid()
    assert not busy(path)
