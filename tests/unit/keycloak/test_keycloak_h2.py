"""The H2 file itself: found, copied whole, never opened where it lies."""

from __future__ import annotations

import hashlib
from pathlib import Path

import pytest

from ops.core.errors import OpsError
from ops.keycloak.h2 import file as h2

CONTENT = b"H:2,format:3" * 1000


@pytest.fixture
def file(tmp_path: Path) -> Path:
    path = tmp_path / "data" / "h2" / "keycloakdb.mv.db"
    path.parent.mkdir(parents=True)
    path.write_bytes(CONTENT)
    return path


def test_file_is_found_by_its_folder_the_data_folder_or_itself(file: Path) -> None:
    assert {h2.find(path) for path in (file, file.parent, file.parent.parent)} == {file}


@pytest.mark.parametrize("name", ["nowhere", "other.txt"])
def test_anything_else_is_refused(tmp_path: Path, name: str) -> None:
    (tmp_path / "other.txt").write_text("")
    with pytest.raises(OpsError):
        h2.find(tmp_path / name)


def test_copy_is_the_file_and_for_its_owner_alone(file: Path, tmp_path: Path) -> None:
    found = h2.copy(file, tmp_path / "work")
    copied = tmp_path / "work" / "data" / h2.NAME

    assert found == hashlib.sha256(CONTENT).hexdigest()
    assert copied.read_bytes() == file.read_bytes() == CONTENT
    assert ((tmp_path / "work").stat().st_mode & 0o777, copied.stat().st_mode & 0o777) == (0o700, 0o600)


def test_copy_replaces_what_a_killed_command_has_left(file: Path, tmp_path: Path) -> None:
    (tmp_path / "work" / "export").mkdir(parents=True)
    h2.copy(file, tmp_path / "work")

    assert not (tmp_path / "work" / "export").exists()


def test_file_that_changes_meanwhile_is_refused(file: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    digests = iter("aab")
    monkeypatch.setattr(h2, "digest", lambda path: next(digests))
    with pytest.raises(OpsError, match="changed while it was copied"):
        h2.copy(file, tmp_path / "work")
