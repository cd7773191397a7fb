"""The health ticker: seen when it is gone, and doing what Podman's restart policy does not."""

from __future__ import annotations

import os
import re
import signal
import time
from pathlib import Path

import pytest

from ops.core.process import run
from ops.engines.podman.supervisor import firewall
from ops.stack.firewall_rules import table_name
from tests.drill.conftest import Record
from tests.drill.stack import Drill, inv, kill
from tests.smoke.live import eventually

OLD_ENOUGH = 125.0
"""Seconds that a container must have run before the ticker restarts it: younger ones may still be starting."""
QUIET = 35.0
"""A little more than the time between two rounds while all is well."""
LONG = 300.0
"""A quiet round is 30 s, a verdict needs three, and the executed checks are a minute apart."""


def test_dead_ticker_is_seen_and_the_next_deploy_starts_another(stack: Drill, record: Record) -> None:
    dead = stack.ticker_pid()
    kill(dead)
    eventually(lambda: f"process {dead} is there" if Path(f"/proc/{dead}").exists() else "", 10)

    assert "no health supervisor: inv start" in inv("status").stdout
    began = time.monotonic()
    assert "start the health supervisor" in stack.deploy().stdout
    record("kill -9 of the health ticker, then inv deploy", time.monotonic() - began)
    assert stack.ticker_pid() != dead
    assert "health supervisor running" in inv("status").stdout
    stack.assert_as_wanted()


def age(stack: Drill, slot: str) -> float:
    """Seconds that the main process of a container has been running."""
    ticks = int(Path(f"/proc/{stack.pid(slot)}/stat").read_text().rpartition(")")[2].split()[19])
    uptime = float(Path("/proc/uptime").read_text().split()[0])
    return uptime - ticks / os.sysconf("SC_CLK_TCK")


@pytest.mark.parametrize("slot", ["alertmanager", "redis"])
def test_container_that_runs_and_does_not_answer_is_restarted(stack: Drill, record: Record, slot: str) -> None:
    """One that is asked over the network, and one whose check is executed inside it."""
    eventually(lambda: "" if age(stack, slot) > OLD_ENOUGH else f"{slot} is too young", OLD_ENOUGH + 10)
    frozen = stack.pid(slot)
    began = time.monotonic()
    os.kill(frozen, signal.SIGSTOP)
    try:
        eventually(lambda: "it is still frozen" if stack.pid(slot) in (0, frozen) else stack.unhealthy(slot), LONG)
    finally:
        if Path(f"/proc/{frozen}").exists():
            os.kill(frozen, signal.SIGCONT)
    record(f"{slot} frozen (SIGSTOP)", time.monotonic() - began, note="noticed and restarted by the health ticker")
    assert f"restart {slot}, attempt 1" in (stack.project.state.ticker / "ticker.log").read_text()


def test_packet_filter_that_was_flushed_is_loaded_again(stack: Drill, record: Record) -> None:
    state = stack.project.state
    run(("nft", "delete", "table", "ip", table_name(stack.project.name)), timeout=10)
    began = time.monotonic()
    eventually(lambda: "" if firewall.loaded(state.root) != firewall.ALTERED else "it is gone", LONG)
    record("packet filter flushed", time.monotonic() - began, note="loaded again by the health ticker")
    assert "packet filter" in (state.ticker / "ticker.log").read_text()


def test_container_that_was_stopped_by_hand_is_started(stack: Drill, record: Record) -> None:
    name = stack.containers()["frontend-1"]["Name"]
    run(("podman", "stop", name), timeout=60, env=stack.project.host.environment)
    began = time.monotonic()

    eventually(lambda: stack.unhealthy("frontend-1"), LONG)
    record("frontend stopped by hand", time.monotonic() - began, note="noticed and started by the health ticker")


def crashes(stack: Drill, slot: str) -> int:
    """What Prometheus is told: the count that the ticker last wrote for this slot."""
    text = (stack.project.state.metrics / "stack.prom").read_text()
    found = re.search(rf'^cc03_container_crashes_total{{[^}}]*replica="{slot}"[^}}]*}} (\d+)$', text, re.MULTILINE)
    assert found, text
    return int(found[1])


def crash(stack: Drill, slot: str) -> None:
    """End the main process of a container and wait until Podman has started another one."""
    dead = stack.pid(slot)
    kill(dead)
    eventually(lambda: f"{slot} does not run" if stack.pid(slot) in (0, dead) else "", 60)


def test_crashes_are_counted_and_planned_restarts_are_not(stack: Drill, record: Record) -> None:
    """Two restarts and a deploy by a new ticker, then three crashes: ContainerRestarting looks at this count."""
    before = crashes(stack, "frontend-1")
    for _ in range(2):
        assert inv("restart", "frontend").returncode == 0
    kill(stack.ticker_pid())
    stack.deploy()
    time.sleep(QUIET)
    assert crashes(stack, "frontend-1") == before

    for _ in range(3):
        crash(stack, "frontend-1")
    began = time.monotonic()
    eventually(lambda: "" if crashes(stack, "frontend-1") == before + 3 else "they are not counted", 2 * QUIET)
    record("frontend killed three times", time.monotonic() - began, note="counted as three crashes by the health ticker")
    stack.await_healthy("frontend-1")


def test_ticker_leaves_alone_what_was_stopped_on_purpose(stack: Drill) -> None:
    assert inv("stop").returncode == 0
    assert not Path(f"/proc/{stack.ticker_pid()}").exists()
    assert {item["State"]["Status"] for item in stack.containers().values()} == {"exited"}

    assert inv("start").returncode == 0
    stack.assert_as_wanted()
