"""kill -9 of `inv deploy` at every step of a change of the backend: users notice nothing, and the next command finishes it."""

from __future__ import annotations

import time
from pathlib import Path

import pytest

from tests.drill.clone import Clone, load
from tests.drill.conftest import Record
from tests.drill.stack import Drill
from tests.drill.test_killed_deploy import break_off

STEPS = (
    "image backend", "release", "create backend", "migrate backend", "start backend-surge", "healthy backend-surge",
    "remove backend-1", "promote backend-1", "start backend-1", "healthy backend-1",
    "remove backend-2", "promote backend-2", "start backend-2", "healthy backend-2",
    "retire backend-surge",
)  # fmt: skip
"""Every step of such a deploy; the test of the last one fails if there is another."""


@pytest.fixture(scope="module")
def clone(tmp_path_factory: pytest.TempPathFactory) -> Clone:
    return Clone.make(tmp_path_factory.mktemp("killed") / "clone")


@pytest.mark.parametrize("step", STEPS)
def test_next_deploy_finishes(stack: Drill, clone: Clone, record: Record, tmp_path: Path, step: str) -> None:
    clone.version(f"killed in {step}")
    with load(stack, tmp_path, rate=50) as users:
        break_off(stack, step, tmp_path / "log", root=clone.root)
        began = time.monotonic()
        answer = clone.inv("deploy", "--yes")
        record(f"inv deploy after one killed in: {step}", time.monotonic() - began)
        assert answer.returncode == 0, answer.stdout + answer.stderr
        assert "killed" in answer.stdout
    assert users.failures() == []
    assert clone.inv("deploy", "--plan").stdout.splitlines()[-1] == "nothing to do"
    assert "backend-surge" not in stack.containers()


@pytest.mark.parametrize("step", ["create backend", "remove backend-1", "start backend-2"])
def test_rollback_puts_back(stack: Drill, clone: Clone, record: Record, tmp_path: Path, step: str) -> None:
    before = stack.project.wanted({}, frozenset()).slots()
    clone.version(f"killed in {step}, put back")
    with load(stack, tmp_path, rate=50) as users:
        break_off(stack, step, tmp_path / "log", root=clone.root)
        began = time.monotonic()
        answer = clone.inv("rollback", "--yes")
        record(f"inv rollback after a deploy killed in: {step}", time.monotonic() - began)
        assert answer.returncode == 0, answer.stdout + answer.stderr
    assert users.failures() == []
    assert set(before) == set(stack.containers()) | ({"grafana"} & set(before))
    stack.assert_as_wanted()


def test_list_of_steps_is_whole(stack: Drill, clone: Clone) -> None:
    clone.version("planned only")
    planned = clone.inv("deploy", "--plan").stdout
    assert f"{len(STEPS):3}. " in planned and f"{len(STEPS) + 1:3}. " not in planned, planned
