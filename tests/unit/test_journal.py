"""The journal tells what a killed command left, whatever the crash did to its last line."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from ops.machine.journal import Journal, entries, interrupted, open_run
from tests.unit.power_cut import recorded


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "journal.jsonl"


def write(path: Path, *events: tuple[str, dict[str, str]]) -> None:
    journal = Journal(path, "run-1")
    for event, more in events:
        journal.write(event, **more)


BEGIN = ("begin", {"verb": "deploy"})
END = ("end", {"verb": "deploy", "outcome": "done"})


def begun(step: str) -> tuple[str, dict[str, str]]:
    return "step", {"step": step}


def ended(step: str) -> tuple[str, dict[str, str]]:
    return "done", {"step": step}


def test_no_journal_means_nothing_was_interrupted(path: Path) -> None:
    assert interrupted(path) is None
    assert list(entries(path)) == []


def test_run_that_ended_was_not_interrupted(path: Path) -> None:
    write(path, BEGIN, begun("start nginx"), ended("start nginx"), END)

    assert interrupted(path) is None


def test_run_that_failed_and_said_so_was_not_interrupted(path: Path) -> None:
    write(path, BEGIN, begun("start nginx"), ("failed", {"step": "start nginx"}), ("end", {"outcome": "failed"}))

    assert interrupted(path) is None


def test_killed_run_is_told_with_the_steps_it_was_in(path: Path) -> None:
    write(path, BEGIN, begun("start redis"), begun("start nginx"), ended("start redis"))

    told = interrupted(path)
    assert told is not None
    assert told.startswith("inv deploy of ")
    assert told.endswith(", in: start nginx")


def test_only_the_last_run_counts(path: Path) -> None:
    write(path, BEGIN, begun("start redis"), BEGIN, END)

    assert interrupted(path) is None


def test_cut_off_last_line_is_left_out(path: Path) -> None:
    write(path, BEGIN, begun("start nginx"), ended("start nginx"), END)
    whole = path.read_text()
    path.write_text(whole[:-20])

    assert len(list(entries(path))) == 3
    assert interrupted(path) is not None


def test_run_after_a_cut_off_line_is_journalled_whole(path: Path) -> None:
    write(path, BEGIN, begun("start nginx"))
    path.write_text(path.read_text()[:-20])

    write(path, BEGIN, END)

    assert [entry["event"] for entry in entries(path)] == ["begin", "begin", "end"]


def test_entry_survives_a_power_cut_once_write_returns(path: Path) -> None:
    with recorded(path.parent) as power:
        write(path, BEGIN)
        power.cut()

    (entry,) = entries(path)
    assert (entry["event"], entry["verb"], entry["run"]) == ("begin", "deploy", "run-1")


def test_open_run_has_the_titles_of_its_steps_and_the_process(path: Path) -> None:
    write(path, BEGIN, ("step", {"step": "healthy redis", "title": "wait for redis"}), begun("start nginx"))

    run = open_run(path)
    assert run is not None
    assert (run.verb, run.pid, run.steps) == ("deploy", os.getpid(), ("wait for redis", "start nginx"))
    assert run.began <= run.last


def test_step_that_failed_is_not_under_way(path: Path) -> None:
    write(path, BEGIN, begun("start redis"), begun("start nginx"), ("failed", {"step": "start redis"}))

    run = open_run(path)
    assert run is not None
    assert run.steps == ("start nginx",)
