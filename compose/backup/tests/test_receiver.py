import io
import os
import shutil
import subprocess
import tarfile
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest
from backup import receiver
from backup.errors import JobError
from backup.receiver import SEGMENT_BYTES, Primary, choose, continues, predecessor
from stack import SEGMENTS, Process, Stack

ONE, TWO, THREE = (f"0000000100000000000000{number:02X}" for number in (1, 2, 3))
PRIMARY = Primary("7001", THREE, None, slot=True, streams=True, waits=True)


@pytest.fixture
def place(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setattr(receiver, "RECEIVED", tmp_path)
    for name in ("CURRENT", "CLUSTER", "BEHIND"):
        monkeypatch.setattr(receiver, name, tmp_path / name.lower())
    receiver.CURRENT.mkdir()
    return tmp_path


def segment(path: Path, content: bytes) -> None:
    path.write_bytes(content)
    os.truncate(path, SEGMENT_BYTES)


def packed() -> dict[str, bytes]:
    stream = io.BytesIO()
    receiver.pack(stream)
    with tarfile.open(fileobj=io.BytesIO(stream.getvalue())) as archive:
        return {one.name: archive.extractfile(one).read(1) for one in archive}


def test_the_segment_before_one():
    assert predecessor(TWO) == ONE
    assert predecessor("000000020000000A00000000") == "0000000200000009000000FF"


def test_the_stream_begins_with_what_the_archive_may_lack():
    assert PRIMARY.first == THREE
    assert replace(PRIMARY, unarchived=TWO).first == TWO


def test_goes_on_behind_files_of_the_same_history_only():
    assert continues([ONE, f"{TWO}.partial"], "7001", PRIMARY)
    assert not continues([], "7001", PRIMARY)
    assert not continues([ONE], "7001", replace(PRIMARY, slot=False))
    assert not continues([ONE], "7001", replace(PRIMARY, segment=f"00000002{THREE[8:]}"))


def test_files_of_another_cluster_are_not_given_up():
    with pytest.raises(JobError, match="another cluster"):
        continues([ONE], "7001", replace(PRIMARY, system="7002", slot=False))


def test_a_whole_segment_wins_over_a_part_and_the_newer_folder_over_the_older():
    new, old = Path("new"), Path("old")
    part, history = f"{THREE}.partial", "00000002.history"
    found = choose({new: [f"{TWO}.partial", ONE], old: [TWO, part, ONE, history, "x"]}, None)
    assert found == {ONE: new / ONE, TWO: old / TWO, part: old / part, history: old / history}
    assert choose({new: [ONE]}, ONE) == {}


def test_what_stands_for_an_archived_segment_and_what_is_unfinished_is_not_handed_over(place: Path):
    receiver.BEHIND.write_text(ONE)
    segment(receiver.CURRENT / ONE, b"")
    segment(receiver.CURRENT / TWO, b"2")
    (receiver.CURRENT / f"{THREE}.partial").write_bytes(b"half of its room")
    assert packed() == {TWO: b"2"}
    receiver._remove_unfinished()
    segment(receiver.CURRENT / f"{THREE}.partial", b"3")
    assert packed() == {TWO: b"2", f"{THREE}.partial": b"3"}


def test_what_is_set_aside_is_still_handed_over_and_goes_after_days(place: Path):
    receiver.BEHIND.write_text(ONE)
    segment(receiver.CURRENT / ONE, b"")
    segment(receiver.CURRENT / f"{TWO}.partial", b"2")
    receiver.set_aside()
    (folder,) = place.glob("before-*")
    now = folder.stat().st_mtime
    receiver.sweep(now + receiver.KEPT_SECONDS - 1)
    assert packed() == {f"{TWO}.partial": b"2"}
    receiver.sweep(now + receiver.KEPT_SECONDS + 1)
    assert packed() == {}


def test_only_what_the_repository_has_is_removed(place: Path, monkeypatch: pytest.MonkeyPatch):
    repository = place / "postgres"
    monkeypatch.setattr(receiver, "POSTGRES", repository)
    folder = repository / "archive" / "main" / "15-1" / ONE[:16]
    folder.mkdir(parents=True)
    (folder / f"{ONE}-abc.zst").touch()
    (folder / f"{TWO}-abc.zst.pgbackrest.tmp").touch()
    for name in (ONE, TWO, f"{THREE}.partial"):
        segment(receiver.CURRENT / name, b"x")
    receiver.tidy()
    assert sorted(path.name for path in receiver.CURRENT.iterdir()) == [TWO, f"{THREE}.partial"]


# ---- with PostgreSQL and pg_receivewal standing in at the edge of the process


class Stream(Process):
    """pg_receivewal: runs on until it has been looked at `looks` times."""

    looks = 3
    began: list[list[str]] = []
    given: dict[str, object] = {}
    after: Callable[[int], None] | None = None

    def __init__(self, argv: list[str], **more: object) -> None:
        Stream.began.append([str(word) for word in argv])
        Stream.given = more
        self.waited: list[float | None] = []
        self.stderr = io.StringIO("pg_receivewal: error: connection lost\n")
        Stream.last = self

    def wait(self, timeout: float | None = None) -> int:
        self.waited.append(timeout)
        if self.returncode is None and len(self.waited) <= Stream.looks:
            if Stream.after:
                Stream.after(len(self.waited))
            raise subprocess.TimeoutExpired("pg_receivewal", timeout or 0)
        self.returncode = 1 if self.returncode is None else self.returncode
        return self.returncode


@pytest.fixture
def stream(container: Stack, monkeypatch: pytest.MonkeyPatch) -> Stack:
    """PostgreSQL has no slot for the receiver and waits for nobody."""
    monkeypatch.setattr(subprocess, "Popen", Stream)
    monkeypatch.setattr(Stream, "began", [])
    monkeypatch.setattr(Stream, "looks", 3)
    monkeypatch.setattr(Stream, "after", None)
    receiver.RECEIVED.mkdir()
    return container


def told(stack: Stack) -> list[str]:
    """What PostgreSQL was told to change."""
    return [sql for who, sql in stack.said if who == "receiver"]


def test_receiving_begins_behind_what_the_archive_has(stream: Stack):
    stream.receiver["unarchived"] = SEGMENTS[1]
    with pytest.raises(JobError, match=r"^pg_receivewal: error: connection lost$"):
        receiver.receive()

    assert told(stream) == [receiver.DROP, receiver.CREATE]
    assert receiver.BEHIND.read_text() == SEGMENTS[0] and receiver.CLUSTER.read_text() == "7001"
    assert (receiver.CURRENT / SEGMENTS[0]).stat().st_size == SEGMENT_BYTES
    ((*_, program, loops, synchronous, interval, slot, folder, reach),) = Stream.began
    assert program.endswith("pg_receivewal") and slot == "--slot=receiver" and folder == f"--directory={receiver.CURRENT}"
    assert (loops, synchronous, interval) == ("--no-loop", "--synchronous", "--status-interval=5")
    assert "user=receiver" in reach and "application_name=receiver" in reach


def test_receiving_goes_on_behind_what_there_is(stream: Stack):
    stream.receiver["slot"] = True
    receiver.CURRENT.mkdir()
    segment(receiver.CURRENT / SEGMENTS[1], b"x")
    (receiver.CURRENT / f"{SEGMENTS[2]}.partial").write_bytes(b"half of its room")
    receiver.CLUSTER.write_text("7001")
    with pytest.raises(JobError):
        receiver.receive()
    assert told(stream) == []
    assert [path.name for path in receiver.CURRENT.iterdir()] == [SEGMENTS[1]]


def test_files_of_another_cluster_stay_where_they_are(stream: Stack):
    receiver.CURRENT.mkdir()
    segment(receiver.CURRENT / SEGMENTS[1], b"x")
    receiver.CLUSTER.write_text("6999")
    with pytest.raises(JobError, match="another cluster"):
        receiver.receive()
    assert Stream.began == [] and (receiver.CURRENT / SEGMENTS[1]).exists() and told(stream) == []


def test_commits_wait_once_the_stream_has_caught_up_and_not_before(stream: Stack):
    waited: list[bool] = []

    def look(number: int) -> None:
        waited.append(receiver.WAIT[0] in told(stream))
        stream.receiver.update(streams=number >= 2)

    Stream.after = look
    Stream.looks = 4
    with pytest.raises(JobError):
        receiver.receive()
    assert waited == [False, False, True, True]
    assert told(stream)[2:4] == list(receiver.WAIT)
    assert Stream.last.waited[:-1] == [receiver.CATCHING_UP] * 2 + [receiver.TIDYING] * 3


def test_commits_that_wait_already_are_told_nothing(stream: Stack):
    stream.receiver.update(streams=True, waits=True)
    with pytest.raises(JobError):
        receiver.receive()
    assert told(stream) == [receiver.DROP, receiver.CREATE]
    assert Stream.last.waited[:-1] == [receiver.CATCHING_UP, *[receiver.TIDYING] * 3]


def test_whole_segments_go_while_it_receives_once_the_repository_has_them(stream: Stack):
    def arrive(number: int) -> None:
        if number == 1:
            segment(receiver.CURRENT / SEGMENTS[3], b"x")
            stream.archive(SEGMENTS[3])

    Stream.after = arrive
    with pytest.raises(JobError):
        receiver.receive()
    assert not (receiver.CURRENT / SEGMENTS[3]).exists()


def test_stream_is_ended_where_postgresql_cannot_be_asked(stream: Stack):
    stream.receiver["slot"] = True
    receiver.CURRENT.mkdir()
    segment(receiver.CURRENT / SEGMENTS[1], b"x")
    receiver.CLUSTER.write_text("7001")

    def gone(number: int) -> None:
        stream.receiver.clear()

    Stream.after = gone
    with pytest.raises(TypeError):
        receiver.receive()
    assert Stream.last.returncode is not None


def test_what_stands_for_an_archived_segment_goes_once_another_has_begun(place: Path):
    receiver.BEHIND.write_text(ONE)
    segment(receiver.CURRENT / ONE, b"")
    receiver.tidy()
    assert (receiver.CURRENT / ONE).exists()
    segment(receiver.CURRENT / f"{TWO}.partial", b"2")
    receiver.tidy()
    assert not (receiver.CURRENT / ONE).exists()


@pytest.mark.parametrize(("waits", "slot"), [(True, True), (False, True), (False, False)])
def test_release_leaves_nobody_waiting_and_keeps_what_was_received(stream: Stack, waits: bool, slot: bool):
    stream.receiver.update(waits=waits, slot=slot)
    receiver.CURRENT.mkdir()
    segment(receiver.CURRENT / SEGMENTS[1], b"x")
    receiver.CLUSTER.write_text("7001")
    receiver.release()
    assert told(stream) == [*(receiver.WAIT_NO_MORE if waits else ()), *([receiver.DROP] if slot else [])]
    assert packed() == {SEGMENTS[1]: b"x"}
    assert not receiver.CURRENT.exists() and not receiver.CLUSTER.exists()


def test_setting_nothing_aside_leaves_nothing(place: Path):
    receiver.set_aside()
    assert list(place.iterdir()) == []
    receiver.set_aside()


def test_supervisor_is_told_whether_to_start_it_again(stream: Stack):
    shutil.rmtree(receiver.RECEIVED)
    assert receiver.serve(synchronous=True) == 1
    assert len(Stream.began) == 1
    stream.said.clear()
    assert receiver.serve(synchronous=False) == 0
    assert len(Stream.began) == 1 and not receiver.CLUSTER.exists()
    stream.fails["psql"] = JobError("PostgreSQL does not answer")
    assert receiver.serve(synchronous=False) == 1


def test_newest_folder_that_was_set_aside_wins(place: Path):
    for name, content in (("before-20260310T000000000000Z", b"1"), ("before-20260311T000000000000Z", b"2")):
        (place / name).mkdir()
        segment(place / name / ONE, content)
    assert packed() == {ONE: b"2"}
    segment(receiver.CURRENT / ONE, b"3")
    (receiver.CURRENT / "00000002.history").write_bytes(b"h")
    assert packed() == {ONE: b"3", "00000002.history": b"h"}


def test_receiver_ends_with_its_supervisor_and_reads_its_own_password(stream: Stack, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setenv("PRESENT", "1")
    shutil.rmtree(receiver.RECEIVED)
    with pytest.raises(JobError):
        receiver.receive()

    ((*before, program, _, _, _, _, _, _),) = Stream.began
    assert before == ["setpriv", "--pdeathsig", "TERM", "--"] and program == str(receiver.POSTGRES_BIN / "pg_receivewal")
    environment = Stream.given.pop("env")
    assert environment["PGPASSFILE"] == str(receiver.RUN / "pgpass") and environment["HOME"] == str(receiver.RUN)
    assert environment["PRESENT"] == "1"
    assert Stream.given == {"stdin": subprocess.DEVNULL, "stderr": subprocess.PIPE, "text": True}
    assert receiver.BEHIND.exists() and receiver.CURRENT.is_dir()


def test_postgresql_is_asked_in_the_database_that_every_cluster_has(stream: Stack):
    stream.receiver.update(waits=True, slot=True)
    with pytest.raises(JobError):
        receiver.receive()
    receiver.release()
    assert {what for what in stream.asked if what.startswith("psql")} == {"psql postgres"}
    assert {who for who, sql in stream.said if sql == receiver.STATE} == {"backup"}, "the receiver's role may not see all of it"


@pytest.mark.parametrize(("says", "told"), [("a\n  b\n", "a b"), ("", "pg_receivewal ended with -15"), ("x" * 500, "x" * 400)])
def test_end_of_the_stream_is_told_in_one_line(stream: Stack, monkeypatch: pytest.MonkeyPatch, says: str, told: str):
    made = Stream.__init__

    def silent(self: Stream, argv: list[str], **more: object) -> None:
        made(self, argv, **more)
        self.stderr = io.StringIO(says)

    monkeypatch.setattr(Stream, "__init__", silent)
    with pytest.raises(JobError) as raised:
        receiver.receive()
    assert str(raised.value) == told
