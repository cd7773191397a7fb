"""Who is at work, what it is at, and what a killed one has left: lock and journal together."""

from __future__ import annotations

import json
import time
from pathlib import Path

import pytest

from ops.core.errors import LockHeld
from ops.core.journal import Journal, Run, operation, under_way
from ops.core.lock import SUPERVISOR
from ops.core.state import State
from ops.engines.podman.host import Host
from ops.project import Project
from ops.status.commands import table
from tests.unit.builders import settings
from tests.unit.core.test_lock import held_elsewhere


@pytest.fixture
def state(tmp_path: Path) -> State:
    state = State(tmp_path / "cc03")
    state.prepare()
    return state


def begin(state: State, *steps: str) -> Journal:
    journal = Journal(state.journal, "run-1")
    journal.write("begin", verb="deploy")
    for step in steps:
        journal.write("step", step=step, title=f"wait for {step}")
    return journal


def journalled_by(state: State, pid: int, monkeypatch: pytest.MonkeyPatch, *steps: str) -> None:
    with monkeypatch.context() as patch:
        patch.setattr("os.getpid", lambda: pid)
        begin(state, *steps)


def test_nobody_is_at_work(state: State) -> None:
    assert under_way(state) is None


def test_step_under_way_is_told_of_the_one_that_holds_the_lock(state: State, monkeypatch: pytest.MonkeyPatch) -> None:
    with held_elsewhere(state.lock, "deploy") as pid:
        journalled_by(state, pid, monkeypatch, "backend-1", "redis")
        seen = under_way(state)
        with pytest.raises(LockHeld) as caught, operation(state, "restart"):
            pytest.fail("two operations at once")

    assert seen is not None
    assert (seen.verb, seen.pid, seen.steps) == ("deploy", pid, ("wait for backend-1", "wait for redis"))
    assert caught.value.why.startswith(f"the lock is held by inv deploy (process {pid}) since 2")
    assert caught.value.why.endswith(", which is at: wait for backend-1 (and 1 more)")


def test_steps_of_another_process_are_not_taken_for_its_own(state: State) -> None:
    begin(state, "backend-1")  # by this process, which holds nothing
    with held_elsewhere(state.lock, "deploy"):
        seen = under_way(state)

    assert seen is not None
    assert seen.steps == ()


@pytest.mark.parametrize(
    ("steps", "told"),
    [
        (("wait for backend-1",), "inv deploy under way for 12 s: wait for backend-1"),
        (("a", "b", "c"), "inv deploy under way for 12 s: a (and 2 more)"),
        ((), "inv deploy under way for 12 s"),
    ],
)
def test_operation_is_told_in_one_line(steps: tuple[str, ...], told: str) -> None:
    since = time.strftime("%Y-%m-%dT%H:%M:%S%z", time.localtime(1_000_000))

    assert Run("deploy", 7, since, since, steps).described(1_000_012.3) == told


def test_status_has_a_line_for_it_below_its_table(state: State) -> None:
    project = Project(settings(), Host("cc03", state))
    assert table(project, []).caption is None
    with held_elsewhere(state.lock, "deploy"):
        assert str(table(project, []).caption).startswith("inv deploy under way for ")


def test_operation_of_whom_nothing_is_known_is_told_all_the_same() -> None:
    assert Run("something", 0, "", "").described(0.0) == "inv something under way"


def test_operation_after_one_that_ended_has_nothing_to_tell(state: State) -> None:
    for _ in range(2):
        with operation(state, "deploy") as left:
            assert left == ""
            begin(state, "redis").write("end", verb="deploy")


def test_operation_after_one_that_was_killed_says_who_when_and_where(state: State, monkeypatch: pytest.MonkeyPatch) -> None:
    with held_elsewhere(state.lock, "deploy") as pid:
        journalled_by(state, pid, monkeypatch, "backend-1")

    with operation(state, "deploy") as left:
        assert left.startswith(f"recovered from inv deploy (process {pid}), which was killed at 2")
        assert left.endswith(" or soon after, in: wait for backend-1")


def test_operation_that_was_killed_before_its_first_step_is_told_too(state: State) -> None:
    begin(state, "redis").write("end", verb="deploy")
    with held_elsewhere(state.lock, "stop") as pid:
        pass

    with operation(state, "deploy") as left:
        assert left.startswith(f"recovered from inv stop (process {pid}) of 2")
        assert left.endswith("which was killed while no step was under way")


def test_open_journal_without_a_killed_holder_is_told_as_before(state: State) -> None:
    begin(state, "redis")

    with operation(state, "deploy") as left:
        assert left.startswith("inv deploy of 2")
        assert left.endswith(", in: wait for redis was interrupted")


def test_operation_holds_the_lock_under_its_own_name(state: State) -> None:
    with operation(state, "scale"):
        seen = under_way(state)
    assert seen is not None and seen.verb == "scale"


def test_run_of_a_process_that_had_the_same_number_before_is_not_its_own(state: State) -> None:
    old = {"at": "2020-01-31T12:00:00+0000", "run": "old", "verb": "deploy", "step": "redis"}
    with held_elsewhere(state.lock, "deploy") as pid:
        lines = [{**old, "pid": pid, "event": event} for event in ("begin", "step")]
        state.journal.write_text("".join(json.dumps(line) + "\n" for line in lines))
        seen = under_way(state)
    assert seen is not None and seen.steps == ()


def test_operation_that_was_killed_between_two_steps_names_none(state: State, monkeypatch: pytest.MonkeyPatch) -> None:
    with held_elsewhere(state.lock, "deploy") as pid:
        journalled_by(state, pid, monkeypatch)

    with operation(state, "deploy") as left:
        assert left.endswith(" or soon after")


def test_supervisor_is_told_as_what_it_does_and_a_clock_that_was_put_back_counts_nothing() -> None:
    since = time.strftime("%Y-%m-%dT%H:%M:%S%z", time.localtime(1_000_000))

    assert Run(SUPERVISOR, 7, since, since).described(999_000.0) == "the health supervisor repairs a container for 0 s"
