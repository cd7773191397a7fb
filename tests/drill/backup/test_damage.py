"""One byte of the repository is wrong, or a file is gone: it is found, named and told, and older sets stay good."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from tests.drill.backup.hands import Backups, flipped, put_back

MAIN = "postgres/backup/main"
Find = Callable[[Path, str], Path]


def newest(folder: Path, pattern: str) -> Path:
    return max((path for path in folder.glob(pattern) if path.is_file()), key=lambda path: path.stat().st_mtime)


def largest(folder: Path, pattern: str) -> Path:
    return max((path for path in folder.glob(pattern) if path.is_file()), key=lambda path: path.stat().st_size)


KINDS: dict[str, Find] = {
    "bundle": lambda root, label: largest(root, f"{MAIN}/{label}/bundle/*"),
    "manifest of a backup": lambda root, label: root / MAIN / label / "backup.manifest",
    "second manifest of a backup": lambda root, label: root / MAIN / label / "backup.manifest.copy",
    "list of backups": lambda root, label: root / MAIN / "backup.info",
    "second list of backups": lambda root, label: root / MAIN / "backup.info.copy",
    "WAL": lambda root, label: newest(root, "postgres/archive/main/*/*/*-*.zst"),
    "list of WAL": lambda root, label: root / "postgres/archive/main/archive.info",
    "second list of WAL": lambda root, label: root / "postgres/archive/main/archive.info.copy",
    "pack": lambda root, label: largest(root, "files/data/*/*"),
    "index": lambda root, label: newest(root, "files/index/*"),
    "snapshot": lambda root, label: newest(root, "files/snapshots/*"),
    "key": lambda root, label: newest(root, "files/keys/*"),
    "config": lambda root, label: root / "files/config",
}
"""What lies in a repository: pgBackRest's, with two copies of each list, and restic's, whose packs hold the signed manifest."""


@pytest.mark.parametrize("kind", KINDS)
def test_a_flipped_byte_is_named(standing: Backups, kind: str) -> None:
    path = KINDS[kind](standing.mount(), standing.label(standing.status()["sets"][0]["set"]))
    with flipped(path):
        said = standing.error("verify")
    # restic calls its files by the beginning of their hashes.
    assert path.name[:8] in said, f"{path} is not named: {said}"


def test_a_manifest_that_was_altered_is_refused(standing: Backups) -> None:
    """Whoever can write to the repository and has its key cannot pass another manifest off as this stack's."""
    assert "was not signed by this stack, or was altered since" in standing.forged_manifest()


def test_put_back_all_is_good_again(standing: Backups) -> None:
    standing.run("verify")
    standing.run("drill")


def test_a_segment_that_is_gone_is_found(backups: Backups) -> None:
    backups.write(1001, 1100)
    backups.drill.psql("SELECT pg_switch_wal()")
    backups.await_archived()
    path = newest(backups.mount(), "postgres/archive/main/*/*/*-*.zst")
    backups.run("set")
    content, about = path.read_bytes(), path.stat()
    path.unlink()
    try:
        said = backups.error("verify")
        assert f"WAL is missing: {path.name[:24]}" in said, said
    finally:
        put_back(path, content, about)
    backups.run("verify")


def test_the_alert_fires_and_older_sets_stay_usable(backups: Backups) -> None:
    older = backups.make("full")
    newer = backups.make("full")
    path = KINDS["bundle"](backups.mount(), backups.label(newer))
    with flipped(path):
        said = backups.error("verify")
        assert f"{backups.label(newer)}" in said, said
        assert backups.label(older) not in said, said
        backups.error("drill", newer)
        backups.run("drill", older)
        backups.await_alert("BackupDamaged")
    backups.run("verify")
    backups.run("drill", newer)
