"""host.tar: what goes in, what stays out, and how it comes back on another host."""

from __future__ import annotations

import os
import shutil
import tarfile
from datetime import UTC, datetime
from pathlib import Path

import pytest

from ops.errors import OpsError, UsageProblem
from ops.machine.at_rest import opening
from ops.machine.backup import archive, bootstrap, key
from ops.machine.host import Host
from ops.machine.project import Project
from ops.machine.state import State
from ops.plan.bootstrap import Found
from ops.repositories import Repository
from tests.unit.at_rest_state import boot, encrypt, memory_at
from tests.unit.builders import settings


@pytest.fixture
def project(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Project:
    repository, state = tmp_path / "checkout", State(tmp_path / "state")
    (repository / "config" / "hooks").mkdir(parents=True)
    (repository / "config" / "stack.yaml").write_text("domain: shop.example.com\n")
    state.prepare()
    monkeypatch.setattr(archive, "origin", lambda repository: {"commit": "abc", "dirty": False})
    monkeypatch.setattr("os.fchown", lambda *_: None)
    for path, text in {
        "secrets/backup-cipher/1": "k" * 43, "certs/nginx/key.pem": "pem", "logs/postgres.log": "line", "builds/x.log": "line",
        "dumps/keycloak.dump": "rows", "allocation.json": "{}", "releases/7/release.json": '{"images": {"redis": "redis:1"}}',
        "lock": "", ".half.1234": "x",
    }.items():  # fmt: skip
        (state.root / path).parent.mkdir(parents=True, exist_ok=True)
        (state.root / path).write_text(text)
    (state.secrets / "backup-cipher" / "1").chmod(0o600)
    state.current.symlink_to("7")
    return Project(settings(), Host("cc03", state, repository))


def test_archive_holds_what_only_this_host_knows(project: Project) -> None:
    path = archive.keep(project)
    assert path
    with tarfile.open(path) as opened:
        names = set(opened.getnames())

    assert {
        "facts.json", "state/secrets/backup-cipher/1", "state/certs/nginx/key.pem", "state/releases/current",
        "checkout/config/stack.yaml",
    } <= names  # fmt: skip
    assert not [name for name in names if "logs" in name or "builds" in name or "dumps" in name or "half" in name]
    assert path.stat().st_mode & 0o777 == 0o400
    assert archive.read_facts(path)["release"] == 7
    assert archive.read_facts(path)["images"] == {"redis": "redis:1"}


def test_archive_is_the_same_where_secrets_are_encrypted_at_rest(
    project: Project, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A host that is lost is lost with its key: the backup is read with another one, and brings back plain files."""
    fresh, own = tmp_path / "fresh", tmp_path / "stack.yaml"
    fresh.mkdir()
    memory_at(tmp_path / "memory", monkeypatch)
    own.write_text("")
    encrypt(project.state, tmp_path / "key.txt")
    (project.state.handed / "0").mkdir()
    path = archive.keep(project)
    assert path
    monkeypatch.setattr("os.chown", lambda *_, **__: None)
    monkeypatch.setattr("os.lchown", lambda *_: None)
    archive.unpack(path, fresh, own)

    back = State(fresh)
    assert (back.secrets / "backup-cipher" / "1").read_text() == "k" * 43
    assert (back.secrets.is_symlink(), back.secrets.stat().st_mode & 0o777, back.ca.stat().st_mode & 0o777) == (
        False,
        0o700,
        0o700,
    )
    assert not any((fresh / name).exists() for name in ("at-rest", "handed", "backup"))


def test_archive_is_unpacked_into_memory_where_secrets_are_encrypted_already(
    project: Project, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A new host, encrypted before anything is brought back to it: what is restored never lies on its disk."""
    path, own, fresh = archive.keep(project), tmp_path / "stack.yaml", State(tmp_path / "fresh")
    assert path
    own.write_text("")
    memory_at(tmp_path / "memory", monkeypatch)
    fresh.prepare()
    encrypt(fresh, tmp_path / "key.txt")
    monkeypatch.setattr("os.chown", lambda *_, **__: None)
    monkeypatch.setattr("os.lchown", lambda *_: None)
    archive.unpack(path, fresh.root, own)

    assert (fresh.secrets / "backup-cipher" / "1").read_text() == "k" * 43
    assert fresh.secrets.is_symlink()
    boot(fresh)
    opening.open_again(fresh.root)
    assert (fresh.secrets / "backup-cipher" / "1").read_text() == "k" * 43


def test_archive_replaces_the_one_of_before_and_leaves_nothing_else(project: Project) -> None:
    archive.keep(project)
    (project.state.root / "allocation.json").write_text('{"ports": {}}')
    archive.keep(project)

    assert sorted(path.name for path in project.state.backup.iterdir()) == ["host.tar", "signers.pem"]


def test_nothing_is_written_where_there_is_no_project(tmp_path: Path) -> None:
    assert archive.keep(Project(settings(), Host("cc03", State(tmp_path / "none")))) is None


def test_state_comes_back_with_modes_and_links(project: Project, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path, fresh = archive.keep(project), tmp_path / "fresh"
    assert path
    monkeypatch.setattr("os.chown", lambda *_, **__: None)
    monkeypatch.setattr("os.lchown", lambda *_: None)
    own = tmp_path / "stack.yaml"
    own.write_text("# another one\n")
    fresh.mkdir()
    for _ in range(2):
        said = archive.unpack(path, fresh, own)

    assert said["project"] == "cc03"
    assert (fresh / "secrets/backup-cipher/1").read_text() == "k" * 43
    assert (fresh / "secrets/backup-cipher/1").stat().st_mode & 0o777 == 0o600
    assert (fresh / "releases/current").readlink() == Path("7")
    assert own.read_text() == "domain: shop.example.com\n"
    assert (tmp_path / "stack.yaml.before-restore").read_text() == "# another one\n"


def test_key_is_exported_once_checked_and_noted(project: Project, tmp_path: Path) -> None:
    target = tmp_path / "key.txt"
    assert key.escrowed(project) == ""
    key.export(project, target)

    assert target.stat().st_mode & 0o777 == 0o600
    assert key.escrowed(project)
    key.check(project, target)
    with pytest.raises(UsageProblem, match="exists"):
        key.export(project, target)
    (project.state.secrets / "backup-cipher" / "2").write_text("j" * 43)
    with pytest.raises(OpsError, match="another key"):
        key.check(project, target)


def test_key_that_was_rotated_after_the_set_was_made_is_the_newest_on_the_new_host(
    project: Project, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("os.chown", lambda *_, **__: None)
    monkeypatch.setattr("os.lchown", lambda *_: None)
    path, fresh = archive.keep(project), State(tmp_path / "fresh")
    assert path
    for made in ("k" * 43, "j" * 43):
        fresh.root.mkdir(exist_ok=True)
        shutil.copy(path, fresh.root / "bootstrap.tar")
        found = Found("S", datetime.now(UTC), "1", (), "cc03", "", 7, {})
        local = bootstrap.Source(Repository("local", "folder", {"path": "/copy"}), made, {})
        bootstrap.put_in_place(Project(settings(), Host("cc03", fresh, tmp_path / "checkout")), local, found)
        assert key.newest(fresh) == made
    assert sorted(one.name for one in (fresh.secrets / "backup-cipher").iterdir()) == ["1", "2"]


def test_export_of_a_rotation_that_was_killed_is_told_from_any_other_file(project: Project, tmp_path: Path) -> None:
    first, second = tmp_path / "first.txt", tmp_path / "second.txt"
    key.export(project, first)
    assert not key.is_pending(project, first) and not key.is_pending(project, second)
    made = project.state.secrets / "backup-cipher" / "2"
    made.write_text("j" * 43)
    os.utime(project.state.backup / "escrowed", (1000, 1000))
    key.write(project, second)

    assert key.is_pending(project, second) and not key.is_pending(project, first)
    key.note_exported(project)
    assert not key.is_pending(project, second)


def test_repository_is_found_in_the_folder_or_in_a_volume(tmp_path: Path) -> None:
    for top in ("copy", "volume/_data"):
        (tmp_path / top / "files").mkdir(parents=True)
        (tmp_path / top / "files" / "config").write_text("x")
        (tmp_path / top / "postgres").mkdir()

    assert bootstrap.place(tmp_path / "copy") == tmp_path / "copy"
    assert bootstrap.place(tmp_path / "volume") == tmp_path / "volume" / "_data"
    with pytest.raises(UsageProblem, match="no repository"):
        bootstrap.place(tmp_path)


def test_what_a_killed_command_left_is_gone_with_the_next_one(project: Project) -> None:
    project.state.backup.mkdir(exist_ok=True)
    left = project.state.backup / ".host.tar.new"
    left.write_bytes(b"half of it")

    archive.keep(project)
    assert sorted(path.name for path in project.state.backup.iterdir()) == ["host.tar", "signers.pem"]
