"""What is left of a file after a power cut: nothing but what was flushed, of content and of names."""

import json
import os
import stat
from datetime import UTC, datetime
from pathlib import Path

import pytest
from backup import drills, journal, keys


@pytest.fixture
def after_cut(monkeypatch, tmp_path):
    """Content of a file in `tmp_path` that a power cut at this moment would leave; None where it would not be there."""
    content, names = {}, {}

    def fsync(descriptor):
        about = os.fstat(descriptor)
        path = Path(f"/proc/self/fd/{descriptor}")
        if stat.S_ISDIR(about.st_mode):
            names.update({str(path.readlink()): {one.name: one.inode() for one in os.scandir(path)}})
        else:
            content[about.st_ino] = path.read_text()

    def left(name):
        there = names.get(str(tmp_path), {})
        return content.get(there[name], "") if name in there else None

    monkeypatch.setattr(os, "fsync", fsync)
    return left


@pytest.mark.parametrize("times", [1, 2])
def test_drill_that_was_noted_stays_noted(tmp_path, after_cut, times):
    for number in range(times):
        drills.append(drills.Drill(str(number), "local", datetime.now(UTC), 1.0), tmp_path / "drills.jsonl")
    left = after_cut("drills.jsonl")
    assert left is not None and [json.loads(line)["set"] for line in left.splitlines()] == [str(one) for one in range(times)]


@pytest.mark.parametrize("times", [1, 2])
def test_job_that_was_noted_stays_noted(tmp_path, after_cut, times):
    for _ in range(times):
        journal.record("verify", seconds=1, error="torn", path=tmp_path / "journal.json", aside=tmp_path / "aside.json")
    left = after_cut("journal.json")
    assert left is not None and json.loads(left)["verify"]["failures_in_row"] == times


def test_note_of_keys_is_whole(tmp_path, after_cut, monkeypatch):
    monkeypatch.setattr(keys, "SETTLED", tmp_path / "keys.json")
    keys._note({"local": "abc"})
    assert json.loads(after_cut("keys.json") or "{}") == {"local": "abc"}


def test_full_disk_leaves_the_former_file_and_nothing_beside_it(tmp_path, monkeypatch):
    path = tmp_path / "drills.jsonl"
    former = drills.Drill("former", "local", datetime.now(UTC), 1.0)
    drills.append(former, path)

    def full(_descriptor):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(OSError, match="No space"):
        drills.append(former, path)
    assert drills.read(path) == [former] and [one.name for one in tmp_path.iterdir()] == ["drills.jsonl"]
