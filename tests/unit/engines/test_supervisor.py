"""The health supervisor's judgement: when a container counts as ill, when it is mended, and how long it is left alone."""

from __future__ import annotations

import json
import re
import threading
from dataclasses import replace
from pathlib import Path

import pytest

from ops.core import lock
from ops.core.process import Result
from ops.engines.podman.supervisor.health import Target
from ops.engines.podman.supervisor.judge import (
    BUSY_SECONDS,
    FAILURES,
    LONGEST_PAUSE,
    RECOVERY_SECONDS,
    Watch,
    due,
    judge,
    pause_after,
)
from ops.engines.podman.supervisor.main import Supervisor
from ops.engines.podman.supervisor.metrics import Crashes, container_list, container_metrics, epoch

TARGET = Target("redis", "redis", "cc03-redis", "10.64.2.11", None, "/ca.pem", start_seconds=60, grace=30)


def ill(**changes: float) -> Watch:
    watch = Watch(reason="HTTP 503", failures=FAILURES)
    for name, value in changes.items():
        setattr(watch, name, value)
    return watch


@pytest.mark.parametrize(
    ("attempts", "seconds"), [(0, 30), (1, 30), (2, 60), (3, 120), (5, 480), (6, 600), (1000, LONGEST_PAUSE)]
)
def test_pause_doubles_and_has_an_end(attempts: int, seconds: float) -> None:
    assert pause_after(attempts) == seconds


@pytest.mark.parametrize(
    ("watch", "running_seconds", "action"),
    [
        pytest.param(Watch(reason=""), 1000.0, "", id="healthy"),
        pytest.param(ill(failures=FAILURES - 1), 1000.0, "", id="not often enough"),
        pytest.param(ill(), 1000.0, "restart", id="unhealthy for long"),
        pytest.param(ill(), 59.0, "", id="may still be starting"),
        pytest.param(ill(), None, "start", id="does not run"),
        pytest.param(ill(next_mend=101.0), 1000.0, "", id="mended lately"),
        pytest.param(ill(next_mend=101.0), None, "", id="started lately"),
        pytest.param(ill(next_mend=100.0), 1000.0, "restart", id="left alone long enough"),
    ],
)
def test_what_is_due(watch: Watch, running_seconds: float | None, action: str) -> None:
    assert due(watch, TARGET, running_seconds, now=100.0) == action


def test_container_that_is_live_is_not_restarted_for_being_busy() -> None:
    watch, restarted = Watch(), []
    for moment in (0.0, 5.0, 60.0, BUSY_SECONDS - 1, BUSY_SECONDS):
        judge(watch, "HTTP 503", moment, wall=moment, live=True)
        restarted.append(due(watch, TARGET, 1000.0, moment))

    assert restarted == ["", "", "", "", "restart"]


def test_container_that_is_neither_ready_nor_live_is_restarted_after_three_rounds() -> None:
    watch, restarted = Watch(), []
    for moment, live in ((0.0, True), (5.0, False), (10.0, False), (15.0, False)):
        judge(watch, "timed out", moment, wall=moment, live=live)
        restarted.append(due(watch, TARGET, 1000.0, moment))

    assert restarted == ["", "", "", "restart"]


def test_time_of_being_busy_ends_with_a_good_answer() -> None:
    watch = Watch()
    for moment, reason in ((0.0, "HTTP 503"), (BUSY_SECONDS - 1, ""), (BUSY_SECONDS, "HTTP 503")):
        judge(watch, reason, moment, wall=moment, live=bool(reason))

    assert due(watch, TARGET, 1000.0, BUSY_SECONDS + 1) == ""


class Asked(Supervisor):
    """A service that runs as this very process and is not ready, and one that it needs."""

    def __init__(self, state: Path) -> None:
        super().__init__(state)
        self.did = list[str]()

    def podman(self, *arguments: str, timeout: float = 60.0) -> Result:
        self.did.append(arguments[0])
        return Result(arguments, 0, "", "", 0.0)

    def _still_ill(self, target: Target) -> bool:
        return self.ill_when_locked

    ill_when_locked = True


def test_container_has_time_to_become_ready_after_what_it_needs(tmp_path: Path) -> None:
    supervisor = Asked(tmp_path)
    backend = replace(TARGET, slot="backend-1", service="backend", needs=("postgres",))
    watch = supervisor.watches["backend-1"] = Watch(reason="HTTP 503", not_ready_since=0.0)
    item = {"State": {"Status": "running", "StartedAt": "2026-01-31T12:00:00Z"}}

    supervisor._mend(backend, item, BUSY_SECONDS + 1, {"postgres"})
    supervisor._mend(backend, item, BUSY_SECONDS + 2, set())
    assert (supervisor.did, watch.mended) == ([], 0)

    supervisor._mend(backend, item, 2 * BUSY_SECONDS + 1, set())
    assert supervisor.did[-1] == "restart"


def due_for_repair(tmp_path: Path) -> Asked:
    supervisor = Asked(tmp_path)
    supervisor.watches["redis"] = Watch(reason="HTTP 503", failures=FAILURES)
    return supervisor


RUNNING = {"State": {"Status": "running", "StartedAt": "2026-01-31T12:00:00Z"}}


def test_nothing_is_repaired_under_a_command_that_has_begun_since_the_round_did(tmp_path: Path) -> None:
    supervisor = due_for_repair(tmp_path)

    with lock.hold(tmp_path / "lock", "deploy"):
        supervisor._mend(TARGET, RUNNING, 100.0, set())
    assert (supervisor.did, supervisor.watches["redis"].mended) == ([], 0)

    supervisor._mend(TARGET, RUNNING, 100.0, set())
    assert supervisor.did[-1] == "restart"


def test_what_a_command_has_repaired_meanwhile_is_left_alone(tmp_path: Path) -> None:
    supervisor = due_for_repair(tmp_path)
    supervisor.ill_when_locked = False

    supervisor._mend(TARGET, RUNNING, 100.0, set())

    assert (supervisor.did, supervisor.watches["redis"].mended) == ([], 0)


def test_lock_is_held_while_a_container_is_repaired_and_not_longer(tmp_path: Path) -> None:
    supervisor = due_for_repair(tmp_path)
    held: list[str] = []

    def act(*_: object) -> None:
        who = lock.holder(tmp_path / "lock")
        held.append(who.verb if who else "nobody")

    supervisor._act = act  # type: ignore[assignment, method-assign]
    supervisor._mend(TARGET, RUNNING, 100.0, set())

    assert held == [lock.SUPERVISOR]
    assert lock.holder(tmp_path / "lock") is None


class Renewal:
    """A check that takes until the test lets it end."""

    def __init__(self, *_: object) -> None:
        self.begun, self.goes_on, self.rounds = threading.Event(), threading.Event(), list[bool]()

    def round(self, wanted: object, found: object, *, busy: bool) -> None:
        self.rounds.append(busy)
        self.begun.set()
        self.goes_on.wait(10)


def test_health_checks_go_on_while_certificates_are_renewed(tmp_path: Path) -> None:
    renewal = Renewal()
    supervisor = Supervisor(tmp_path, [lambda *_: renewal])
    supervisor._run_checks({})
    assert renewal.begun.wait(10)
    supervisor._run_checks({})
    assert renewal.rounds == [False], "one at a time"

    renewal.goes_on.set()
    assert supervisor.checking is not None
    supervisor.checking.result(10)
    supervisor._run_checks({})
    assert supervisor.checking.result(10) is None and len(renewal.rounds) == 2


@pytest.mark.parametrize(
    ("live", "patience"), [("https://redis:1/live", BUSY_SECONDS), ("/usr/local/bin/live", RECOVERY_SECONDS)]
)
def test_database_that_recovers_has_more_time_than_a_busy_service(live: str, patience: float) -> None:
    watch, target = Watch(), replace(TARGET, live=live)
    actions = []
    for moment in (0.0, patience - 1, patience):
        judge(watch, "starting up", moment, wall=moment, live=True)
        actions.append(due(watch, target, 10_000.0, moment))

    assert actions == ["", "", "restart"]


class Locked(Supervisor):
    """Secrets that are encrypted at rest, after a boot; the key comes with the second look."""

    def __init__(self, state: Path) -> None:
        super().__init__(state)
        self.targets, self.did = (TARGET,), list[str]()
        (state / "secrets").symlink_to(state / "memory" / "cc03-1" / "secrets")

    def _unlock(self) -> bool:
        self.did.append("unlock")
        if len(self.did) > 1:
            (self.state / "memory" / "cc03-1" / "secrets").mkdir(parents=True)
        return len(self.did) > 1

    def _start_all(self) -> None:
        self.did.append("start all")


def test_after_a_boot_nothing_is_started_until_secrets_can_be_read(tmp_path: Path) -> None:
    supervisor = Locked(tmp_path)

    assert [supervisor.ready() for _ in range(3)] == [False, True, True]
    assert supervisor.did == ["unlock", "unlock", "start all"]


def test_who_unlocks_by_hand_is_followed_by_a_start(tmp_path: Path) -> None:
    supervisor = Locked(tmp_path)
    assert not supervisor.ready()
    (tmp_path / "memory" / "cc03-1" / "secrets").mkdir(parents=True)

    assert supervisor.ready()
    assert supervisor.did == ["unlock", "start all"]


def test_what_another_account_has_put_in_the_place_of_secrets_is_not_taken_for_them(tmp_path: Path) -> None:
    supervisor = Locked(tmp_path)
    (tmp_path / "elsewhere" / "cc03-1" / "secrets").mkdir(parents=True)
    (tmp_path / "memory").symlink_to(tmp_path / "elsewhere")

    assert not supervisor.ready()


def test_nothing_is_unlocked_while_the_stack_is_stopped_on_purpose(tmp_path: Path) -> None:
    supervisor = Locked(tmp_path)
    supervisor.targets = ()

    assert supervisor.ready()
    assert supervisor.did == []


def test_who_needs_what_is_ill_is_not_restarted_and_is_started_all_the_same() -> None:
    backend = replace(TARGET, slot="backend-1", service="backend", needs=("postgres", "redis"))

    assert due(ill(), backend, 1000.0, now=100.0, ill={"postgres", "backend"}) == ""
    assert due(ill(), backend, 1000.0, now=100.0, ill={"backend", "grafana"}) == "restart"
    assert due(ill(), backend, None, now=100.0, ill={"postgres"}) == "start"


def test_failures_in_a_row_are_counted_and_one_good_answer_ends_them() -> None:
    watch = Watch()
    counts = []
    for answer in ("down", "down", "", "down"):
        judge(watch, answer, now=0.0, wall=0.0)
        counts.append(watch.failures)

    assert counts == [1, 2, 0, 1]


def test_since_is_when_the_verdict_changed_not_when_it_was_repeated() -> None:
    watch = Watch()
    since = []
    for wall, answer in ((10.0, "down"), (20.0, "still down"), (30.0, ""), (40.0, "")):
        judge(watch, answer, now=wall, wall=wall)
        since.append(watch.since)

    assert since == [10.0, 10.0, 30.0, 30.0]
    assert watch.reason == ""


def test_attempts_are_forgotten_only_after_a_long_time_of_health() -> None:
    watch = Watch(reason="", mended=3, next_mend=100.0)

    judge(watch, "", now=100.0 + LONGEST_PAUSE, wall=1.0)
    assert watch.mended == 3

    judge(watch, "", now=101.0 + LONGEST_PAUSE, wall=1.0)
    assert watch.mended == 0


@pytest.mark.parametrize(
    ("stamp", "seconds"),
    [
        ("1970-01-01T00:01:00Z", 60),
        ("1970-01-01T00:01:00.123456789Z", 60),
        ("1970-01-01T01:01:00.123456789+01:00", 60),
        ("1969-12-31T19:01:00.5-05:00", 60),
        ("1970-01-01T01:01:00+01:00", 60),
    ],
)  # fmt: skip
def test_podmans_times_are_read(stamp: str, seconds: float) -> None:
    assert epoch(stamp) == seconds


def test_time_of_a_container_that_never_started_is_long_ago() -> None:
    assert epoch("0001-01-01T00:00:00Z") < 0


@pytest.fixture
def crashes(tmp_path: Path) -> Crashes:
    return Crashes(tmp_path / "crashes.json")


def test_exposition_tells_health_crashes_and_the_container_behind_a_slot(crashes: Crashes) -> None:
    found = {"cc03-redis": {"Id": "abc", "RestartCount": 2}}
    crashes.observe("redis", found["cc03-redis"])

    text = container_metrics((TARGET,), {"redis": Watch(reason="", mended=1)}, found, crashes)

    labels = 'service="redis",replica="redis",name="cc03-redis"'
    assert f"cc03_container_healthy{{{labels}}} 1" in text.splitlines()
    assert f"cc03_container_crashes_total{{{labels}}} 2" in text.splitlines()
    assert f'cc03_container_info{{{labels},container_id="abc"}} 1' in text.splitlines()


def test_cadvisor_is_told_what_it_measures_and_nothing_else() -> None:
    item = {
        "Id": "abc", "Name": "cc03-redis", "ImageName": "localhost/cc03/redis:1", "Config": {"Env": ["A=b"]},
        "State": {"Pid": 42, "StartedAt": "2026-01-31T12:00:00.123456789Z"},
    }  # fmt: skip

    assert json.loads(container_list([item])) == [{
        "id": "abc", "name": "cc03-redis", "image": "localhost/cc03/redis:1", "pid": 42, "started": 1769860800,
    }]  # fmt: skip


def test_exposition_tells_of_a_container_that_is_gone(crashes: Crashes) -> None:
    text = container_metrics((TARGET,), {"redis": ill()}, {}, crashes)

    assert "cc03_container_healthy" in text
    assert '"cc03-redis"} 0' in text
    assert "container_id" not in text


def test_exposition_is_the_text_format_that_prometheus_reads(crashes: Crashes) -> None:
    text = container_metrics((TARGET,), {"redis": Watch(reason="")}, {"cc03-redis": {"Id": "abc"}}, crashes)

    assert text.endswith("\n")
    for line in text.splitlines():
        assert re.fullmatch(r'# (HELP|TYPE) \w+ .+|\w+(\{(\w+="[^"]*",?)+\})? [0-9.]+', line), line
    typed = {line.split()[2] for line in text.splitlines() if line.startswith("# TYPE")}
    assert {re.split(r"[{ ]", line)[0] for line in text.splitlines() if not line.startswith("#")} == typed
