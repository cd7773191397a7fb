"""The health ticker after a boot, and from its start to its end."""

from __future__ import annotations

import json
import os
import signal
import threading
import time
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from datetime import datetime
from pathlib import Path
from typing import Any

import pytest

from ops.core import lock
from ops.core.errors import LockHeld, OpsError
from ops.core.process import Result
from ops.engines.podman.supervisor import firewall
from ops.engines.podman.supervisor import main as supervisor
from ops.engines.podman.supervisor.main import Supervisor, main
from ops.engines.podman.supervisor.metrics import measured, running_seconds
from tests.unit.supervised import EXITED, NGINX, REDIS, Podman, listed, started, written
from tests.unit.supervised import podman as podman  # noqa: PLC0414  (fixtures)
from tests.unit.supervised import said as said  # noqa: PLC0414
from tests.unit.supervised import state as state  # noqa: PLC0414


def test_boot_starts_all_that_is_down_at_once_in_the_order_of_the_list(state: Path, podman: Podman, said: list[str]) -> None:
    podman.containers = {NGINX.container: EXITED, REDIS.container: EXITED, "cc03-stranger": EXITED}
    made = Supervisor(state)
    made.boot()

    assert podman.did() == [("start", "cc03-redis", "cc03-nginx-1")]
    assert podman.timeouts["start"] == 300.0
    assert said == ["starting after boot: cc03-redis, cc03-nginx-1"]
    assert made.version == "v1" and not made.waiting
    assert lock.holder(state / "lock") is None


def test_boot_leaves_alone_what_runs_and_what_is_gone(state: Path, podman: Podman, said: list[str]) -> None:
    podman.containers = {NGINX.container: started()}
    Supervisor(state).boot()

    assert (podman.did(), said) == ([], [])


def test_boot_holds_the_lock_while_it_starts(state: Path, podman: Podman, monkeypatch: pytest.MonkeyPatch) -> None:
    holders: list[str] = []

    def start_all(self: Supervisor) -> None:
        who = lock.holder(state / "lock")
        holders.append(who.verb if who else "nobody")

    monkeypatch.setattr(Supervisor, "_start_all", start_all)
    Supervisor(state).boot()
    assert holders == [lock.SUPERVISOR]


def test_boot_under_a_command_starts_nothing_until_that_has_ended(state: Path, podman: Podman) -> None:
    podman.containers[REDIS.container] = EXITED
    made = Supervisor(state)
    with lock.hold(state / "lock", "deploy"):
        made.boot()
        assert podman.did() == [] and made.waiting
    assert made.ready()

    assert podman.did() == [("start", "cc03-redis")]
    podman.containers[REDIS.container] = EXITED
    assert made.ready()
    assert len(podman.did()) == 1, "once: what ends later is looked at in the rounds"


@pytest.mark.parametrize(
    "problem", [OpsError("inv secrets.unlock failed", "no key", ""), OSError("no key"), KeyError("no key")]
)
def test_what_cannot_be_unlocked_is_told_and_nothing_starts(
    state: Path, podman: Podman, said: list[str], monkeypatch: pytest.MonkeyPatch, problem: Exception
) -> None:
    asked: list[Any] = []

    def unlock(*arguments: Any) -> None:
        asked.append(arguments)
        raise problem

    monkeypatch.setattr(supervisor, "run_command", unlock)
    (state / "secrets").symlink_to(state / "memory" / "cc03-1" / "secrets")
    podman.containers[REDIS.container] = EXITED
    made = Supervisor(state)
    made.boot()

    assert asked == [(state, ("secrets.unlock",), 120.0)]
    assert podman.did() == [] and made.waiting
    assert len(said) == 1 and said[0].startswith("nothing can start: ") and "no key" in said[0]


def test_what_can_be_unlocked_starts(state: Path, podman: Podman, monkeypatch: pytest.MonkeyPatch) -> None:
    (state / "secrets").symlink_to(state / "memory" / "cc03-1" / "secrets")
    monkeypatch.setattr(supervisor, "run_command", lambda *_: (state / "memory" / "cc03-1" / "secrets").mkdir(parents=True))
    podman.containers[REDIS.container] = EXITED
    Supervisor(state).boot()

    assert podman.did() == [("start", "cc03-redis")]


# The packet filter.


@pytest.mark.parametrize(
    ("necessary", "busy", "told"),
    [(True, False, 1), (False, False, 0), (True, True, 0)],
)
def test_packet_filter_that_is_gone_is_loaded_again_and_told(
    state: Path, podman: Podman, said: list[str], monkeypatch: pytest.MonkeyPatch, necessary: bool, busy: bool, told: int
) -> None:
    asked: list[Path] = []

    def ensure(folder: Path) -> bool:
        asked.append(folder)
        return necessary

    monkeypatch.setattr(firewall, "ensure", ensure)
    made = Supervisor(state)
    if busy:
        with lock.hold(state / "lock", "deploy"):
            made.keep_filter()
    else:
        made.keep_filter()

    assert ["loaded again" in line for line in said] == [True] * told and asked == ([] if busy else [state])


def test_packet_filter_that_cannot_be_loaded_is_told(
    state: Path, said: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:  # fmt: skip
    def ensure(_: Path) -> bool:
        raise OpsError("not loaded", "no module", "")

    monkeypatch.setattr(firewall, "ensure", ensure)
    Supervisor(state).keep_filter()
    assert said == ["not loaded: no module"]


# The life of the process.


@dataclass
class Rounds:
    """A ticker whose waits end at once, and which stops after some rounds. until: when each wait was to end, from its begin."""

    made: Supervisor
    until: list[float] = field(default_factory=list)

    def go(self, monkeypatch: pytest.MonkeyPatch, rounds: int) -> list[float]:
        def wait(until: float) -> None:
            self.until.append(until - time.monotonic())
            if len(self.until) == rounds:
                self.made.stop.set()

        monkeypatch.setattr(self.made, "_wait", wait)
        self.made.run()
        return self.until


def test_rounds_follow_closer_while_something_is_ill(state: Path, podman: Podman, monkeypatch: pytest.MonkeyPatch) -> None:
    rounds = Rounds(Supervisor(state))
    assert [round(one) for one in rounds.go(monkeypatch, 1)] == [supervisor.CALM_SECONDS]

    podman.ill.add(REDIS.container)
    rounds = Rounds(Supervisor(state))
    assert [round(one) for one in rounds.go(monkeypatch, 1)] == [supervisor.ALERT_SECONDS]


def test_each_round_takes_up_the_list_as_it_is_then(state: Path, podman: Podman, monkeypatch: pytest.MonkeyPatch) -> None:
    made = Supervisor(state)
    rounds = Rounds(made)
    podman_run = podman.run

    def replaced(argv: tuple[str, ...], **more: Any) -> Result:
        answer = podman_run(argv, **more)
        listed(state, NGINX, version="v2")
        return answer

    monkeypatch.setattr(supervisor, "run", replaced)
    rounds.go(monkeypatch, 2)
    assert (made.version, made.targets, written(state)["version"]) == ("v2", (NGINX,), "v2")


@pytest.mark.parametrize("problem", [OpsError("no", "why", ""), OSError(5, "no"), ValueError("no"), KeyError("no")])
def test_round_that_fails_is_told_and_another_one_follows(
    state: Path, podman: Podman, said: list[str], monkeypatch: pytest.MonkeyPatch, problem: Exception
) -> None:
    made = Supervisor(state)

    def fails() -> None:
        raise problem

    monkeypatch.setattr(made, "round", fails)
    assert len(Rounds(made).go(monkeypatch, 2)) == 2
    assert len(said) == 2 and said[0].startswith(f"this round failed: {type(problem).__name__}: ") and "no" in said[0]


def test_nothing_is_asked_while_secrets_cannot_be_read(
    state: Path, podman: Podman, said: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:  # fmt: skip
    monkeypatch.setattr(Supervisor, "_unlock", lambda self: False)
    (state / "secrets").symlink_to(state / "memory" / "cc03-1" / "secrets")
    Rounds(Supervisor(state)).go(monkeypatch, 2)

    assert podman.asked == [] and not (state / "ticker" / "health.json").exists()


def test_wait_ends_at_its_time_or_when_the_ticker_is_told_to_stop(state: Path) -> None:
    made = Supervisor(state)
    began = time.monotonic()
    made._wait(began - 5)
    made._wait(began + 0.05)
    assert 0.05 <= time.monotonic() - began < 30

    threading.Timer(0.05, made.stop.set).start()
    made._wait(time.monotonic() + 60)
    assert time.monotonic() - began < 30


@pytest.fixture
def handlers() -> Iterator[None]:
    before = {number: signal.getsignal(number) for number in (signal.SIGTERM, signal.SIGINT)}
    yield
    for number, handler in before.items():
        signal.signal(number, handler)


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
@pytest.mark.parametrize("boot", [True, False])
def test_process_watches_under_its_lock_until_it_is_told_to_stop(
    state: Path, podman: Podman, handlers: None, number: int, boot: bool
) -> None:
    podman.containers[REDIS.container] = EXITED
    holders: list[lock.Holder | None] = []
    real = podman.run

    def run(argv: tuple[str, ...], **more: Any) -> Result:
        holders.append(lock.holder(state / "ticker" / "lock"))
        os.kill(os.getpid(), number)
        return real(argv, **more)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(supervisor, "run", run)
        main(state, boot=boot)

    assert {(one.verb, one.pid) for one in holders if one} == {("ticker", os.getpid())} and None not in holders
    assert podman.did() == ([("start", "cc03-redis")] if boot else [])
    assert lock.holder(state / "ticker" / "lock") is None


def test_second_ticker_is_refused(state: Path, podman: Podman, handlers: None) -> None:
    with lock.hold(state / "ticker" / "lock", "ticker"), pytest.raises(LockHeld):
        main(state, boot=False)


def test_line_of_the_log_is_json_with_its_time(state: Path, capsys: pytest.CaptureFixture[str]) -> None:
    Supervisor(state).say('a "word"')

    line = json.loads(capsys.readouterr().out)
    assert (line["level"], line["message"]) == ("warning", 'a "word"')
    assert abs(datetime.strptime(line["at"], "%Y-%m-%dT%H:%M:%S%z").timestamp() - time.time()) < 60


def test_container_without_a_process_is_measured_as_such() -> None:
    item: Mapping[str, Any] = {
        "Id": "abc",
        "Name": "n",
        "ImageName": "i",
        "State": {"Pid": None, "StartedAt": "1970-01-01T00:01:00Z"},
    }
    assert measured(item) == {"id": "abc", "name": "n", "image": "i", "pid": 0, "started": 60}


def test_running_time_is_counted_from_the_start_of_the_process() -> None:
    seconds = running_seconds({"State": started(100.0)})
    assert seconds is not None and 99 <= seconds <= 160
    assert running_seconds({"State": EXITED}) is None
