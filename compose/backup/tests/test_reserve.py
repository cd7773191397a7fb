"""Room to make room in: real files; how full the disk is, is told."""

from dataclasses import replace
from datetime import UTC, datetime

import pytest
from backup import expiry, jobs, reserve, restic
from backup.errors import JobError
from backup.progress import Progress
from backup.repositories import Repository


@pytest.fixture
def disk(monkeypatch, tmp_path):
    """`free` bytes besides what the reserve takes."""
    told = {"free": 10 * reserve.BYTES}
    file = tmp_path / reserve.NAME
    monkeypatch.setattr(reserve, "free", lambda folder: told["free"] - (reserve.BYTES if file.exists() else 0))
    return told


def place(folder, **more: object) -> Repository:
    return Repository("disk", "folder", 2, {"path": str(folder)}, 3, **more)


def test_it_takes_its_bytes_where_as_many_stay_free(disk, tmp_path):
    disk["free"] = 2 * reserve.BYTES - 1
    reserve.stock(tmp_path)
    assert list(tmp_path.iterdir()) == []
    disk["free"] += 1
    reserve.stock(tmp_path)
    about = (tmp_path / reserve.NAME).stat()
    assert about.st_size == reserve.BYTES and about.st_blocks * 512 >= reserve.BYTES


def test_one_that_was_left_half_made_is_made_anew(disk, tmp_path):
    (tmp_path / reserve.NAME).write_bytes(b"0" * 4096)
    reserve.stock(tmp_path)
    assert (tmp_path / reserve.NAME).stat().st_size == reserve.BYTES


def test_what_a_full_disk_refuses_leaves_nothing(disk, tmp_path, monkeypatch):
    def refused(*_):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(reserve.os, "posix_fallocate", refused)
    reserve.stock(tmp_path)
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("ends", ["well", "badly"])
def test_it_makes_way_on_a_full_disk_and_comes_back(disk, tmp_path, ends):
    reserve.stock(tmp_path)
    disk["free"] = reserve.BYTES
    try:
        with reserve.lent(tmp_path):
            assert reserve.free(tmp_path) == reserve.BYTES
            if ends == "badly":
                raise JobError("nothing could be removed")
    except JobError:
        pass
    assert (tmp_path / reserve.NAME).exists()


def test_it_stays_while_there_is_room_and_nobody_misses_it_elsewhere(disk, tmp_path):
    reserve.stock(tmp_path)
    with reserve.lent(tmp_path):
        assert (tmp_path / reserve.NAME).exists()
    with reserve.lent(tmp_path / "disk-that-is-not-mounted"), reserve.lent(None):
        pass


@pytest.mark.parametrize("clock", ["right", "was ahead"])
def test_old_sets_are_removed_while_it_is_away(container, monkeypatch, clock):
    """From the first thing that is removed to the last."""
    folder = container.repositories[1].folder
    told = {"free": 10 * reserve.BYTES}
    monkeypatch.setattr(reserve, "free", lambda folder: told["free"])
    reserve.stock(folder)
    told["free"] = reserve.BYTES - 1
    there = {}
    container.held[2].stanza = container.held[2].created = True
    container.held[2].snapshots["f" * 64] = (["set=20990101T000000Z"], folder)
    for what in ("pgbackrest expire 2", "restic forget 2", "restic prune 2"):
        container.fails[what] = lambda what=what: there.update({what: (folder / reserve.NAME).exists()})
    if clock == "right":
        expiry.expire(container.repositories[1:], [])
    else:
        expiry.expire_ahead(container.repositories[1:], datetime.now(UTC))
        there = {"pgbackrest expire 2": False, **there}
    assert there["restic prune 2"] is False and set(there.values()) == {False}


@pytest.mark.parametrize("closed", [False, True])
def test_each_set_begins_by_making_it_where_things_are_removed(container, closed):
    container.repositories[1] = replace(container.repositories[1], append_only=closed)
    folders = [one.folder for one in container.repositories]
    seen = []
    container.fails["pgbackrest backup 1"] = lambda: seen.append([(folder / reserve.NAME).exists() for folder in folders])
    jobs.make_set("incr", container.repositories, Progress())
    assert seen == [[True, not closed]]


@pytest.mark.parametrize(("free", "most"), [(10 << 30, 2 << 30), (reserve.BYTES, reserve.BYTES // 2), (0, 0)])
def test_what_is_written_anew_fits_on_the_disk_beside_what_it_replaces(disk, tmp_path, monkeypatch, free, most):
    said = []
    disk["free"] = free
    monkeypatch.setattr(restic, "run", lambda repository, *words, **_: said.append(words))
    restic.forget(place(tmp_path), [], prune=True)
    assert said == [("prune", "--max-unused", "10%", "--max-repack-size", str(most))]
