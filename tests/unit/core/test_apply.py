"""The executor: order, concurrency, the first failure, and a journal that is ahead of every effect."""

from __future__ import annotations

import os
import shutil
import signal
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from threading import Barrier, BoundedSemaphore, Event, Thread
from typing import Any

import pytest

from ops.core.errors import HostLacks, OpsError
from ops.core.executor import WORKERS, run_plan
from ops.core.journal import Journal, interrupted
from ops.core.plan import Described, Plan, Step
from ops.core.process import Ended, run, until
from ops.core.records import entries
from tests.unit.programs import Behaviour, Programs
from tests.unit.programs import programs as programs  # noqa: PLC0414  (a fixture)

PATIENCE = 5.0
"""Seconds until a test that hangs fails."""


class Witness:
    """Who is told of progress; keeps what it was told."""

    def __init__(self) -> None:
        self.told: list[tuple[str, str]] = []
        self.problems: dict[str, type[BaseException]] = {}

    def started(self, step: Step) -> None:
        self.told.append(("started", step.key))

    def finished(self, step: Step, seconds: float) -> None:
        self.told.append(("finished", step.key))

    def failed(self, step: Step, problem: BaseException) -> None:
        self.told.append(("failed", step.key))
        self.problems[step.key] = type(problem)


def plan(**after: str) -> Plan:
    """`plan(a="", b="a")`: b waits for a. The key of a step is its identity."""

    def named(names: str) -> tuple[Step, ...]:
        return tuple(Described(key, f"do {key}") for key in names.split())

    return Plan("deploy", tuple(Described(key, f"do {key}", named(names)) for key, names in after.items()))


@pytest.fixture
def journal(tmp_path: Path) -> Journal:
    return Journal(tmp_path / "journal.jsonl", "run-1")


def failing(*keys: str, done: list[str]) -> Callable[[Step], None]:
    def perform(step: Step) -> None:
        if step.key in keys:
            raise OpsError(f"{step.key} failed", "why", "next")
        done.append(step.key)

    return perform


def test_steps_are_done_after_those_that_they_wait_for(journal: Journal) -> None:
    done: list[str] = []

    run_plan(plan(d="b c", c="a", b="a", a=""), lambda step: done.append(step.key), journal, Witness())

    assert done[0] == "a"
    assert done[-1] == "d"
    assert sorted(done) == ["a", "b", "c", "d"]


def test_steps_that_do_not_wait_for_each_other_are_done_side_by_side(journal: Journal) -> None:
    together = Barrier(3)

    run_plan(plan(a="", b="", c=""), lambda step: (together.wait(PATIENCE), None)[1], journal, Witness())

    assert not together.broken


def test_step_does_not_wait_for_strangers(journal: Journal) -> None:
    released = Event()

    def perform(step: Step) -> None:
        if step.key == "slow":
            assert released.wait(PATIENCE), "the quick chain was held up"
        if step.key == "second":
            released.set()

    run_plan(plan(slow="", first="", second="first"), perform, journal, Witness())


def test_first_failure_is_raised_and_nothing_begins_after_it(journal: Journal) -> None:
    done: list[str] = []

    with pytest.raises(OpsError, match="b failed"):
        run_plan(plan(a="", b="a", c="b", d="c"), failing("b", done=done), journal, Witness())

    assert done == ["a"]


def test_step_that_neither_waits_nor_runs_a_program_comes_to_its_end(journal: Journal) -> None:
    failed, begun = Event(), Event()
    done: list[str] = []

    def perform(step: Step) -> None:
        if step.key == "bad":
            assert begun.wait(PATIENCE)
            failed.set()
            raise OpsError("bad failed", "why", "next")
        begun.set()
        assert failed.wait(PATIENCE)
        done.append(step.key)

    with pytest.raises(OpsError, match="bad failed"):
        run_plan(plan(bad="", good="", later="good"), perform, journal, Witness())

    assert done == ["good"]


def test_first_of_two_failures_is_the_one_raised(journal: Journal) -> None:
    witness = Witness()
    seen = Event()

    def perform(step: Step) -> None:
        if step.key == "second":
            assert seen.wait(PATIENCE)
        raise OpsError(f"{step.key} failed", "why", "next")

    witness.failed = lambda step, problem: seen.set()  # type: ignore[method-assign]
    with pytest.raises(OpsError, match="first failed"):
        run_plan(plan(first="", second=""), perform, journal, witness)


def test_journal_has_a_step_before_its_effect_and_its_end_after(journal: Journal) -> None:
    at_the_effect: list[list[tuple[str, str | None]]] = []

    def events() -> list[tuple[str, str | None]]:
        return [(entry["event"], entry.get("step")) for entry in entries(journal.path)]

    run_plan(plan(a="", b="a"), lambda step: at_the_effect.append(events()), journal, Witness())

    assert at_the_effect[0] == [("begin", None), ("step", "a")]
    assert at_the_effect[1][2:] == [("done", "a"), ("step", "b")]
    assert events()[-2:] == [("done", "b"), ("end", None)]


def test_failure_is_journalled_with_its_reason_and_closes_the_run(journal: Journal) -> None:
    with pytest.raises(OpsError):
        run_plan(plan(a=""), failing("a", done=[]), journal, Witness())

    *_, failed, end = entries(journal.path)
    assert (failed["event"], failed["step"], failed["why"]) == ("failed", "a", "a failed")
    assert (end["event"], end["outcome"], end["why"]) == ("end", "failed", "a failed")
    assert interrupted(journal.path) is None


def test_progress_is_told_of_every_step(journal: Journal) -> None:
    witness = Witness()

    with pytest.raises(OpsError):
        run_plan(plan(a="", b="a"), failing("b", done=[]), journal, witness)

    assert witness.told == [("started", "a"), ("finished", "a"), ("started", "b"), ("failed", "b")]


@pytest.mark.parametrize(
    ("impossible", "named"),
    [(plan(a="b", b="a"), "a, b"), (plan(a="", b="a c", c="b"), "b, c"), (plan(a="a"), "a"), (plan(a="nobody"), "a")],
)
def test_plan_that_waits_for_itself_is_detected_instead_of_waited_for(journal: Journal, impossible: Plan, named: str) -> None:
    with pytest.raises(OpsError, match=f"the plan cannot go on: {named}"):
        run_plan(impossible, lambda step: None, journal, Witness())


def test_empty_plan_is_done(journal: Journal) -> None:
    run_plan(Plan("deploy"), lambda step: None, journal, Witness())

    assert [entry["event"] for entry in entries(journal.path)] == ["begin", "end"]


def test_interrupt_from_the_operator_is_raised_and_closes_the_run(journal: Journal) -> None:
    def interrupt(step: Step) -> None:
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        run_plan(plan(a="", b="a"), interrupt, journal, Witness())

    assert interrupted(journal.path) is None


@contextmanager
def listening() -> Iterator[None]:
    """What a shell starts in the background is deaf to SIGINT."""
    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    try:
        yield
    finally:
        signal.signal(signal.SIGINT, before)


def interrupt() -> None:
    """Ctrl-C, as the main thread gets it."""
    os.kill(os.getpid(), signal.SIGINT)


def test_interrupt_ends_a_step_that_waits(journal: Journal) -> None:
    """Keycloak may take ten minutes: who presses Ctrl-C does not mean after that."""
    waits = Event()

    def not_yet() -> str:
        waits.set()
        return "not yet"

    def perform(step: Step) -> None:
        if step.key == "b":
            until(not_yet, 60)
        assert waits.wait(PATIENCE)
        interrupt()

    began = time.monotonic()
    with listening(), pytest.raises(KeyboardInterrupt):
        run_plan(plan(a="", b=""), perform, journal, Witness())
    assert time.monotonic() - began < 20, "the longest pause of a wait is one second"
    assert until(lambda: "not yet", 0.3) == "not yet", "what reverts the plan may wait again"


def test_failure_ends_a_step_that_waits(journal: Journal) -> None:
    """What reverts a deploy does not wait for the health of what it is about to replace."""
    waits = Event()
    ended: list[BaseException] = []

    def not_yet() -> str:
        waits.set()
        return "not yet"

    def perform(step: Step) -> None:
        if step.key == "bad":
            assert waits.wait(PATIENCE)
            raise OpsError("bad failed", "why", "next")
        try:
            until(not_yet, 60)
        except BaseException as problem:
            ended.append(problem)
            raise

    witness = Witness()
    began = time.monotonic()
    with pytest.raises(OpsError, match="bad failed"):
        run_plan(plan(bad="", waiting=""), perform, journal, witness)

    assert time.monotonic() - began < 20
    assert [type(problem) for problem in ended] == [Ended]
    assert witness.problems == {"bad": OpsError, "waiting": Ended}, "which one failed stays clear"


@pytest.mark.parametrize("by", ["interrupt", "failure"])
def test_no_step_begins_afterwards(journal: Journal, by: str) -> None:
    """More steps than threads are ready: those that had no thread yet began one after the other."""
    keys = [f"s{number}" for number in range(3 * WORKERS)]
    all_busy = Barrier(WORKERS)
    begun: list[str] = []
    stopped = Event()

    def perform(step: Step) -> None:
        begun.append(step.key)
        if all_busy.wait(PATIENCE) == 0:
            if by == "failure":
                stopped.set()
                raise OpsError("failed", "why", "next")
            interrupt()
            until(lambda: "not yet", 60)
        with suppress(KeyboardInterrupt):
            until(lambda: "not yet", 60)

    with listening(), pytest.raises((OpsError, KeyboardInterrupt)):
        run_plan(plan(**dict.fromkeys(keys, "")), perform, journal, Witness())

    assert len(begun) == WORKERS
    assert [entry["event"] for entry in entries(journal.path)].count("step") == WORKERS


def test_second_interrupt_waits_for_what_is_under_way_all_the_same(journal: Journal) -> None:
    """A step that outlives the command would go on beside a lock that is free."""
    begun, may_end = Event(), Event()
    ended: list[str] = []

    def perform(step: Step) -> None:
        begun.set()
        assert may_end.wait(PATIENCE)
        ended.append(step.key)

    def hand() -> None:
        assert begun.wait(PATIENCE)
        for _ in range(3):
            interrupt()
            time.sleep(0.15)
        may_end.set()

    presses = Thread(target=hand)
    presses.start()
    with listening(), pytest.raises(KeyboardInterrupt):
        run_plan(plan(a=""), perform, journal, Witness())
    presses.join(PATIENCE)

    assert ended == ["a"]
    assert interrupted(journal.path) is None


def test_interrupt_ends_the_programs_of_all_steps_and_starts_none(journal: Journal, programs: Programs) -> None:
    """Seen: Ctrl-C killed three of twelve builds, and the other nine were built."""
    keys = [f"image{number}" for number in range(12)]
    programs.behaviours = {key: Behaviour(after_term=0.1) for key in keys}
    slots = BoundedSemaphore(3)

    def perform(step: Step) -> None:
        with slots:
            run((step.key,), timeout=60)

    def hand() -> None:
        while len(programs.started) < 3:
            time.sleep(0.01)
        interrupt()

    Thread(target=hand, daemon=True).start()
    witness = Witness()
    with listening(), pytest.raises(KeyboardInterrupt):
        run_plan(plan(**dict.fromkeys(keys, "")), perform, journal, witness)

    assert len(programs.started) == 3
    assert programs.living == []
    assert set(witness.problems.values()) == {Ended}
    assert run(("what-reverts-it",), timeout=1).returncode == 0


def test_problem_that_is_none_of_ours_is_raised_as_it_is(journal: Journal) -> None:
    def perform(step: Step) -> None:
        raise KeyError(step.key)

    with pytest.raises(KeyError):
        run_plan(plan(a="", b="a"), perform, journal, Witness())
    assert interrupted(journal.path) is None


def test_full_disk_is_told_with_the_step_that_met_it(journal: Journal) -> None:
    def perform(step: Step) -> None:
        raise OSError(28, "No space left on device", "/var/lib/x")

    with pytest.raises(HostLacks, match="cannot do a") as caught:
        run_plan(plan(a=""), perform, journal, Witness())
    assert caught.value.why == "No space left on device: /var/lib/x"


def test_journal_that_cannot_be_written_never_hides_what_failed(journal: Journal, monkeypatch: pytest.MonkeyPatch) -> None:
    def perform(step: Step) -> None:
        monkeypatch.setattr(Journal, "write", full)
        raise OpsError("a failed", "why", "next")

    def full(*_: object, **__: object) -> None:
        raise OSError(28, "No space left on device")

    with pytest.raises(OpsError, match="a failed"):
        run_plan(plan(a=""), perform, journal, Witness())


def test_step_whose_beginning_cannot_be_written_down_is_not_begun(journal: Journal, monkeypatch: pytest.MonkeyPatch) -> None:
    done: list[str] = []
    write = Journal.write

    def full_for_b(self: Journal, event: str, **more: Any) -> None:
        if more.get("step") == "b":
            raise OSError(28, "No space left on device", "journal.jsonl")
        write(self, event, **more)

    monkeypatch.setattr(Journal, "write", full_for_b)
    with pytest.raises(HostLacks, match="cannot do b"):
        run_plan(plan(a="", b="a", c="b"), lambda step: done.append(step.key), journal, Witness())
    assert done == ["a"]


def test_step_that_removes_the_state_folder_is_no_failure(tmp_path: Path) -> None:
    state = tmp_path / "state"
    state.mkdir()

    run_plan(plan(state=""), lambda step: shutil.rmtree(state), Journal(state / "journal.jsonl", "run-1"), Witness())

    assert not state.exists()
