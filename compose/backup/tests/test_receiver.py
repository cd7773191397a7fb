import io
import os
import tarfile
from dataclasses import replace
from pathlib import Path

import pytest
from backup import receiver
from backup.errors import JobError
from backup.receiver import SEGMENT_BYTES, Primary, choose, continues, predecessor

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
