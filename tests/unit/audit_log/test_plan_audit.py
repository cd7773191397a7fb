"""The audit trail as text: whatever is done to a line is found and named, and a crash is not taken for it."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import pytest

from ops.audit_log import entries as audit
from ops.audit_log.entries import GENESIS, Head, Tip, Verdict, changes, entries, plan_digest, read, seal, sha, tip, typed
from ops.core.plan import Described, Plan


def extended(data: bytes, head: Head | None, **content: Any) -> tuple[bytes, Head]:
    """What the file and audit.head are after one more entry, by the same order of events as ops/audit_log/record.py."""
    at = tip(data, head)
    line = seal({"at": "2026-01-31T12:00:00+0000", **content}, at)
    return data + (b"\n" if at.unended else b"") + line + b"\n", Head(at.head.count + 1, sha(line))


def trail(count: int) -> tuple[bytes, Head]:
    data, head = b"", Head()
    for index in range(count):
        data, head = extended(data, head if index else None, verb=f"verb-{index}")
    return data, head


def lines(data: bytes) -> list[bytes]:
    return data.splitlines(keepends=True)


def check(data: bytes, head: Head | None) -> Verdict:
    """Of a trail in one part."""
    return audit.check([("audit.jsonl", data)], head)


def found(verdict: Verdict) -> list[int]:
    return sorted({place.line for place, _ in verdict.findings})


DATA, HEAD = trail(5)
WHOLE = lines(DATA)


def test_trail_that_nobody_touched_is_whole() -> None:
    assert check(DATA, HEAD) == Verdict(5, "2026-01-31T12:00:00+0000", (), ())
    assert check(b"", None) == Verdict(0, "", (), ())
    assert [entry["number"] for entry in entries(DATA)] == [1, 2, 3, 4, 5]
    assert read(WHOLE[0].rstrip())["previous"] == GENESIS  # type: ignore[index]
    assert read(WHOLE[1].rstrip())["previous"] == sha(WHOLE[0].rstrip())  # type: ignore[index]


@pytest.mark.parametrize("number", range(5))
def test_flipped_byte_is_found_in_its_line_wherever_it_is(number: int) -> None:
    start = sum(map(len, WHOLE[:number]))
    for offset in range(len(WHOLE[number]) - 1):
        touched = bytearray(DATA)
        touched[start + offset] ^= 1
        if touched[start + offset] != ord("\n"):
            assert number + 1 in found(check(bytes(touched), HEAD)), offset


@pytest.mark.parametrize("number", range(4))
def test_removed_line_is_found_at_the_one_that_followed(number: int) -> None:
    verdict = check(b"".join(WHOLE[:number] + WHOLE[number + 1 :]), HEAD)

    assert found(verdict) == [number + 1]
    assert f"entry {number + 1} is missing" in verdict.findings[0][1]


def test_removed_lines_are_counted() -> None:
    ((place, what),) = check(b"".join(WHOLE[:1] + WHOLE[3:]), HEAD).findings

    assert (place.line, what) == (2, "has a gap before it: entries 2 to 3 are missing")


@pytest.mark.parametrize("kept", range(5))
def test_removed_tail_is_found_by_the_head(kept: int) -> None:
    ((place, what),) = check(b"".join(WHOLE[:kept]), HEAD).findings

    assert place.line == max(1, kept)
    assert f"audit.head counts {5 - kept} more" in what


@pytest.mark.parametrize("first", range(4))
def test_two_lines_that_changed_places_are_found(first: int) -> None:
    moved = [*WHOLE]
    moved[first], moved[first + 1] = moved[first + 1], moved[first]
    verdict = check(b"".join(moved), HEAD)

    assert first + 1 in found(verdict)
    assert "out of order" in verdict.findings[0][1]


@pytest.mark.parametrize("place", range(1, 6))
def test_line_that_was_copied_to_another_place_is_found(place: int) -> None:
    assert place + 1 in found(check(b"".join([*WHOLE[:place], WHOLE[0], *WHOLE[place:]]), HEAD))


def forged(number: int, previous: bytes | None, **content: Any) -> bytes:
    """A line that is well made in itself: whoever can write the file can compute hashes."""
    after = Head(number - 1, sha(previous.rstrip(b"\n")) if previous else GENESIS)
    return seal({"at": "2026-01-31T12:00:00+0000", **content}, Tip(after)) + b"\n"


@pytest.mark.parametrize("number", range(1, 6))
def test_line_that_was_altered_and_hashed_anew_is_named(number: int) -> None:
    previous = WHOLE[number - 2] if number > 1 else None
    changed = [*WHOLE]
    changed[number - 1] = forged(number, previous, verb="nothing to see")

    assert found(check(b"".join(changed), HEAD)) == [number]


@pytest.mark.parametrize("place", range(1, 5))
def test_line_that_was_put_in_and_hashed_is_found(place: int) -> None:
    put_in = forged(place + 1, WHOLE[place - 1], verb="more")

    assert place + 1 in found(check(b"".join([*WHOLE[:place], put_in, *WHOLE[place:]]), HEAD))


def test_lines_added_at_the_end_without_the_head_are_found() -> None:
    one = forged(6, WHOLE[-1])
    two = forged(7, one)

    assert found(check(DATA + one + two, HEAD)) == [7]


def test_missing_head_is_found_and_noted_by_the_next_entry_for_ever() -> None:
    assert found(check(DATA, None)) == [5]
    data, head = extended(DATA, None)
    data, head = extended(data, head)

    assert found(check(data, head)) == [6]


@pytest.mark.parametrize(
    "touch",
    [
        pytest.param(lambda: b"".join(WHOLE[:-1]), id="last line removed"),
        pytest.param(lambda: b"".join(WHOLE[:-2]), id="last two removed"),
        pytest.param(lambda: b"", id="all removed"),
        pytest.param(lambda: DATA[:-30], id="last line cut"),
        pytest.param(lambda: DATA[:-1], id="end of the last line cut"),
        pytest.param(lambda: b"".join(WHOLE[:-1]) + forged(5, WHOLE[3], verb="other"), id="last line altered and hashed anew"),
        pytest.param(lambda: DATA.replace(b"verb-4", b"verb-X"), id="last line altered"),
    ],
)
def test_what_was_done_to_the_end_stays_found_after_later_entries(touch: Callable[[], bytes]) -> None:
    data, head = touch(), HEAD
    if data != DATA[:-1]:  # only the end of the line: nothing is lost
        assert check(data, head).findings
    for _ in range(3):
        data, head = extended(data, head)

    assert bool(check(data, head).findings) == (touch() != DATA[:-1])


@pytest.mark.parametrize("cut", [1, 20, 150])
def test_line_that_a_crash_cut_short_is_a_note_and_the_chain_goes_on(cut: int) -> None:
    after, head_after = extended(DATA, HEAD)
    torn = after[: len(DATA) + cut]

    before = check(torn, HEAD)
    assert (before.findings, before.entries) == ((), 5)
    assert before.notes == ("line 6 is cut off by a crash; the next entry will note it",)

    data, head = extended(torn, HEAD)
    data, head = extended(data, head)
    assert data.startswith(torn + b"\n")
    later = check(data, head)
    assert (later.findings, later.entries) == ((), 7)
    assert later.notes == ("line 6 was cut off by a crash, as the entry after it noted at once",)
    assert head_after.count == 6


def test_first_line_of_all_may_be_cut_off_too() -> None:
    torn = WHOLE[0][:40]

    assert check(torn, None).findings == ()
    assert check(*extended(torn, None)).findings == ()


def test_line_that_had_been_whole_and_is_cut_is_no_crash() -> None:
    ((place, what),) = check(DATA[:-30], HEAD).findings

    assert (place.line, what) == (5, "is not what was written: it was altered or put in")


def test_cut_off_line_that_is_altered_or_removed_later_is_found() -> None:
    torn = DATA + b'{"half'
    data, head = extended(torn, HEAD)

    assert found(check(data.replace(b'{"half', b'{"HALF'), head)) == [6, 7]
    assert found(check(data.replace(b'{"half\n', b""), head)) == [6]


def test_line_may_not_pass_as_cut_off_unless_the_next_entry_says_so() -> None:
    changed = [*WHOLE]
    changed[2] = changed[2][:50] + b"\n"

    assert found(check(b"".join(changed), HEAD)) == [3]


def test_crash_between_line_and_head_is_a_note_that_the_next_entry_mends() -> None:
    behind = Head(4, sha(WHOLE[3].rstrip()))

    verdict = check(DATA, behind)
    assert verdict.findings == ()
    assert "one entry behind" in verdict.notes[0]
    assert check(*extended(DATA, behind)) == replace(check(*trail(6)))


def test_crash_at_the_end_of_the_line_itself_loses_nothing() -> None:
    data, head = extended(DATA, HEAD, verb="next")

    assert check(data[:-1], HEAD).findings == ()
    assert check(*extended(data[:-1], HEAD)).entries == 7
    assert check(*extended(data[:-1], HEAD)).findings == ()
    assert head.count == 6


def test_digest_of_a_plan_is_of_keys_and_titles_in_their_order() -> None:
    one = Described("a", "do a")
    two = Described("b", "do b", (one,))

    assert plan_digest(Plan("deploy", (one, two))) == plan_digest(Plan("start", (one, Described("b", "do b"))))
    assert plan_digest(Plan("deploy", (one, two))) != plan_digest(Plan("deploy", (two, one)))
    assert plan_digest(Plan("deploy", (one,))) != plan_digest(Plan("deploy", (Described("a", "do A"),)))


@pytest.mark.parametrize(
    ("argv", "shown"),
    [
        (["/opt/checkout/.venv/bin/inv", "deploy", "--yes"], "inv deploy --yes"),
        (["/x/invoke/__main__.py", "restart", "backend"], "inv restart backend"),
        (["inv", "images.load", "my images.tar"], "inv images.load 'my images.tar'"),
        (["inv", "x", "--db-password", "hunter2", "-y"], "inv x --db-password [REDACTED] -y"),
        (["inv", "x", "--api-token=abc", "--keep-data"], "inv x --api-token=[REDACTED] --keep-data"),
        (["inv", "x", "--secret", "--yes"], "inv x --secret [REDACTED]"),
        (["inv", "x", "https://me:hunter2@host/a"], "inv x 'https://me:[REDACTED]@host/a'"),
    ],
)
def test_command_line_is_shown_as_typed_without_secrets(argv: list[str], shown: str) -> None:
    assert typed(argv) == shown


def test_change_is_its_end_or_where_there_is_none_its_beginning() -> None:
    data, head = extended(b"", None, event="begin", verb="deploy")
    data, head = extended(data, head, event="end", of=1, verb="deploy")
    data, head = extended(data, head, event="begin", verb="stop")

    assert [(change["event"], change["verb"]) for change in changes(entries(data))] == [("end", "deploy"), ("begin", "stop")]


def test_entry_is_one_line_of_json() -> None:
    line = seal({"why": "two\nlines"}, Tip())

    assert b"\n" not in line
    assert json.loads(line)["why"] == "two\nlines"


def test_blank_that_changes_no_field_is_an_alteration_all_the_same() -> None:
    changed = [WHOLE[0], WHOLE[1].replace(b'":', b'": ', 1), *WHOLE[2:]]

    assert check(b"".join(changed), HEAD).findings == (
        (audit.Place(0, 2), "is not what was written: it was altered or put in"),
    )


def test_last_line_that_is_another_one_is_told_as_that() -> None:
    changed = b"".join(WHOLE[:-1]) + forged(5, WHOLE[3], verb="other")

    ((place, what),) = check(changed, HEAD).findings
    assert (place.line, what) == (5, "is the last, and not the one that audit.head names: it was altered")
