"""kill -9 of `inv deploy` at different moments: the next one completes, whatever the first has left."""

from __future__ import annotations

import time
from collections.abc import Mapping
from pathlib import Path

import pytest

from ops.core.machine import REPOSITORY
from ops.core.process import until
from ops.core.records import entries
from tests.drill.conftest import Record
from tests.drill.stack import PATIENCE, Drill, begun

FIRST = ("secret postgres-app", "create rest", "healthy keycloak", "migrate backend")
"""Steps of a first deploy: storing secrets, creating containers, waiting, migrating."""
REPLACING = ("create redis", "remove redis", "promote redis", "start redis")
"""Steps that replace a running container, with nothing, half of it, or all of it there."""


def break_off(
    drill: Drill, step: str, log: Path, env: Mapping[str, str] | None = None, root: Path = REPOSITORY,
    command: tuple[str, ...] = ("deploy", "--yes"), journal: Path | None = None, later: float = 0.0,
) -> None:  # fmt: skip
    """Begin a command, and kill it as soon as it has begun that step.

    journal: where that is to be read, if not in that of the lock's holder. later: seconds after it.
    """
    since = len(list(entries(journal or drill.project.state.journal)))
    with begun(*command, log=log, env=env, root=root) as process:
        reason = until(
            lambda: "" if drill.step_began(since, step, journal) or process.poll() is not None else f"{step} was not begun",
            PATIENCE, first_pause=0.01, longest_pause=0.01,
        )  # fmt: skip
        time.sleep(later)
        ended = process.poll()
        process.kill()
        process.wait()
    assert not reason and ended is None, f"{reason or 'the command ended before'}: {log.read_text()[-1000:]}"


def complete(drill: Drill, record: Record, moment: str, env: Mapping[str, str] | None = None) -> None:
    began = time.monotonic()
    answer = drill.deploy(env=env)
    record(f"inv deploy after one killed in: {moment}", time.monotonic() - began)
    # What a killed deploy has asked Podman for is still done: there may be nothing left to go on with.
    assert "which was killed" in answer.stdout or "nothing to do" in answer.stdout


@pytest.mark.parametrize("step", FIRST)
def test_next_deploy_completes_a_first_one(drill: Drill, record: Record, tmp_path: Path, step: str) -> None:
    drill.destroy()
    break_off(drill, step, tmp_path / "log")

    complete(drill, record, f"{step} (first deploy)")
    drill.assert_as_wanted()


@pytest.mark.parametrize("step", REPLACING)
def test_next_deploy_completes_a_change(
    stack: Drill, changed: Mapping[str, str], record: Record, tmp_path: Path, step: str
) -> None:
    others = {slot: item["Id"] for slot, item in stack.containers().items() if slot != "redis"}
    break_off(stack, step, tmp_path / "log", changed)

    complete(stack, record, f"{step} (change)", changed)
    assert stack.unhealthy() == ""
    assert {slot: item["Id"] for slot, item in stack.containers().items() if slot != "redis"} == others
