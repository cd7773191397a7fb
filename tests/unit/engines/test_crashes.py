"""Crashes of a container: restarts by Podman's policy and ends that nobody ordered; what a command replaces is none."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from ops.core import lock
from ops.engines.podman.supervisor.metrics import Crashes

from .test_supervisor import RUNNING, TARGET, Asked, due_for_repair


def container(restarts: int, identity: str = "a", **state: Any) -> dict[str, Any]:
    return {
        "Id": identity, "RestartCount": restarts,
        "State": {"Status": "exited", "StartedAt": "2026-01-31T12:00:00.1Z", **state},
    }  # fmt: skip


@pytest.fixture
def crashes(tmp_path: Path) -> Crashes:
    return Crashes(tmp_path / "crashes.json")


def after(crashes: Crashes, *seen: dict[str, Any]) -> int:
    for item in seen:
        crashes.observe("redis", item)
    return crashes.total("redis")


def test_restarts_by_podmans_policy_are_counted(crashes: Crashes) -> None:
    assert after(crashes, container(0), container(2), container(2), container(3)) == 3


def test_planned_replacements_and_restarts_are_not(crashes: Crashes) -> None:
    """Two deploys, a restore and `inv restart`: each leaves a container that Podman has not restarted."""
    assert after(crashes, container(0, "a"), container(0, "b"), container(0, "c"), container(0, "c")) == 0


def test_an_ordered_start_begins_podmans_count_anew(crashes: Crashes) -> None:
    assert after(crashes, container(0), container(4), container(0), container(1)) == 5


def test_crashes_of_a_new_container_before_it_is_first_seen_are_counted(crashes: Crashes) -> None:
    assert after(crashes, container(1, "a"), container(2, "b")) == 3


def test_counts_outlive_the_ticker(tmp_path: Path) -> None:
    before = Crashes(tmp_path / "crashes.json")
    after(before, container(0), container(3))
    before.write()

    assert after(Crashes(tmp_path / "crashes.json"), container(3)) == 3
    assert after(Crashes(tmp_path / "crashes.json"), container(0), container(1)) == 4


@pytest.mark.parametrize("text", ["", "{", "[]", '{"redis": {}}', '{"redis": 1}', '{"redis": ["a", 1]}'])
def test_counts_begin_anew_where_the_file_cannot_be_read(tmp_path: Path, text: str) -> None:
    (tmp_path / "crashes.json").write_text(text)

    assert after(Crashes(tmp_path / "crashes.json"), container(1), container(2)) == 2


@pytest.mark.parametrize(
    ("state", "counted"),
    [
        pytest.param({}, 1, id="it ended and Podman did not start it"),
        pytest.param({"Status": "lost"}, 1, id="process and monitor are gone"),
        pytest.param({"StoppedByUser": True}, 0, id="podman stop or kill"),
        pytest.param({"Status": "created", "StartedAt": "0001-01-01T00:00:00Z"}, 0, id="it has never run"),
    ],
)
def test_an_end_that_nobody_ordered_is_counted(crashes: Crashes, state: dict[str, Any], counted: int) -> None:
    item = container(0, **state)
    crashes.observe("redis", item)
    crashes.ended("redis", item)

    assert crashes.total("redis") == counted


def test_an_end_is_counted_once_however_often_its_start_fails(crashes: Crashes) -> None:
    item, later = container(0), container(0, StartedAt="2026-01-31T12:05:00Z")
    for one in (item, item, item, later):
        crashes.observe("redis", one)
        crashes.ended("redis", one)

    assert crashes.total("redis") == 2


def test_slots_that_are_watched_no_more_are_forgotten(tmp_path: Path) -> None:
    crashes = Crashes(tmp_path / "crashes.json")
    after(crashes, container(2))
    crashes.keep(["backend-1"])
    crashes.write()

    assert Crashes(tmp_path / "crashes.json").total("redis") == 0


class Rounds(Asked):
    """A container in the states that follow each other, found by one round each."""

    def __init__(self, state: Path, *states: dict[str, object]) -> None:
        super().__init__(state)
        for folder in ("ticker", "metrics"):
            (state / folder).mkdir(exist_ok=True)
        self.targets, self.states = (replace(TARGET, start_seconds=0),), list(states)

    def inspect(self) -> dict[str, Mapping[str, Any]]:
        return {"cc03-redis": self.states[0]}

    def _run_checks(self, found: object) -> None:
        pass

    def go(self) -> str:
        while self.states:
            self.round()
            self.states.pop(0)
        return (self.state / "metrics" / "stack.prom").read_text()


def state(identity: str, restarts: int, status: str = "running", began: str = "2026-01-31T12:00:00Z") -> dict[str, object]:
    return {
        "Id": identity, "Name": "cc03-redis", "ImageName": "redis", "RestartCount": restarts,
        "State": {"Status": status, "StartedAt": began, "Pid": 0},
    }  # fmt: skip


def test_crashes_are_counted_from_round_to_round_and_by_the_next_ticker(tmp_path: Path) -> None:
    first = Rounds(tmp_path, state("a", 0), state("a", 2), state("b", 0))
    assert 'cc03_container_crashes_total{service="redis",replica="redis",name="cc03-redis"} 2' in first.go().splitlines()

    second = Rounds(tmp_path, state("b", 0), state("b", 1))
    assert 'cc03_container_crashes_total{service="redis",replica="redis",name="cc03-redis"} 3' in second.go().splitlines()


def test_an_end_that_podman_leaves_is_a_crash_once_the_ticker_starts_the_container(tmp_path: Path) -> None:
    ticker = due_for_repair(tmp_path)
    item = state("a", 0, "exited")
    ticker.crashes.observe("redis", item)

    with lock.hold(tmp_path / "lock", "restore"):
        ticker._mend(TARGET, item, 100.0, set())
    assert ticker.crashes.total("redis") == 0

    ticker._mend(TARGET, item, 100.0, set())
    assert (ticker.crashes.total("redis"), ticker.did[-1]) == (1, "start")


def test_a_restart_for_bad_health_is_no_crash(tmp_path: Path) -> None:
    ticker = due_for_repair(tmp_path)
    ticker.crashes.observe("redis", state("a", 0))

    ticker._mend(TARGET, RUNNING, 100.0, set())

    assert (ticker.crashes.total("redis"), ticker.did[-1]) == (0, "restart")
