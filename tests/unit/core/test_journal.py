"""The journal tells what a killed command left, whatever the crash did to its last line."""

from __future__ import annotations

import json
import os
import re
from pathlib import Path

import pytest

from ops.core import journal as journals
from ops.core.journal import Journal, Run, interrupted, last_entries, open_run
from ops.core.records import entries
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


def test_entries_of_a_process_can_be_told_from_those_of_others(path: Path) -> None:
    Journal.of_this_process(path).write("begin", verb="deploy")

    (entry,) = entries(path)
    assert re.fullmatch(rf"\d{{8}}T\d{{6}}-{os.getpid()}", entry["run"])
    assert re.fullmatch(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d[+-]\d{4}", entry["at"])
    assert entry["pid"] == os.getpid()


def test_project_whose_folder_is_gone_is_not_made_again(tmp_path: Path) -> None:
    write(tmp_path / "gone" / "journal.jsonl", BEGIN)

    assert list(tmp_path.iterdir()) == []


def test_run_is_told_with_its_times_and_its_verb(path: Path) -> None:
    lines = (
        {"at": "1", "event": "begin", "verb": "deploy"}, {"at": "2", "event": "step", "step": "a", "title": "do a"},
        {"at": "3", "event": "note", "step": "a"},
    )  # fmt: skip
    path.write_text("".join(json.dumps(line) + "\n" for line in lines))

    assert open_run(path) == Run("deploy", 0, "1", "3", ("do a",))
    assert interrupted(path) == "inv deploy of 1, in: do a"
    path.write_text(json.dumps(lines[0]) + "\n")
    assert interrupted(path) == "inv deploy of 1"


@pytest.mark.parametrize("tail", [1, 100, 1 << 20])
def test_last_run_is_found_whatever_is_read_of_the_end(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, tail: int
) -> None:  # fmt: skip
    path = tmp_path / "journal.jsonl"
    for verb in ("deploy", "stop"):
        journal = Journal(path, verb)
        journal.write("begin", verb=verb)
        for number in range(30):
            journal.write("step", step=f"{verb} {number}", title=f"{verb} {number}")
            if number < 29:
                journal.write("done", step=f"{verb} {number}", seconds=0.1)
    monkeypatch.setattr(journals, "TAIL", tail)

    found = open_run(path)

    assert found is not None
    assert (found.verb, found.steps) == ("stop", ("stop 29",))
    assert len(last_entries(path)) == 60
    Journal(path, "stop").write("end")
    assert open_run(path) is None


def test_steps_without_their_beginning_are_of_no_run(path: Path) -> None:
    write(path, begun("start redis"), ended("start redis"))

    assert (open_run(path), interrupted(path)) == (None, None)


def test_end_of_a_step_that_nobody_began_is_no_step(path: Path) -> None:
    write(path, BEGIN, ended("start redis"), begun("start nginx"))

    run = open_run(path)
    assert run is not None and run.steps == ("start nginx",)
