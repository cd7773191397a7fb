"""What the executor writes down of each step, whom it tells, and what a second interrupt ends."""

from __future__ import annotations

import os
import signal
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from pathlib import Path
from threading import Event, Thread, Timer
from typing import Any

import pytest

from ops.core.errors import HostLacks, OpsError
from ops.core.executor import run_plan
from ops.core.journal import Journal
from ops.core.plan import Step
from ops.core.process import run, until
from ops.core.records import entries
from tests.unit.core.test_apply import PATIENCE, Witness, plan
from tests.unit.programs import Behaviour, Programs
from tests.unit.programs import programs as programs  # noqa: PLC0414  (a fixture)


@pytest.fixture
def journal(tmp_path: Path) -> Journal:
    return Journal(tmp_path / "journal.jsonl", "run-1")


def written(journal: Journal) -> list[dict[str, Any]]:
    """Without who and when."""
    return [{key: one for key, one in entry.items() if key not in ("at", "pid", "run")} for entry in entries(journal.path)]


def test_journal_of_a_plan_that_was_done(journal: Journal) -> None:
    run_plan(plan(a="", b="a"), lambda step: None, journal, Witness())

    said = written(journal)
    seconds = [entry.pop("seconds") for entry in said if entry["event"] == "done"]
    assert said == [
        {"event": "begin", "verb": "deploy", "steps": ["a", "b"]},
        {"event": "step", "step": "a", "title": "do a"}, {"event": "done", "step": "a"},
        {"event": "step", "step": "b", "title": "do b"}, {"event": "done", "step": "b"},
        {"event": "end", "verb": "deploy", "outcome": "done", "why": ""},
    ]  # fmt: skip
    assert all(0 <= one < PATIENCE and one == round(one, 3) for one in seconds)


def test_time_of_a_step_is_written_down_in_milliseconds(journal: Journal) -> None:
    run_plan(plan(a=""), lambda step: time.sleep(0.0123), journal, Witness())

    (seconds,) = [entry["seconds"] for entry in written(journal) if entry["event"] == "done"]
    assert isinstance(seconds, float) and 0.012 <= seconds < PATIENCE and seconds == round(seconds, 3)


@pytest.mark.parametrize(
    ("problem", "why"),
    [(OpsError("no", "", ""), "no"), (OSError(28, "No space left on device"), "cannot do a"), (KeyError("slot"), "'slot'")],
)
def test_journal_of_a_plan_that_failed(journal: Journal, problem: Exception, why: str) -> None:
    witness = Witness()

    def perform(step: Step) -> None:
        raise problem

    with pytest.raises((OpsError, KeyError)):
        run_plan(plan(a=""), perform, journal, witness)

    assert written(journal)[1:] == [
        {"event": "step", "step": "a", "title": "do a"}, {"event": "failed", "step": "a", "why": why},
        {"event": "end", "verb": "deploy", "outcome": "failed", "why": why},
    ]  # fmt: skip
    assert witness.told == [("started", "a"), ("failed", "a")]
    assert witness.problems == {"a": HostLacks if isinstance(problem, OSError) else type(problem)}


def test_full_disk_without_a_file_is_told_as_the_host_tells_it(journal: Journal) -> None:
    def perform(step: Step) -> None:
        raise OSError(28, "No space left on device")

    with pytest.raises(HostLacks) as caught:
        run_plan(plan(a=""), perform, journal, Witness())
    assert caught.value.why == "[Errno 28] No space left on device"
    assert isinstance(caught.value.__cause__, OSError)


@pytest.fixture
def listening() -> Iterator[None]:
    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    yield
    signal.signal(signal.SIGINT, before)


def test_second_interrupt_ends_what_the_first_one_waits_for(journal: Journal, programs: Programs, listening: None) -> None:
    programs.behaviours = {"podman": Behaviour(after_term=None)}
    after_the_first: list[int] = []

    def hand() -> None:
        programs.await_started("podman")
        os.kill(os.getpid(), signal.SIGINT)
        time.sleep(0.3)
        after_the_first.append(len(programs.started[0].signals))
        os.kill(os.getpid(), signal.SIGINT)

    def perform(step: Step) -> None:
        run(("podman", "restart", "a"), timeout=60)

    presses = Thread(target=hand)
    presses.start()
    began = time.monotonic()
    with pytest.raises(KeyboardInterrupt):
        run_plan(plan(a=""), perform, journal, Witness())
    presses.join(PATIENCE)

    assert after_the_first == [0], "a restart that is broken off leaves a container that nobody can stop"
    assert programs.living == [] and time.monotonic() - began < PATIENCE
    assert programs.started[0].signals


def test_interrupt_as_a_step_begins_waits_for_it_all_the_same(journal: Journal, monkeypatch: pytest.MonkeyPatch) -> None:
    """The step runs in its thread before the pool has said so, and a join that is interrupted forgets that thread."""
    begun, may_end, ended = Event(), Event(), Event()
    submit = ThreadPoolExecutor.submit
    shutdowns: list[str] = []

    def perform(step: Step) -> None:
        begun.set()
        with suppress(KeyboardInterrupt):
            until(lambda: "" if may_end.is_set() else "not yet", PATIENCE)
        assert may_end.wait(PATIENCE)
        ended.set()

    def interrupted_submit(pool: ThreadPoolExecutor, *given: Any) -> Any:
        submit(pool, *given)
        assert begun.wait(PATIENCE)
        raise KeyboardInterrupt

    def interrupted_shutdown(pool: ThreadPoolExecutor, *_: Any, **__: Any) -> None:
        shutdowns.append("shutdown")
        if len(shutdowns) == 1:
            raise KeyboardInterrupt

    monkeypatch.setattr(ThreadPoolExecutor, "submit", interrupted_submit)
    monkeypatch.setattr(ThreadPoolExecutor, "shutdown", interrupted_shutdown)
    later = Timer(0.3, may_end.set)
    later.start()
    with pytest.raises(KeyboardInterrupt):
        run_plan(plan(a=""), perform, journal, Witness())

    assert ended.is_set()
    later.join(PATIENCE)
