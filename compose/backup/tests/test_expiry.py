"""What is removed, and what never is. The programs stand in at the edge of the process (stack.py)."""

import json
import shutil
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from types import SimpleNamespace

import pytest
from backup import catalog, drills, expiry, jobs, reserve, sets
from backup.errors import JobError
from backup.progress import Progress
from stack import Stack, made

LOCAL, DISK = 1, 2


def proved(container: Stack, name: str, hours: float = 0) -> None:
    drills.append(drills.Drill(name, "local", datetime.now(UTC) + timedelta(hours=hours), 1.0, compared=True))


def test_expire_removes_backups_and_the_files_of_their_time(container):
    first = made(container)["set"]
    container.held[LOCAL].expires = container.held[DISK].expires = 1
    for one in container.held.values():
        one.backups[0]["timestamp"] = {"start": 1, "stop": 2}
        one.snapshots = {name: ([tag.replace(f"set={first}", "set=19700101T000001Z") for tag in tags], folder)
                         for name, (tags, folder) in one.snapshots.items()}  # fmt: skip
    last = sets.make("full", container.repositories, Progress())
    for one in container.held.values():
        one.backups[-1]["timestamp"] = {"start": 2_000_000_000, "stop": 2_000_000_060}
        one.snapshots[last["snapshot"]] = ([f"set={datetime.fromtimestamp(2_000_000_000, UTC):%Y%m%dT%H%M%SZ}"], Path())
    done = jobs.expire(container.repositories)
    assert done == {"local": "1 backups and 1 snapshots removed", "disk": "1 backups and 1 snapshots removed"}
    assert list(container.held[LOCAL].snapshots) == [last["snapshot"]]
    assert container.asked[-3:] == ["restic unlock 2", "restic forget 2", "restic prune 2"]


def test_expire_of_one_repository_that_fails_still_expires_the_others(container):
    made(container)
    container.held[LOCAL].code = 99
    container.held[LOCAL].backups = []
    container.asked.clear()
    with pytest.raises(JobError, match=r"^local: broken$"):
        expiry.expire(container.repositories, [])
    assert "pgbackrest expire 2" in container.asked and "pgbackrest expire 1" not in container.asked


def test_a_repository_with_an_error_and_backups_is_expired(container):
    made(container)
    container.held[LOCAL].code = 2
    assert set(expiry.expire(container.repositories, [])) == {"local", "disk"}


def test_append_only_repository_is_expired_with_given_credentials_alone(container):
    made(container)
    closed = replace(container.repositories[1], append_only=True)
    container.asked.clear()
    assert expiry.expire([closed], []) == {"disk": "append-only: nothing is removed"}
    assert container.asked == []
    assert expiry.expire([replace(closed, given=True)], [])["disk"].endswith("removed")


def test_last_proved_set_is_removed_by_force_alone(container):
    made(container)
    container.asked.clear()
    found = [_set(number, proved=number == 0) for number in range(4)]
    assert expiry.expire(container.repositories[:1], found) == {"local": "kept: no newer set is proved"}
    assert "pgbackrest expire 1" not in container.asked
    assert expiry.expire(container.repositories[:1], found, force=True)["local"].endswith("removed")


def _set(number: int, *, proved: bool) -> catalog.Set:
    at = datetime(2026, 3, 1 + number, tzinfo=UTC)
    return catalog.Set(
        str(number), "full", at, 1, 1, (), {"local": {"label": "L", "snapshot": "S"}}, at, at if proved else None
    )


def test_copies_from_before_there_were_sets_go_once_a_local_set_is_proved(container):
    made(container)
    expiry.FORMER.mkdir()
    expiry.expire(container.repositories, [_set(1, proved=False)])
    assert expiry.FORMER.exists()
    elsewhere = replace(_set(1, proved=True), repositories={"disk": {"label": "L", "snapshot": "S"}})
    expiry.expire(container.repositories, [elsewhere])
    assert expiry.FORMER.exists()
    expiry.expire(container.repositories, [_set(1, proved=True)])
    assert not expiry.FORMER.exists()


def ahead(container: Stack, number: int, seconds: float) -> None:
    start = datetime.now(UTC).timestamp() + seconds
    container.held[number].backups[-1]["timestamp"] = {"start": int(start), "stop": int(start) + 60}


def test_what_was_made_while_the_clock_was_ahead_goes(container):
    made(container)
    for number in (LOCAL, DISK):
        container.held[number].backups.append(
            json.loads(json.dumps(container.held[number].backups[0])) | {"label": "20270101-000000F"}
        )
        ahead(container, number, 86400)
    stamp = f"{datetime.now(UTC) + timedelta(days=1):%Y%m%dT%H%M%SZ}"
    container.held[LOCAL].snapshots["f" * 64] = ([f"set={stamp}"], Path())
    done = jobs.expire(container.repositories, ahead=True)
    assert done == {"local": "1 backups and 1 snapshots removed", "disk": "1 backups and 0 snapshots removed"}
    assert [len(one.backups) for one in container.held.values()] == [1, 1]
    assert "f" * 64 not in container.held[LOCAL].snapshots


def test_where_everything_is_from_the_future_the_clock_is_wrong_and_nothing_goes(container):
    made(container)
    ahead(container, DISK, 86400)
    with pytest.raises(JobError, match="all backups of disk are from the future: this host's clock is wrong"):
        jobs.expire(container.repositories, ahead=True)
    assert [len(one.backups) for one in container.held.values()] == [1, 1]
    ahead(container, DISK, catalog.AHEAD.total_seconds() - 30)
    jobs.expire(container.repositories, ahead=True)
    assert len(container.held[DISK].backups) == 1


def test_ahead_leaves_append_only_repositories_alone(container):
    made(container)
    container.repositories[1] = replace(container.repositories[1], append_only=True)
    ahead(container, DISK, 86400)
    assert list(jobs.expire(container.repositories, ahead=True)) == ["local"]


def test_backups_that_go_with_the_one_that_they_build_upon_are_not_asked_for_again(container):
    made(container)
    one = container.held[LOCAL]
    for label, seconds in (("20270101-000000F", 86400), ("20270101-000000F_20270102-000000I", 2 * 86400)):
        one.backups.append(json.loads(json.dumps(one.backups[0])) | {"label": label})
        ahead(container, LOCAL, seconds)

    def takes_both() -> None:
        del one.backups[1:]

    container.fails["pgbackrest expire 1"] = takes_both
    container.asked.clear()
    assert jobs.expire(container.repositories, ahead=True)["local"] == "2 backups and 0 snapshots removed"
    assert container.asked.count("pgbackrest expire 1") == 1


def test_expire_asks_with_the_credentials_that_it_was_given(container, tmp_path):
    made(container)
    container.configs.clear()
    other = tmp_path / "other.conf"
    expiry.expire(container.repositories, [], conf=other)
    assert container.configs == {"info": {str(other)}, "expire": {str(other)}}


@pytest.mark.parametrize("ahead_of_time", [True, False])
def test_reserve_makes_way_on_a_full_disk_for_as_long_as_something_is_removed(container, monkeypatch, ahead_of_time):
    made(container)
    if ahead_of_time:
        one = container.held[LOCAL]
        one.backups.append(json.loads(json.dumps(one.backups[0])) | {"label": "20270101-000000F"})
        ahead(container, LOCAL, 86400)
    monkeypatch.setattr(reserve, "BYTES", 4096)
    free = {"bytes": 4095}
    monkeypatch.setattr(shutil, "disk_usage", lambda path: SimpleNamespace(free=free["bytes"], used=1, total=1))
    file = container.repositories[0].folder / reserve.NAME
    file.write_bytes(bytes(4096))
    there = []

    def removes() -> None:
        there.append(file.exists())
        free["bytes"] = 1 << 40

    container.fails["pgbackrest expire 1"] = removes
    jobs.expire(container.repositories[:1], ahead=ahead_of_time)
    assert there == [False] and file.stat().st_size == 4096
