"""The key is wrong or lost, or the two pgBackRests differ: it is said plainly, and nothing is lost."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.drill.backup.hands import Backups, assert_told
from tests.drill.clone import Clone
from tests.drill.stack import inv
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
