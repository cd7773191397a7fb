"""What the health ticker asks, does and writes down in its rounds, against a Podman that is a table."""

from __future__ import annotations

import json
import os
import time
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

import pytest

from ops.core import lock
from ops.engines.podman.supervisor.judge import FAILURES, Watch
from ops.engines.podman.supervisor.main import EXEC_SECONDS, LIVE_SECONDS, Supervisor
from tests.unit.supervised import EXITED, LISTENER, NGINX, REDIS, Podman, listed, loaded, metrics, started, written
from tests.unit.supervised import podman as podman  # noqa: PLC0414  (fixtures)
from tests.unit.supervised import said as said  # noqa: PLC0414
from tests.unit.supervised import state as state  # noqa: PLC0414


def test_list_is_taken_up_whole(state: Path) -> None:
    listed(state, REDIS, NGINX, version="v7", listeners=[asdict(LISTENER)])
    made = loaded(state)

    assert (made.targets, made.wanted["listeners"], made.version) == ((REDIS, NGINX), [asdict(LISTENER)], "v7")


def test_nothing_is_watched_while_the_stack_is_stopped_on_purpose(state: Path, podman: Podman) -> None:
    listed(state, REDIS, version="v7", listeners=[asdict(LISTENER)])
    (state / "ticker" / "stopped").touch()
    made = loaded(state)
    made.round()

    assert (made.targets, made.wanted, made.version, podman.asked) == ((), {}, "v7", [])
    assert written(state)["health"] == {}


# Rounds.


def test_round_writes_down_who_is_healthy_and_who_is_not(state: Path, podman: Podman) -> None:
    podman.ill.add(REDIS.container)
    before = time.time()
    loaded(state).round()

    found = written(state)
    assert (found["version"], found["pid"]) == ("v1", os.getpid())
    assert before <= found["at"] <= time.time()
    assert {slot: (one["reason"], one["mended"]) for slot, one in found["health"].items()} == {
        "redis": ("its health check fails", 0), "nginx-1": ("", 0),
    }  # fmt: skip
    assert all(before <= one["since"] <= time.time() for one in found["health"].values())
    assert 'cc03_container_healthy{service="redis",replica="redis",name="cc03-redis"} 0' in metrics(state)
    assert 'cc03_container_healthy{service="nginx",replica="nginx-1",name="cc03-nginx-1"} 1' in metrics(state)
    assert "cc03_operation_running_seconds 0" in metrics(state)
    assert [one["id"] for one in json.loads((state / "metrics" / "containers.json").read_text())] == [
        "id-cc03-redis", "id-cc03-nginx-1",
    ]  # fmt: skip


@pytest.mark.parametrize("name", ["ticker/health.json", "metrics/containers.json", "metrics/stack.prom"])
def test_what_is_written_can_be_read_by_exporters_and_leaves_nothing_beside(state: Path, podman: Podman, name: str) -> None:
    before = os.umask(0o077)
    try:
        loaded(state).round()
    finally:
        os.umask(before)

    assert (state / name).stat().st_mode & 0o777 == 0o644
    assert not list((state / name).parent.glob(".*"))


def test_container_that_is_gone_is_told_and_nothing_is_done_about_it(state: Path, podman: Podman) -> None:
    del podman.containers[REDIS.container]
    made = loaded(state)
    for _ in range(FAILURES + 1):
        made.round()

    assert written(state)["health"]["redis"]["reason"] == "there is no such container"
    assert podman.did() == []


def test_ill_container_is_restarted_after_three_rounds_within_its_grace(state: Path, podman: Podman, said: list[str]) -> None:
    podman.ill.add(REDIS.container)
    made = loaded(state)
    for _ in range(FAILURES - 1):
        made.round()
    assert podman.did() == []
    made.round()

    assert podman.did() == [("restart", "--time", "30", "cc03-redis")]
    assert podman.timeouts["restart"] == 90.0
    assert said == ["restart redis, attempt 1: its health check fails"]
    assert written(state)["health"]["redis"]["mended"] == 1
    for _ in range(FAILURES):
        made.round()
    assert len(podman.did()) == 1, "it is left alone for a while"


def test_container_that_does_not_run_is_started_without_a_grace(state: Path, podman: Podman) -> None:
    podman.containers[REDIS.container] = EXITED
    made = loaded(state)
    for _ in range(FAILURES):
        made.round()

    assert podman.did() == [("start", "cc03-redis")]
    made.round()
    assert written(state)["health"]["redis"]["reason"] == ""


def test_repair_that_fails_is_told_and_tried_again_later(state: Path, podman: Podman, said: list[str]) -> None:
    podman.containers[REDIS.container] = EXITED
    podman.fails.add("start")
    made = loaded(state)
    for _ in range(FAILURES):
        made.round()
    assert said[-1] == "start redis failed: no space left"

    made.watches["redis"].next_mend = 0.0
    for _ in range(FAILURES):
        made.round()
    assert said[-2].startswith("start redis, attempt 2: ")


def test_repairs_of_one_container_are_kept_further_and_further_apart(state: Path, podman: Podman, said: list[str]) -> None:
    made = loaded(state)
    found = Watch(reason="HTTP 503", failures=FAILURES, not_ready_since=1.0)
    made._act(REDIS, found, "restart", 100.0)
    first = found.next_mend
    assert (found.failures, found.not_ready_since) == (0, None)
    made._act(REDIS, found, "restart", 200.0)

    assert (first, found.next_mend, found.mended) == (130.0, 260.0, 2)


def test_who_needs_what_is_ill_is_left_alone_while_that_is_mended(state: Path, podman: Podman, said: list[str]) -> None:
    podman.ill |= {REDIS.container, NGINX.container}
    made = loaded(state)
    for _ in range(2 * FAILURES):
        made.round()

    assert podman.did() == [("restart", "--time", "30", "cc03-redis")]


def test_container_that_is_healthy_and_is_asked_inside_is_asked_once_a_minute(state: Path, podman: Podman) -> None:
    made = loaded(state)
    made.round()
    made.round()
    assert podman.did("healthcheck") == [("healthcheck", "run", "cc03-redis"), ("healthcheck", "run", "cc03-nginx-1")]

    made.watches["redis"].asked -= EXEC_SECONDS
    made.round()
    assert podman.did("healthcheck")[2:] == [("healthcheck", "run", "cc03-redis")]


def test_one_that_is_ill_or_is_asked_over_the_network_is_asked_in_every_round(state: Path) -> None:
    made = loaded(state)
    made.watches["redis"] = Watch(reason="down", asked=100.0)
    probed = replace(REDIS, slot="probed", probe="https://redis:1/ready")
    made.watches["probed"] = Watch(reason="", asked=100.0)
    made.watches["nginx-1"] = Watch(reason="", asked=100.0)

    assert [made._worth_asking(one, 100.5) for one in (REDIS, probed, NGINX)] == [True, True, False]
    assert not made._worth_asking(NGINX, 100.0 + EXEC_SECONDS - 1.5)
    assert made._worth_asking(NGINX, 100.0 + EXEC_SECONDS - 1)


def test_one_that_does_not_run_is_noticed_in_the_next_round(state: Path, podman: Podman) -> None:
    made = loaded(state)
    made.round()
    podman.containers[REDIS.container] = EXITED
    made.round()

    assert written(state)["health"]["redis"]["reason"].startswith("it is exited")


def test_podman_learns_of_a_verdict_from_the_network_once_per_change(state: Path, podman: Podman) -> None:
    made = loaded(state)
    probed, found = replace(REDIS, probe="https://redis:1/ready"), Watch(reason="")
    for reason in ("", "", "HTTP 503", "HTTP 502", ""):
        found.reason = reason
        made._tell_podman(probed, found)
    made._tell_podman(REDIS, Watch(reason=""))

    assert podman.did("healthcheck") == [("healthcheck", "run", "cc03-redis")] * 3


def test_program_that_shows_whether_a_container_is_live_has_a_deadline(state: Path, podman: Podman) -> None:
    made = loaded(state)

    assert made._succeeds("cc03-redis", "/live")
    podman.fails.add("exec")
    assert not made._succeeds("cc03-redis", "/live")
    assert (podman.asked[-1], podman.timeouts["exec"]) == (("exec", "cc03-redis", "/live"), LIVE_SECONDS)


def test_busy_container_is_known_to_be_live(state: Path, podman: Podman) -> None:
    podman.ill.add(REDIS.container)
    made = loaded(state)
    found = made.inspect()

    assert made._assess(replace(REDIS, live="/live"), found) == ("its health check fails", True)
    assert made._assess(REDIS, found) == ("its health check fails", False)
    podman.ill.clear()
    podman.asked.clear()
    assert made._assess(replace(REDIS, live="/live"), found) == ("", False)
    assert podman.did("exec") == []


def test_container_in_the_network_of_another_is_judged_with_that_one(state: Path, podman: Podman) -> None:
    podman.containers = {one: {**started(), "Pid": os.getpid()} for one in podman.containers}
    made = loaded(state)
    held = replace(REDIS, holder=NGINX.container)

    assert made._assess(held, made.inspect()) == ("", False)
    del podman.containers[NGINX.container]
    assert made._assess(held, made.inspect())[0].startswith("it has lost its network")


@pytest.mark.parametrize("now", ["gone", "healthy", "ill"])
def test_container_is_looked_at_again_before_it_is_repaired(state: Path, podman: Podman, now: str) -> None:
    made = loaded(state)
    if now == "gone":
        del podman.containers[REDIS.container]
    if now == "ill":
        podman.ill.add(REDIS.container)

    assert made._still_ill(REDIS) is (now == "ill")


class Asked:
    """A check that notes what it is given, or fails."""

    def __init__(self, problem: Exception | None = None) -> None:
        self.given: list[Any] = []
        self.problem = problem

    def round(self, wanted: Any, found: Any, *, busy: bool) -> None:
        self.given.append((wanted.get("listeners"), sorted(found), busy))
        if self.problem:
            raise self.problem


def test_check_is_given_what_is_wanted_and_what_was_found(state: Path, podman: Podman) -> None:
    check = Asked()
    listed(state, REDIS, listeners=[asdict(LISTENER)])
    made = Supervisor(state, [lambda *_: check])
    made.load()
    with lock.hold(state / "lock", "deploy"):
        made.round()
    assert made.checking is not None
    made.checking.result(10)

    assert check.given == [([asdict(LISTENER)], ["cc03-redis"], True)]


def test_check_that_fails_is_told_and_goes_on(state: Path, podman: Podman, said: list[str]) -> None:
    check = Asked(RuntimeError("no"))
    made = Supervisor(state, [lambda *_: check])
    for _ in range(2):
        made._run_checks({})
        assert made.checking is not None
        assert isinstance(made.checking.exception(10), RuntimeError)

    assert len(check.given) == 2 and said == ["a check failed: RuntimeError: no"]
