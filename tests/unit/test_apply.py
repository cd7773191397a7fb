"""The executor: order, concurrency, the first failure, and a journal that is ahead of every effect."""

from __future__ import annotations

import _thread
import shutil
import signal
import time
from collections.abc import Callable
from pathlib import Path
from threading import Barrier, Event

import pytest

from ops.errors import OpsError
from ops.machine.apply import apply
from ops.machine.journal import Journal, entries, interrupted
from ops.machine.wait import until
from ops.model import Plan, Step

PATIENCE = 5.0
"""Seconds until a test that hangs fails."""


class Witness:
    """Who is told of progress; keeps what it was told."""

    def __init__(self) -> None:
        self.told: list[tuple[str, str]] = []

    def started(self, step: Step) -> None:
        self.told.append(("started", step.key))

    def finished(self, step: Step, seconds: float) -> None:
        self.told.append(("finished", step.key))

    def failed(self, step: Step, problem: BaseException) -> None:
        self.told.append(("failed", step.key))


def plan(**after: str) -> Plan:
    """`plan(a="", b="a")`: b waits for a."""
    return Plan("deploy", tuple(Step(key, f"do {key}", tuple(names.split())) for key, names in after.items()))


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

    apply(plan(d="b c", c="a", b="a", a=""), lambda step: done.append(step.key), journal, Witness())

    assert done[0] == "a"
    assert done[-1] == "d"
    assert sorted(done) == ["a", "b", "c", "d"]


def test_steps_that_do_not_wait_for_each_other_are_done_side_by_side(journal: Journal) -> None:
    together = Barrier(3)

    apply(plan(a="", b="", c=""), lambda step: (together.wait(PATIENCE), None)[1], journal, Witness())

    assert not together.broken


def test_step_does_not_wait_for_strangers(journal: Journal) -> None:
    released = Event()

    def perform(step: Step) -> None:
        if step.key == "slow":
            assert released.wait(PATIENCE), "the quick chain was held up"
        if step.key == "second":
            released.set()

    apply(plan(slow="", first="", second="first"), perform, journal, Witness())


def test_first_failure_is_raised_and_nothing_begins_after_it(journal: Journal) -> None:
    done: list[str] = []

    with pytest.raises(OpsError, match="b failed"):
        apply(plan(a="", b="a", c="b", d="c"), failing("b", done=done), journal, Witness())

    assert done == ["a"]


def test_what_is_under_way_at_a_failure_comes_to_its_end(journal: Journal) -> None:
    failed = Event()
    done: list[str] = []

    def perform(step: Step) -> None:
        if step.key == "bad":
            failed.set()
            raise OpsError("bad failed", "why", "next")
        assert failed.wait(PATIENCE)
        done.append(step.key)

    with pytest.raises(OpsError, match="bad failed"):
        apply(plan(bad="", good="", later="good"), perform, journal, Witness())

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
        apply(plan(first="", second=""), perform, journal, witness)


def test_journal_has_a_step_before_its_effect_and_its_end_after(journal: Journal) -> None:
    at_the_effect: list[list[tuple[str, str | None]]] = []

    def events() -> list[tuple[str, str | None]]:
        return [(entry["event"], entry.get("step")) for entry in entries(journal.path)]

    apply(plan(a="", b="a"), lambda step: at_the_effect.append(events()), journal, Witness())

    assert at_the_effect[0] == [("begin", None), ("step", "a")]
    assert at_the_effect[1][2:] == [("done", "a"), ("step", "b")]
    assert events()[-2:] == [("done", "b"), ("end", None)]


def test_failure_is_journalled_with_its_reason_and_closes_the_run(journal: Journal) -> None:
    with pytest.raises(OpsError):
        apply(plan(a=""), failing("a", done=[]), journal, Witness())

    *_, failed, end = entries(journal.path)
    assert (failed["event"], failed["step"], failed["why"]) == ("failed", "a", "a failed")
    assert (end["event"], end["outcome"], end["why"]) == ("end", "failed", "a failed")
    assert interrupted(journal.path) is None


def test_progress_is_told_of_every_step(journal: Journal) -> None:
    witness = Witness()

    with pytest.raises(OpsError):
        apply(plan(a="", b="a"), failing("b", done=[]), journal, witness)

    assert witness.told == [("started", "a"), ("finished", "a"), ("started", "b"), ("failed", "b")]


@pytest.mark.parametrize(
    ("impossible", "named"),
    [(plan(a="b", b="a"), "a, b"), (plan(a="", b="a c", c="b"), "b, c"), (plan(a="a"), "a"), (plan(a="nobody"), "a")],
)
def test_plan_that_waits_for_itself_is_detected_instead_of_waited_for(journal: Journal, impossible: Plan, named: str) -> None:
    with pytest.raises(OpsError, match=f"the plan cannot go on: {named}"):
        apply(impossible, lambda step: None, journal, Witness())


def test_empty_plan_is_done(journal: Journal) -> None:
    apply(Plan("deploy"), lambda step: None, journal, Witness())

    assert [entry["event"] for entry in entries(journal.path)] == ["begin", "end"]


def test_interrupt_from_the_operator_is_raised_and_closes_the_run(journal: Journal) -> None:
    def interrupt(step: Step) -> None:
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        apply(plan(a="", b="a"), interrupt, journal, Witness())

    assert interrupted(journal.path) is None


def test_interrupt_ends_a_step_that_waits(journal: Journal) -> None:
    """Keycloak may take ten minutes: who presses Ctrl-C does not mean after that."""

    def perform(step: Step) -> None:
        if step.key == "b":
            until(lambda: "not yet", 30)
        else:
            time.sleep(0.1)
            _thread.interrupt_main()

    # What a shell starts in the background is deaf to it.
    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    began = time.monotonic()
    try:
        with pytest.raises(KeyboardInterrupt):
            apply(plan(a="", b=""), perform, journal, Witness())
    finally:
        signal.signal(signal.SIGINT, before)
    assert time.monotonic() - began < 20
    assert until(lambda: "not yet", 0.0) == "not yet"


def test_step_that_removes_the_state_folder_is_no_failure(tmp_path: Path) -> None:
    state = tmp_path / "state"
    state.mkdir()

    apply(plan(state=""), lambda step: shutil.rmtree(state), Journal(state / "journal.jsonl", "run-1"), Witness())

    assert not state.exists()
