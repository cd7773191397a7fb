"""The audit trail in several parts: one chain, of which a part that goes by a hand is told from one that has had its time."""

from __future__ import annotations

import json
import os
import shutil
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from ops.audit_log import entries as trail
from ops.audit_log import record as audit
from ops.audit_log.commands import broken, described
from ops.core import records
from ops.core.state import State
from ops.releases import situation
from tests.unit.killed import killed_at_each_change
from tests.unit.power_cut import recorded

LARGE = 2900
"""Four of the entries that are made here."""
DAY = 86400.0
NOW = time.time()


@pytest.fixture(autouse=True)
def soon_large(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(records, "LARGE", LARGE)


@pytest.fixture
def state(tmp_path: Path) -> State:
    found = State(tmp_path / "cc03")
    found.prepare()
    return found


def enter(state: State, count: int, *, days_ago: float = 0) -> None:
    at = time.strftime("%Y-%m-%dT%H:%M:%S+0000", time.gmtime(NOW - days_ago * DAY))
    for _ in range(count):
        audit.append(
            state,
            {
                "who": "me",
                "command": "inv deploy",
                "verb": "deploy",
                "event": "end",
                "outcome": "done",
                "at": at,
                "why": "x" * 440,
            },
        )


def names(state: State) -> list[str]:
    return [one.name for one in records.finished(state.audit)]


def entries(state: State) -> list[dict[str, Any]]:
    with records.opened(state.audit) as files:
        return [json.loads(line) for file in files for line in file.read().splitlines()]


def findings(state: State) -> list[str]:
    return [f"{place} {what}" for place, what in audit.verify(state).findings]


def test_one_chain_goes_through_all_parts(state: State) -> None:
    enter(state, 14)

    assert names(state) == ["audit.1.jsonl", "audit.2.jsonl", "audit.3.jsonl"]
    assert [entry["number"] for entry in entries(state)] == [*range(1, 15)]
    first = json.loads(state.audit.read_text().splitlines()[0])
    before = state.audit.with_name("audit.3.jsonl").read_bytes()
    assert first["continues"] == {"file": "audit.3.jsonl", "bytes": len(before)}
    assert first["previous"] == trail.sha(before.splitlines()[-1])
    assert [bool(entry.get("continues")) for entry in entries(state)].count(True) == 3
    assert described(audit.verify(state)).startswith("14 entries, unbroken since 2")
    assert {one.stat().st_mode & 0o777 for one in records.finished(state.audit)} == {0o600}


def test_changes_and_the_last_operations_are_of_the_parts_before_as_well(state: State) -> None:
    enter(state, 13)

    assert len(audit.changes(state)) == 13
    assert len(situation.situation(state).operations) == 13


def test_large_trail_of_an_earlier_version_is_continued(state: State, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(records, "LARGE", 1 << 20)
    enter(state, 9)
    monkeypatch.setattr(records, "LARGE", LARGE)
    enter(state, 1)

    assert (names(state), findings(state), len(entries(state))) == (["audit.1.jsonl"], [], 10)


def test_entries_of_several_processes_make_one_chain(state: State) -> None:
    children = []
    for _ in range(4):
        child = os.fork()
        if child == 0:
            enter(state, 5)
            os._exit(0)
        children.append(child)
    assert [os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) for child in children] == [0] * 4

    assert (audit.verify(state).entries, findings(state), len(names(state))) == (20, [], 4)


def part(state: State, number: int) -> Path:
    return state.audit.with_name(f"audit.{number}.jsonl")


def swap(state: State) -> None:
    part(state, 1).rename(state.root / "aside")
    part(state, 2).rename(part(state, 1))
    (state.root / "aside").rename(part(state, 2))


def remove_finished(state: State) -> None:
    for one in records.finished(state.audit):
        one.unlink()


def edit(path: Path, change: Callable[[bytes], bytes]) -> None:
    path.write_bytes(change(path.read_bytes()))


def reseal(state: State) -> None:
    """A line altered, and all after it in that part hashed anew."""
    lines = [json.loads(line) for line in part(state, 1).read_text().splitlines()]
    lines[1]["who"] = "somebody else"
    head, sealed = trail.Head(), []
    for entry in lines:
        content = {key: value for key, value in entry.items() if key not in ("hash", "number", "previous")}
        sealed.append(trail.seal(content, trail.Tip(head)))
        head = trail.Head(entry["number"], trail.sha(sealed[-1]))
    part(state, 1).write_bytes(b"\n".join(sealed) + b"\n")


@pytest.mark.parametrize(
    ("touch", "finding"),
    [
        (lambda state: part(state, 1).unlink(), "line 1 of audit.2.jsonl continues audit.1.jsonl, which is gone"),
        (lambda state: part(state, 1).unlink(), "line 1 of audit.2.jsonl has a gap before it: entries 1 to 4 are missing"),
        (lambda state: part(state, 2).unlink(), "line 1 of audit.3.jsonl continues audit.2.jsonl, which is gone"),
        (lambda state: part(state, 3).unlink(), "line 1 has a gap before it: entries 9 to 12 are missing"),
        (remove_finished, "line 1 has a gap before it: entries 1 to 12 are missing"),
        (lambda state: state.audit.unlink(), "line 4 of audit.3.jsonl is the last, and audit.head counts 2 more"),
        (lambda state: part(state, 1).write_bytes(b""), "line 1 of audit.2.jsonl has a gap before it: entries 1 to 4"),
        (lambda state: edit(part(state, 2), lambda data: data.replace(b'"me"', b'"xx"', 1)),
         "line 1 of audit.2.jsonl is not what was written"),
        (lambda state: edit(part(state, 2), lambda data: data[: data[:-1].rindex(b"\n") + 1]),
         "line 1 of audit.3.jsonl has a gap before it: entry 8 is missing"),
        (lambda state: edit(part(state, 2), lambda data: data[:-1]),
         "line 1 of audit.3.jsonl continues audit.2.jsonl of "),
        (lambda state: edit(part(state, 2), lambda data: data + b"x\n"), "line 5 of audit.2.jsonl is not what was written"),
        (reseal, "line 4 of audit.1.jsonl is not the line that line 1 of audit.2.jsonl was written after"),
        (swap, "line 1 of audit.1.jsonl is out of order: it is entry 5, and entry 1 stands elsewhere"),
        (lambda state: part(state, 2).rename(part(state, 7)), "line 1 of audit.3.jsonl is out of order"),
        (lambda state: shutil.copy(part(state, 1), part(state, 9)), "line 1 of audit.9.jsonl is out of order or put in"),
    ],
)  # fmt: skip
def test_whatever_is_done_to_a_part_is_found_and_stays_found(
    state: State, touch: Callable[[State], object], finding: str
) -> None:
    enter(state, 14)
    touch(state)

    assert any(one.startswith(finding) for one in findings(state)), findings(state)
    enter(state, 5)
    assert findings(state)
    assert "the audit log is broken, first at " in str(broken(audit.verify(state)))


# What has had its time.


def test_part_goes_when_its_newest_entry_is_older_than_is_kept_and_the_trail_says_so(state: State) -> None:
    enter(state, 8, days_ago=audit.KEPT_DAYS + 10)
    enter(state, 6, days_ago=audit.KEPT_DAYS - 10)
    enter(state, 3)

    assert names(state) == ["audit.3.jsonl", "audit.4.jsonl"]
    removed = [entry["removed"] for entry in entries(state) if "removed" in entry]
    assert [[one["file"] for one in given] for given in removed] == [["audit.1.jsonl"], ["audit.2.jsonl"]]
    verdict = audit.verify(state)
    assert (findings(state), verdict.entries) == ([], 9)
    assert verdict.notes == ("entries 1 to 8 were removed because of their age, as a later entry says",)
    assert len(audit.changes(state)) == 9


def test_part_that_goes_by_a_hand_is_told_from_those_that_had_their_time(state: State) -> None:
    enter(state, 8, days_ago=audit.KEPT_DAYS + 10)
    enter(state, 9)
    assert findings(state) == []
    part(state, 3).unlink()

    assert findings(state) == [
        "line 1 of audit.4.jsonl continues audit.3.jsonl, which is gone",
        "line 1 of audit.4.jsonl has a gap before it: entries 9 to 12 are missing",
    ]


def test_first_part_that_is_another_one_than_that_which_followed_is_found(state: State) -> None:
    enter(state, 8, days_ago=audit.KEPT_DAYS + 10)
    enter(state, 9)
    lines = part(state, 3).read_bytes().splitlines()
    entry = json.loads(lines[0])
    content = {key: value for key, value in entry.items() if key not in ("hash", "number", "previous")}
    forged = trail.seal(content, trail.Tip(trail.Head(8, "0" * 64)))
    part(state, 3).write_bytes(b"\n".join([forged, *lines[1:]]) + b"\n")

    assert "line 1 of audit.3.jsonl does not follow the line with which the removed entries ended" in findings(state)


def test_newest_part_and_one_that_was_touched_are_kept_however_old(state: State) -> None:
    enter(state, 8, days_ago=audit.KEPT_DAYS + 10)
    edit(part(state, 1), lambda data: b"x\n" * 99)
    enter(state, 5, days_ago=audit.KEPT_DAYS + 5)
    enter(state, 9)

    assert names(state)[0] == "audit.1.jsonl"
    assert "line 1 of audit.1.jsonl is not what was written: it was altered or put in" in findings(state)


def test_many_entries_remove_none(state: State) -> None:
    enter(state, 50)

    assert (len(names(state)), audit.verify(state).entries) == (12, 50)


def test_part_that_cannot_be_removed_stops_nothing(full: State, monkeypatch: pytest.MonkeyPatch) -> None:
    real = os.unlink

    def refused(path: Path, **more: Any) -> None:
        if path in records.finished(full.audit):
            raise PermissionError(1, "Operation not permitted")
        real(path, **more)

    monkeypatch.setattr(os, "unlink", refused)
    enter(full, 1)

    assert (len(names(full)), entries(full)[-1]["number"], findings(full)) == (3, 13, [])


# Crashes.


@pytest.fixture
def full(state: State, monkeypatch: pytest.MonkeyPatch) -> State:
    """The next entry finishes a part, begins another one, and removes two."""
    monkeypatch.setattr(audit, "KEPT_DAYS", 9999)
    enter(state, 12, days_ago=500)
    monkeypatch.undo()
    monkeypatch.setattr(records, "LARGE", LARGE)
    assert (names(state), len(entries(state))) == (["audit.1.jsonl", "audit.2.jsonl"], 12)
    return state


def test_power_cut_at_any_moment_is_not_taken_for_a_hand(full: State) -> None:
    left = set()
    with recorded(full.root, looks=True) as power:
        enter(full, 1)
        images = [*power.images, power.after_cut()]
        for number, image in enumerate(images):
            power.cut(image)
            left.add((len(names(full)), entries(full)[-1]["number"]))
            assert findings(full) == [], number
            enter(full, 5)
            assert findings(full) == [], number
    assert left >= {(2, 12), (3, 12), (3, 13), (2, 13), (1, 13)}
    assert entries(full)[-1]["number"] == 18


def test_kill_at_any_moment_is_not_taken_for_a_hand(full: State) -> None:
    aside, left = full.root.with_name("aside"), set()
    shutil.copytree(full.root, aside)
    for number in killed_at_each_change(lambda: enter(full, 1)):
        left.add((len(names(full)), entries(full)[-1]["number"]))
        assert findings(full) == [], number
        enter(full, 1)
        assert (findings(full), entries(full)[-1]["number"] > 12) == ([], True), number
        shutil.rmtree(full.root)
        shutil.copytree(aside, full.root)
    assert left == {(2, 12), (3, 12), (3, 13), (2, 13), (1, 13)}


def test_first_entry_of_a_part_that_was_cut_off_is_noted_and_the_part_sealed_by_the_next(state: State) -> None:
    enter(state, 4)
    state.audit.rename(part(state, 1))
    state.audit.write_bytes(b'{"at":"2026-03-10T12')

    assert findings(state) == []
    enter(state, 2)
    assert findings(state) == []
    assert "line 1 was cut off by a crash, as the entry after it noted at once" in audit.verify(state).notes
    assert [entry["continues"]["file"] for entry in map(json.loads, state.audit.read_text().splitlines()[1:2])] == [
        "audit.1.jsonl"
    ]


def test_crash_between_line_and_head_and_between_two_parts(state: State) -> None:
    enter(state, 3)
    head = state.audit_head.read_bytes()
    enter(state, 1)
    state.audit_head.write_bytes(head)
    state.audit.rename(part(state, 1))

    assert findings(state) == []
    enter(state, 2)
    assert (findings(state), [entry["number"] for entry in entries(state)]) == ([], [1, 2, 3, 4, 5, 6])
