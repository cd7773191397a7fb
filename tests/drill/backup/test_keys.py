"""The key is wrong or lost, or the two pgBackRests differ: it is said plainly, and nothing is lost."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest

from ops.engines.podman import argv as podman
from ops.secrets import backup_keys as keys
from ops.store import versions
from tests.drill.backup.hands import Backups, assert_told, put_back
from tests.drill.clone import Clone
from tests.drill.conftest import Record
from tests.drill.stack import inv, succeeds
from tests.drill.test_killed_deploy import break_off
from tests.smoke.live import eventually

KEY = "backup-cipher"
OTHER_VERSION = (
    "RUN mkdir -p /etc/cc03/current && touch /etc/cc03/current/pgbackrest.conf && apt-get update "
    "&& DEBIAN_FRONTEND=noninteractive apt-get install -y --no-install-recommends "
    "-o Dpkg::Options::=--force-confold pgbackrest && ln -s /usr/bin/pgbackrest /usr/local/bin/pgbackrest"
)
"""That of Debian 12, in place of the newer one. Its package wants the file that /etc/pgbackrest.conf leads to."""


@pytest.fixture
def exported(backups: Backups, tmp_path: Path) -> Path:
    path = tmp_path / "key.txt"
    answer = inv("backup.key", "--export", str(path))
    assert answer.returncode == 0, answer.stderr
    return path


@pytest.fixture
def keyless(backups: Backups, exported: Path, tmp_path: Path) -> Iterator[Backups]:
    """The state folder has lost the key; a copy lies apart."""
    folder = backups.drill.project.state.secrets / KEY
    shutil.move(folder, tmp_path / KEY)
    yield backups
    if not folder.exists():
        shutil.move(tmp_path / KEY, folder)


def test_lost_but_escrowed(keyless: Backups, exported: Path, tmp_path: Path) -> None:
    before = keyless.drill.containers()["backup"]["Id"]
    assert_told(inv("deploy", "--yes"), "backup-cipher", "inv backup.key --import")
    assert_told(inv("backup.key"), "inv backup.key --import")
    wrong = tmp_path / "wrong.txt"
    wrong.write_text("x" * 43)
    assert_told(inv("backup.key", "--import", str(wrong)), "not the one of this repository")
    assert not (keyless.drill.project.state.secrets / KEY).exists()

    answer = inv("backup.key", "--import", str(exported))
    assert answer.returncode == 0, answer.stdout + answer.stderr
    keyless.drill.assert_as_wanted()
    assert keyless.drill.containers()["backup"]["Id"] == before
    keyless.run("drill", keyless.make())


def test_another_key_in_its_place(backups: Backups) -> None:
    """Somebody has put another one there by hand, and deployed."""
    folder = backups.drill.project.state.secrets / KEY
    newer = folder / str(max(int(path.name) for path in folder.iterdir()) + 1)
    newer.write_text("y" * 43)
    newer.chmod(0o600)
    try:
        inv("deploy", "--yes")
        backups.write(1001, 1500)
        assert_told(inv("backup"), "the key is not the one of this repository")
    finally:
        newer.unlink()
        backups.drill.deploy()
    backups.drill.await_healthy()
    backups.await_archived()
    newest = backups.make()
    assert backups.rows() == 1500
    backups.run("drill", newest)


def test_rotated_key_reads_every_set_and_the_old_one_opens_nothing(
    backups: Backups, exported: Path, record: Record, tmp_path: Path
) -> None:
    old, before = backups.status()["sets"][0]["set"], backups.sums("ledger")
    path = tmp_path / "new.txt"
    refused = inv("secrets.rotate", KEY, "--yes")
    assert refused.returncode == 2 and "--export FILE" in refused.stderr
    record("secrets.rotate backup-cipher", succeeds("secrets.rotate", KEY, "--export", str(path), "--yes"))

    assert inv("backup.key", "--check", str(path)).returncode == 0
    assert len(keys.read_recovery(path)) == len(keys.read_recovery(exported)) + 1
    assert versions.numbers(backups.drill.project.state, KEY) == versions.taken(backups.drill.project.state, KEY)[-1:]
    assert_told(inv("backup.key", "--check", str(exported)), "another key")
    for copy, opens in ((path, 0), (exported, 1)):
        assert opened(backups, copy) == opens
    backups.await_archived()
    for name in (old, backups.make()):
        succeeds("backup.verify", name)
    backups.run("verify")
    assert backups.sums("ledger") == before
    assert inv("secrets").returncode == 0
    backups.drill.assert_as_wanted()


@pytest.mark.parametrize(
    "moment", ["generate backup-cipher", "export", "hand backup-cipher", "start backup", "verify backup-cipher"]
)
def test_rotation_that_was_killed_goes_on_with_the_same_key(backups: Backups, tmp_path: Path, moment: str) -> None:
    path, old = tmp_path / "new.txt", backups.status()["sets"][0]["set"]
    command = ("secrets.rotate", KEY, "--export", str(path), "--yes")
    break_off(backups.drill, moment, tmp_path / "log", command=command, later=2.0 if moment == "start backup" else 0.0)
    numbers = versions.numbers(backups.drill.project.state, KEY)[-1:]

    answer = inv(*command)
    assert answer.returncode == 0, answer.stdout + answer.stderr
    assert versions.numbers(backups.drill.project.state, KEY) == numbers
    assert opened(backups, path) == 0
    backups.await_archived()
    backups.run("drill", old)
    backups.run("drill", backups.make())
    backups.drill.assert_as_wanted()


def test_rotation_that_fails_is_put_back_and_the_old_key_is_right_again(
    backups: Backups, exported: Path, tmp_path: Path
) -> None:
    """The new container finds no key for a list that somebody has written over: it is not let in."""
    damaged = backups.mount() / "postgres" / "archive" / "main" / "archive.info.copy"
    content, about = damaged.read_bytes(), damaged.stat()
    damaged.write_bytes(b"nothing")
    path = tmp_path / "new.txt"
    try:
        answer = inv("secrets.rotate", KEY, "--export", str(path), "--yes")
        assert_told(answer, KEY)
    finally:
        put_back(damaged, content, about)
    assert inv("backup.key", "--check", str(exported)).returncode == 0
    backups.drill.deploy()
    backups.await_archived()
    assert (opened(backups, exported), opened(backups, path)) == (0, 1)
    backups.run("drill", backups.make())


def opened(backups: Backups, path: Path) -> int:
    """Whether an exported key opens all repositories: exit code of `backup opens`."""
    argv = podman.exec_with_input(backups.drill.name("backup"), ("backup", "opens"))
    return backups.drill.project.host.run(argv, stdin=keys.read(path) + "\n", ok=None, timeout=120).returncode


def test_another_version_of_pgbackrest(backups: Backups, tmp_path: Path) -> None:
    clone = Clone.make(tmp_path / "clone")
    clone.edit("compose/postgres/Containerfile", "RUN ln -s newer /usr/local/bin/pgbackrest", OTHER_VERSION)
    clone.deploy()
    try:
        backups.write(1001, 1500)
        backups.drill.psql("SELECT pg_switch_wal()")
        eventually(lambda: "" if backups.pending() else "nothing waits", 30)
        assert_told(inv("backup"), "pgBackRest", "2.45", "2.5", "inv deploy")
        assert backups.rows() == 1500
    finally:
        backups.drill.deploy()
    backups.drill.await_healthy()
    backups.await_archived()
    backups.run("verify")
    backups.run("drill", backups.make())
