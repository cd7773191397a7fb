"""After a power cut and after an orderly shutdown, `inv start` brings everything back."""

from __future__ import annotations

import contextlib
import time
from collections.abc import Callable

import pytest

from ops.core.process import run
from tests.drill.conftest import Record
from tests.drill.stack import Drill, inv, kill
from tests.smoke.accounts import Account
from tests.smoke.conftest import item_input


def power_cut(stack: Drill) -> None:
    """Everything of the project ends at once: nothing is told, nobody cleans up. Monitors first, or they would restart.

    Worse than a boot, after which Podman itself knows that nothing can be running any more."""
    found = stack.containers().values()
    kill(stack.ticker_pid())
    for key in ("ConmonPid", "Pid"):
        for item in found:
            # A container of several processes ends with its first.
            with contextlib.suppress(ProcessLookupError):
                kill(int(item["State"][key]))


def shutdown(stack: Drill) -> None:
    """As an init system ends a host: every container is asked to stop, then what is left is ended."""
    kill(stack.ticker_pid())
    names = [str(item["Name"]) for item in stack.containers().values()]
    run(("podman", "stop", *names), timeout=300, env=stack.project.host.environment)


@pytest.mark.parametrize("how", [power_cut, shutdown])
def test_start_brings_everything_back(stack: Drill, editor: Account, record: Record, how: Callable[[Drill], None]) -> None:
    item = editor("POST", "/items", json=item_input())
    assert item.status_code == 201, item.text
    before = {slot: found["Id"] for slot, found in stack.containers().items()}
    how(stack)
    assert stack.unhealthy()

    began = time.monotonic()
    answer = inv("start")
    record(f"inv start after a {how.__name__.replace('_', ' ')}", time.monotonic() - began)
    assert answer.returncode == 0, answer.stdout + answer.stderr
    stack.assert_as_wanted()
    assert {slot: found["Id"] for slot, found in stack.containers().items()} == before
    assert editor("GET", f"/items/{item.json()['id']}").json() == item.json()


def test_deploy_brings_everything_back_as_well(stack: Drill, record: Record) -> None:
    power_cut(stack)

    began = time.monotonic()
    stack.deploy()
    record("inv deploy after a power cut", time.monotonic() - began)
    stack.assert_as_wanted()
