"""Certificates and the root are replaced under load and strict clients; what is killed or fails leaves one that serves."""

from __future__ import annotations

import os
import signal
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import pytest

from ops.certificates import pki
from ops.core.process import until
from ops.core.records import entries
from tests.drill.certs.strict import Handshakes, shown, strict_clients
from tests.drill.conftest import Record, Two
from tests.drill.disk import disk_of_its_own
from tests.drill.flood import failed
from tests.drill.load import Load, load
from tests.drill.stack import Drill, inv
from tests.drill.test_killed_deploy import break_off
from tests.smoke.live import Live

TIMES = 10
LEAF_SECONDS, ALL_SECONDS = 2.0, 20.0
MOMENTS = ("issue nginx", "swap nginx", "verify nginx", "issue postgres", "swap postgres", "take up postgres", "verify backup")
ROLLOVER_MOMENTS = ("next", "trust", "still postgres", "promote", "issue nginx", "swap backup", "verify postgres")
FINISH_MOMENTS = ("new root", "drop", "forget backup")
NO_SPACE = 1 << 10
"""Bytes: less than a certificate with its key."""


@dataclass
class Met:
    """What users and strict clients met meanwhile."""

    load: Load
    handshakes: Handshakes

    def told(self) -> str:
        users = self.load.users
        return (
            f"{users['requests']} requests at {users['per_second']}/s, {failed(users)} failed; "
            f"{self.handshakes.made} handshakes, {self.handshakes.refused.total()} failed; "
            f"{self.load.held.told()}; {self.load.people.told()}"
        )

    def assert_nobody_noticed(self) -> None:
        assert self.handshakes.made > 0 and not self.handshakes.refused, self.handshakes.refused
        self.load.assert_nobody_noticed()


@contextmanager
def strict_load(stack: Drill, live: Live, two: Two, trusting: list[Path]) -> Iterator[Met]:
    """The load, whose kept connections trust the first of these files of roots; and strict clients of every listener, for each
    of the files."""
    with strict_clients(stack, trusting) as handshakes, load(stack, live, two, ca=trusting[0] if trusting else None) as met:
        yield Met(met, handshakes)


def did(*command: str) -> float:
    """A command that has to succeed; the seconds that it took."""
    began = time.monotonic()
    answer = inv(*command, "--yes")
    assert answer.returncode == 0, answer.stdout + answer.stderr
    return time.monotonic() - began


def roots(stack: Drill) -> list[bytes]:
    found = pki.certificates_in((stack.project.state.ca / "root.pem").read_bytes())
    return [pki.pem(one) for one in found]


def test_all_are_rotated_ten_times_and_nobody_notices(stack: Drill, live: Live, two: Two, record: Record) -> None:
    before, took = shown(stack), []
    edge = stack.containers()["nginx"]["State"]["StartedAt"]
    with strict_load(stack, live, two, []) as met:
        for _ in range(TIMES):
            took.append(did("certs.rotate"))
            time.sleep(1.5)

    record(f"certs.rotate, the slowest of {TIMES}", max(took), ALL_SECONDS, met.told())
    met.assert_nobody_noticed()
    assert all(len(set(serials)) >= TIMES for serials in met.handshakes.serials.values()), met.handshakes.serials
    assert not set(before.values()) & set(shown(stack).values())
    assert stack.containers()["nginx"]["State"]["StartedAt"] == edge
    stack.assert_as_wanted()


@pytest.mark.parametrize("name", ["nginx", "postgres", "backup"])
def test_one_is_rotated(stack: Drill, record: Record, name: str) -> None:
    before = shown(stack)
    took = did("certs.rotate", name)

    record(f"certs.rotate {name}", took, note=f"{LEAF_SECONDS:.0f} s are promised without the start of the program")
    changed = {at for at, serial in shown(stack).items() if before[at] != serial}
    assert {at.split(" at ")[1].partition(":")[0] for at in changed} == {name}


def test_another_root_takes_over_and_nobody_notices(stack: Drill, live: Live, two: Two, record: Record, tmp_path: Path) -> None:
    old, new = tmp_path / "old.pem", tmp_path / "new.pem"
    old.write_bytes(roots(stack)[0])
    before = shown(stack)
    with strict_load(stack, live, two, [old]) as met:
        took = did("certs.ca", "--rollover")
    record("certs.ca --rollover", took, note=f"clients that trust the old root alone: {met.told()}")
    met.assert_nobody_noticed()
    assert not set(before.values()) & set(shown(stack).values())

    both = roots(stack)
    assert len(both) == 2 and both[1] == old.read_bytes()
    new.write_bytes(both[0])
    with strict_load(stack, live, two, [new]) as met:
        took = did("certs.ca", "--finish")
    record("certs.ca --finish", took, note=f"clients that trust only the new root: {met.told()}")
    met.assert_nobody_noticed()
    assert roots(stack) == [new.read_bytes()]
    # What bridged the two goes with the next renewal.
    did("certs.rotate")
    with strict_clients(stack, [old]) as left:
        time.sleep(2)
    assert left.refused.total() == left.made > 0, "the old root still leads somewhere"
    stack.assert_as_wanted()


@pytest.mark.parametrize("moment", MOMENTS)
def test_rotation_that_was_killed_is_completed(stack: Drill, record: Record, tmp_path: Path, moment: str) -> None:
    before = shown(stack)
    with strict_clients(stack) as met:
        break_off(stack, moment, tmp_path / "log", command=("certs.rotate", "--yes"))
        time.sleep(1)
        took = did("certs.rotate")
    record(f"certs.rotate after one killed in: {moment}", took)

    assert not met.refused
    assert not set(before.values()) & set(shown(stack).values())
    assert not list(stack.project.state.certs.glob("*/.*.previous")) and not list(stack.project.state.certs.glob("*/.*.next"))
    assert inv("certs").returncode == 0


@pytest.mark.parametrize("going_on", [("deploy",), ("certs.rotate", "--due")], ids=" ".join)
def test_others_complete_a_rotation_that_was_killed(stack: Drill, tmp_path: Path, going_on: tuple[str, ...]) -> None:
    break_off(stack, "take up postgres", tmp_path / "log", command=("certs.rotate", "postgres", "--yes"))
    did(*going_on)
    assert not list(stack.project.state.certs.glob("*/.*.previous"))
    assert inv("certs").returncode == 0
    stack.assert_as_wanted()


@pytest.mark.parametrize("moment", ROLLOVER_MOMENTS)
def test_rollover_that_was_killed_goes_on(stack: Drill, tmp_path: Path, moment: str) -> None:
    (old,) = roots(stack)
    with strict_clients(stack) as met:
        break_off(stack, moment, tmp_path / "log", command=("certs.ca", "--rollover", "--yes"))
        time.sleep(1)
        did("certs.ca", "--rollover")
        assert roots(stack)[1:] == [old]
        did("certs.ca", "--finish")
    assert not met.refused and len(roots(stack)) == 1
    assert inv("certs").returncode == 0


@pytest.mark.parametrize("moment", FINISH_MOMENTS)
def test_end_of_a_rollover_that_was_killed_goes_on(stack: Drill, tmp_path: Path, moment: str) -> None:
    did("certs.ca", "--rollover")
    with strict_clients(stack) as met:
        break_off(stack, moment, tmp_path / "log", command=("certs.ca", "--finish", "--yes"))
        # Where the old root was dropped already, only its readers are left, and those a rotation tells.
        did("certs.rotate")
        inv("certs.ca", "--finish", "--yes")
    assert not met.refused and len(roots(stack)) == 1
    assert inv("certs").returncode == 0


def test_on_a_full_disk_nothing_is_swapped(stack: Drill) -> None:
    before = shown(stack)
    with disk_of_its_own(stack.project.state.certs, NO_SPACE):
        answer = inv("certs.rotate", "--yes")
        assert answer.returncode == 3, answer.stdout + answer.stderr
        assert "No space left on device" in answer.stderr
    assert shown(stack) == before
    did("certs.rotate")


def test_one_that_is_not_seen_on_the_wire_is_put_back(stack: Drill) -> None:
    """pgBackRest's server in backup is stopped for a while: it can neither read the new one nor show it."""
    before, since = shown(stack), len(list(entries(stack.project.state.journal)))
    server = servers(stack)
    for pid in server:
        os.kill(pid, signal.SIGSTOP)

    def go_on() -> None:
        def not_yet() -> str:
            events = list(entries(stack.project.state.journal))[since:]
            return "" if any(one["event"] == "failed" and one["step"] == "verify backup" for one in events) else "not yet"

        until(not_yet, 60)
        for pid in server:
            os.kill(pid, signal.SIGCONT)

    waking = threading.Thread(target=go_on)
    waking.start()
    answer = inv("certs.rotate", "backup", "--yes")
    waking.join()

    assert answer.returncode == 1, answer.stdout + answer.stderr
    assert "restore the previous certificate of backup" in answer.stdout + answer.stderr
    assert "the previous certificates are served as before" in answer.stderr
    assert shown(stack) == before
    assert not list(stack.project.state.certs.glob("*/.*.previous"))


def servers(stack: Drill) -> list[int]:
    """Processes of pgBackRest's server in the backup container."""
    inside = Path(f"/proc/{stack.pid('backup')}/ns/pid").readlink()
    found = []
    for place in Path("/proc").glob("[0-9]*"):
        try:
            if place.joinpath("ns/pid").readlink() == inside and b"server" in place.joinpath("cmdline").read_bytes():
                found.append(int(place.name))
        except OSError:
            continue
    assert found, "no server runs"
    return found
