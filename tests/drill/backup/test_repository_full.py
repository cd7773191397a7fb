"""The disk of the repository is full: it is told before anything is lost, and nothing is lost when there is room again."""

from __future__ import annotations

import time
from collections.abc import Iterator

import pytest

from tests.drill.backup.hands import SLOT, Backups, assert_told
from tests.drill.conftest import Record
from tests.drill.disk import Disk, disk_of_its_own
from tests.drill.stack import inv
from tests.smoke.accounts import Account
from tests.smoke.conftest import item_input
from tests.smoke.live import eventually

SPARE = 600 << 20
"""Bytes for a few sets and a drill."""


@pytest.fixture
def disk(backups: Backups) -> Iterator[Disk]:
    """The repository's own disk. The container is stopped while it is put under it: it would go on with the old one."""
    host, name = backups.drill.project.host, backups.drill.name(SLOT)

    def stop() -> None:
        backups.drill.end_watch()
        host.run(("podman", "stop", "--time", "60", name), timeout=90)

    stop()
    with disk_of_its_own(backups.mount(), SPARE, keep=True) as found:
        host.run(("podman", "start", name))
        backups.drill.watch()
        backups.drill.await_healthy(SLOT)
        yield found
        stop()
    host.run(("podman", "start", name))
    backups.drill.watch()
    backups.drill.await_healthy(SLOT)


def test_nothing_is_lost(backups: Backups, disk: Disk, person: Account, record: Record) -> None:
    backups.await_archived()
    disk.fill()
    filled = time.monotonic()
    written = 1000
    for _ in range(4):
        backups.write(written + 1, written + 500)
        written += 500
        backups.drill.psql("SELECT pg_switch_wal()")
    waiting = backups.segments()
    assert waiting
    assert_told(inv("backup"), "the repository's disk is full", "inv backup.prune")
    assert person("POST", "/items", json=item_input()).status_code == 201

    backups.await_alert("RepositoryAlmostFull", "WalPending")
    record("from a full repository to the alert", time.monotonic() - filled)
    assert set(waiting) <= set(backups.segments()), "a segment was dropped"
    assert "the disk of the repository local is full" in backups.status()["problems"]

    disk.empty()
    emptied = time.monotonic()
    backups.await_archived()
    record("from room in the repository until all waiting WAL is archived", time.monotonic() - emptied)
    eventually(lambda: "; ".join(backups.status()["problems"]), 300)
    newest = backups.make()
    backups.run("drill", newest)
    backups.run("verify")
    assert backups.rows() == written
    assert backups.one(newest)["compared"], "nobody has compared the rows"


def test_room_can_be_made_on_a_full_disk(backups: Backups, disk: Disk) -> None:
    """`inv backup.prune` frees space where there is none."""
    for _ in range(3):
        backups.make("full")
    backups.run("drill")
    disk.fill()
    # Nothing goes, since fewer are kept than may be: the disk is as full afterwards, and the command can be given again.
    for _ in range(2):
        answer = inv("backup.prune", "--yes")
        assert answer.returncode == 0, answer.stdout[-1000:] + answer.stderr
        assert (disk.folder / "reserve").exists()
