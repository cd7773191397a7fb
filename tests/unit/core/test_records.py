"""Records that are continued in another file when they are large: nothing of them is lost, and they do not grow for ever."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from ops.core import journal, records
from ops.core.errors import OpsError
from ops.core.journal import Journal, open_run
from ops.core.records import append_line, entries, newest
from ops.core.state import State
from ops.engines.podman.supervisor.metrics import read_history
from ops.stack.release import Activation, good_releases
from ops.store import releases
from tests.unit.killed import killed_at_each_change
from tests.unit.power_cut import recorded

LARGE = 300
"""Four of the lines that are written here."""


@pytest.fixture(autouse=True)
def soon_large(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(records, "LARGE", LARGE)


@pytest.fixture
def path(tmp_path: Path) -> Path:
    (tmp_path / "state").mkdir()
    return tmp_path / "state" / "record.jsonl"


def numbers(path: Path) -> list[int]:
    return [entry["number"] for entry in entries(path)]


def write(path: Path, *given: int, kept: int | None = 99) -> None:
    for number in given:
        append_line(path, {"number": number, "text": "x" * 50}, kept=kept)


def names(path: Path) -> list[str]:
    return sorted(one.name for one in path.parent.iterdir())


def test_record_is_continued_in_another_file_and_read_whole(path: Path) -> None:
    write(path, *range(10))

    assert names(path) == ["record.1.jsonl", "record.2.jsonl", "record.jsonl"]
    assert numbers(path) == [*range(10)]
    assert all(part.stat().st_size < LARGE + 100 for part in path.parent.iterdir())


def test_parts_are_in_the_order_of_their_numbers_and_nothing_else_is_one(path: Path) -> None:
    write(path, *range(48))
    for name in ("record.old.jsonl", "record.0.jsonl", "record.1.jsonl.gz", "recorder.1.jsonl", "a.record.3.jsonl"):
        (path.parent / name).write_text('{"number": 99}\n')

    assert len(records.finished(path)) == 11
    assert numbers(path) == [*range(48)]


def test_only_so_many_parts_are_kept_and_no_number_is_used_twice(path: Path) -> None:
    write(path, *range(40), kept=2)

    assert names(path) == ["record.8.jsonl", "record.9.jsonl", "record.jsonl"]
    assert numbers(path) == [*range(28, 40)]


def test_record_of_migrations_stays_in_one_file(path: Path) -> None:
    write(path, *range(10), kept=None)

    assert names(path) == ["record.jsonl"]


def test_large_file_of_an_earlier_version_is_read_and_continued(path: Path) -> None:
    write(path, *range(50), kept=None)
    assert numbers(path) == [*range(50)]
    write(path, 50)

    assert names(path) == ["record.1.jsonl", "record.jsonl"]
    assert numbers(path) == [*range(51)]


def test_line_that_a_crash_cut_short_is_followed_in_the_same_file(path: Path) -> None:
    write(path, 0, 1, 2)
    path.write_bytes(path.read_bytes() + b'{"number": 3, "text": "' + b"x" * LARGE)
    write(path, 4)

    assert (names(path), numbers(path)) == (["record.jsonl"], [0, 1, 2, 4])
    write(path, 5)
    assert (names(path), numbers(path)) == (["record.1.jsonl", "record.jsonl"], [0, 1, 2, 4, 5])


def test_file_that_may_not_be_renamed_or_removed_is_written_on(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """An operator may have made it append-only (chattr +a): that is no reason to refuse every command."""

    def refused(*_: object, **__: object) -> None:
        raise PermissionError(1, "Operation not permitted")

    write(path, *range(12))
    monkeypatch.setattr(os, "rename", refused)
    monkeypatch.setattr(os, "unlink", refused)
    write(path, *range(12, 20), kept=1)
    assert (len(names(path)), numbers(path)) == (3, [*range(20)])

    monkeypatch.undo()
    monkeypatch.setattr(records, "LARGE", LARGE)
    monkeypatch.setattr(os, "unlink", refused)
    write(path, 20, kept=1)
    assert (len(names(path)), numbers(path)) == (4, [*range(21)])


def test_several_processes_lose_no_line(path: Path) -> None:
    children = []
    for first in range(0, 40, 10):
        child = os.fork()
        if child == 0:
            write(path, *range(first, first + 10))
            os._exit(0)
        children.append(child)
    assert [os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) for child in children] == [0] * 4

    assert sorted(numbers(path)) == [*range(40)]
    assert len(names(path)) == 10


def test_part_that_is_finished_while_it_is_read_is_read_once(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    write(path, *range(8))
    real = records.finished

    def meanwhile(record: Path) -> list[Path]:
        monkeypatch.setattr(records, "finished", real)
        write(path, 8)
        return real(record)

    monkeypatch.setattr(records, "finished", meanwhile)
    assert numbers(path) == [*range(8)]
    assert numbers(path) == [*range(9)]


def test_record_that_stays_locked_is_told(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(records, "LOCK_SECONDS", 0.1)
    with records.continued(path), pytest.raises(OpsError, match=r"record\.jsonl stays locked"):
        write(path, 1)
    write(path, 1)
    assert numbers(path) == [1]


@pytest.mark.parametrize("kept", [2, 99])
def test_power_cut_at_any_moment_loses_no_line_that_was_written(path: Path, kept: int) -> None:
    write(path, *range(12), kept=kept)
    there = numbers(path)
    with recorded(path.parent, looks=True) as power:
        write(path, 12, kept=kept)
        images = [*power.images, power.after_cut()]
        for number, image in enumerate(images):
            power.cut(image)
            found = numbers(path)
            assert found[-1] in (11, 12) and set(there[4:]) <= set(found), number
            assert found == sorted(set(found)), number
            write(path, 13, kept=kept)
            assert numbers(path)[-1] == 13, number
    assert len(images) >= 5 and 12 in found


def test_kill_at_any_moment_loses_no_line_that_was_written(path: Path) -> None:
    count = 0
    for number in killed_at_each_change(lambda: write(path, *range(100, 108), kept=99)):
        write(path, number)
        found = numbers(path)
        assert [one for one in found if one < 100] == [*range(1, number + 1)]
        count += 1
    assert found[-9:-1] == [*range(100, 108)] and count > 15


# Who reads them.


def test_last_run_is_found_in_the_part_before(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    run = Journal(path, "run-1")
    run.write("begin", verb="deploy")
    for number in range(9):
        run.write("step", step=f"{number}", title=f"step {number}")
    assert len(records.finished(path)) == journal.KEPT
    path.unlink()

    monkeypatch.setattr(journal, "KEPT", 99)
    again = Journal(path, "run-2")
    again.write("begin", verb="stop")
    for number in range(9):
        again.write("step", step=f"{number}", title=f"step {number}")
    found = open_run(path)
    assert found is not None
    assert (found.verb, found.steps) == ("stop", tuple(f"step {number}" for number in range(9)))


@pytest.mark.parametrize("length", [1, 70, 300, 5000])
def test_newest_entries_are_of_the_parts_before_as_well(path: Path, length: int) -> None:
    write(path, *range(10))
    found, whole = newest(path, length)

    assert [entry["number"] for entry in found] == [*range(10)][len(range(10)) - len(found) :]
    assert whole == (length == 5000) == (len(found) == 10)


def test_activations_and_their_metrics_are_of_the_parts_before_as_well(tmp_path: Path) -> None:
    state = State(tmp_path)
    for number, minute in enumerate((1, 9, 3, 4, 5), 1):  # the clock was set back
        at, verb = f"1970-01-01T00:0{minute}:00+0000", "rollback" if number == 1 else "deploy"
        releases.record_activation(state, Activation(number, verb, at, "good"))

    assert len(records.finished(state.activations)) == 2
    assert [one.release for one in releases.activations(state)] == [1, 2, 3, 4, 5]
    assert read_history(state.root).ended == {("rollback", "good"): 60.0, ("deploy", "good"): 540.0}
    assert releases.next_number(state) == 6


def test_activations_of_releases_that_are_kept_outlive_many_of_another(tmp_path: Path) -> None:
    """A rollback goes by them: a release without a good activation has never served."""
    state = State(tmp_path)
    for number in (3, 5):
        (state.releases / str(number)).mkdir(parents=True)

    def activate(number: int, outcome: str = "good") -> None:
        releases.record_activation(state, Activation(number, "scale", "2026-01-01T00:00:00+0000", outcome))

    for number in (1, 2, 3, 3, 4):
        activate(number)
    for _ in range(30):
        activate(3, "reverted")
        activate(5)

    assert good_releases(releases.activations(state)) == {3, 5}
    assert len(records.finished(state.activations)) == 3
