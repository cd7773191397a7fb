"""host.tar: what goes in, what stays out, and how it comes back on another host."""

from __future__ import annotations

import hashlib
import io
import os
import shutil
import tarfile
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path

import pyrage
import pytest

from ops.backup import around
from ops.backup import host_archive as archive
from ops.backup.restore import repository as bootstrap
from ops.cli.execute import UnderWay
from ops.core import files
from ops.core.errors import HostLacks, OpsError, UsageProblem
from ops.core.plan import Plan
from ops.core.state import State
from ops.engines.podman.host import Host
from ops.project import Project
from ops.secrets import backup_keys as keys
from ops.stack.repositories import Repository
from ops.store import encryption, versions
from tests.unit.at_rest_state import boot, encrypt, memory_at
from tests.unit.builders import settings


@pytest.fixture
def project(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Project:
    monkeypatch.setattr(archive, "owner_of", lambda host, slot, otherwise: otherwise)
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
    with archive.opened(path, keys.recovery_keys(project.state)) as opened:
        names = set(opened.getnames())

    assert {
        "state/secrets/backup-recovery/1", "state/secrets/backup-cipher/1", "state/certs/nginx/key.pem",
        "state/releases/current", "checkout/config/stack.yaml",
    } <= names  # fmt: skip
    assert not [name for name in names if "logs" in name or "builds" in name or "dumps" in name or "half" in name]
    assert path.stat().st_mode & 0o777 == 0o400
    assert archive.read_facts(path)["release"] == 7
    assert archive.read_facts(path)["images"] == {"redis": "redis:1"}


def test_archive_shows_no_secret_and_no_private_key_to_the_container(project: Project) -> None:
    (project.state.ca / "root.key").write_text("-----BEGIN ENCRYPTED PRIVATE KEY-----")
    (project.state.ca / "passphrase").write_text("correct horse battery")
    path = archive.keep(project)
    assert path
    content = path.read_bytes()

    assert not [value for value in (b"k" * 43, b"PRIVATE KEY", b"correct horse", b"AGE-SECRET-KEY-") if value in content]


def test_archive_opens_with_its_recovery_key_alone(project: Project) -> None:
    path = archive.keep(project)
    other = str(pyrage.x25519.Identity.generate())
    assert path

    assert archive.opens(path, keys.recovery_keys(project.state))
    assert not archive.opens(path, []) and not archive.opens(path, [other])
    with pytest.raises(HostLacks, match="cannot be opened"), archive.opened(path, [other]):
        pass


def test_archive_that_somebody_else_has_made_for_the_same_key_is_refused(project: Project, tmp_path: Path) -> None:
    """The backup container could learn the public half, and put an archive of its own into a set."""
    path, identity = archive.keep(project), keys.recovery_key(project.state)
    assert path
    forged = tmp_path / "forged.tar"
    with tarfile.open(path) as own, tarfile.open(forged, "w") as other:
        for name in own.getnames():
            stream = own.extractfile(name)
            assert stream
            content = keys.encrypt(b"", identity) if name == archive.SEALED else stream.read()
            archive._add(other, name, content)

    with pytest.raises(HostLacks, match="cannot be opened"), archive.opened(forged, [identity]):
        pass


def test_former_keys_of_the_repositories_are_handed_over_until_they_are_retired(project: Project) -> None:
    """The container has to open the repositories with the former key to give them the new one."""
    made = project.state.secrets / "backup-cipher"
    (made / "2").write_text("j" * 43)
    path = archive.keep(project)
    assert path
    with tarfile.open(path) as outer:
        names = set(outer.getnames())
    assert names == {
        "facts.json", "sealed.age", "sealed.hmac", "state/secrets/backup-cipher/1", "state/secrets/backup-cipher/2",
    }  # fmt: skip

    versions.retire(made / "1")
    archive.keep(project)
    with tarfile.open(path) as outer:
        assert set(outer.getnames()) == {"facts.json", "sealed.age", "sealed.hmac"}


def test_large_file_is_left_out_and_named(project: Project, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(archive, "LARGEST", 1000)
    (project.state.root / "large").write_bytes(b"x" * 1001)
    path = archive.keep(project)

    assert path and archive.read_facts(path)["left_out"] == {"state/large": 1001}
    with archive.opened(path, keys.recovery_keys(project.state)) as inner:
        assert "state/large" not in inner.getnames()


def test_large_file_is_named(project: Project, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    monkeypatch.setattr(archive, "LARGEST", 1000)
    (project.state.root / "large").write_bytes(b"a" * 1001)
    with around.follow_change(UnderWay(project, Plan("deploy"))):
        pass

    assert "the backup has no state/large" in " ".join(capsys.readouterr().err.split())


def in_the_clear(project: Project, path: Path) -> None:
    """An archive as earlier versions wrote it."""
    with archive.opened(path, keys.recovery_keys(project.state)) as inner:
        content = {member.name: stream.read() for member in inner if (stream := inner.extractfile(member))}
    with tarfile.open(path, "w") as written:
        for name, data in {"facts.json": files.dump(archive.facts(project)).encode(), **content}.items():
            about = tarfile.TarInfo(name)
            about.size = len(data)
            written.addfile(about, io.BytesIO(data))


def test_archive_of_an_earlier_version_comes_back_without_a_recovery_key(
    project: Project, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("os.chown", lambda *_, **__: None)
    path, fresh, own = archive.keep(project), tmp_path / "fresh", tmp_path / "stack.yaml"
    assert path
    path.chmod(0o600)
    in_the_clear(project, path)
    own.write_text("")
    fresh.mkdir()

    assert archive.unpack(path, fresh, own, ())["project"] == "cc03"
    assert (fresh / "secrets/backup-cipher/1").read_text() == "k" * 43
    assert own.read_text() == "domain: shop.example.com\n"


class Reader(bootstrap.Reader):
    """A repository of two sets: the older one was made by an earlier version."""

    def ask(self, *words: str, target: Path | None = None) -> str:
        if target is None:
            return '[{"id": "1", "time": "1", "short_id": "1"}, {"id": "2", "time": "2", "short_id": "2"}]'
        source = self.project.state.root / f"set-{words[1]}"
        if words[2].endswith(archive.NAME):
            shutil.copy(source, target)
        else:
            digest = hashlib.sha256(source.read_bytes()).hexdigest()
            target.write_text(f'{{"set": "20261124T02300{words[1]}Z", "host": {{"sha256": "{digest}"}}}}')
        return ""


def test_newest_set_that_the_key_file_opens_is_taken(project: Project) -> None:
    path = archive.keep(project)
    assert path
    path.chmod(0o600)
    shutil.copy(path, project.state.root / "set-2")
    in_the_clear(project, path)
    shutil.copy(path, project.state.root / "set-1")

    def found(*identities: str) -> bootstrap.Found:
        local = bootstrap.Source(Repository("local", "folder", {"path": "/copy"}), "k" * 43, {}, identities)
        return bootstrap.newest_set(project, Reader(project, "image", local))

    assert (found(*keys.recovery_keys(project.state)).set, found().set) == ("20261124T023002Z", "20261124T023001Z")
    in_the_clear(project, path)
    shutil.copy(project.state.root / "set-2", project.state.root / "kept")
    shutil.copy(path, project.state.root / "set-2")
    shutil.copy(project.state.root / "kept", project.state.root / "set-1")
    assert found(*keys.recovery_keys(project.state)).set == "20261124T023001Z", "one in the clear may be anybody's"
    shutil.copy(path, project.state.root / "set-1")
    assert found(*keys.recovery_keys(project.state)).set == "20261124T023002Z"
    shutil.copy(project.state.root / "kept", project.state.root / "set-2")
    assert (found().unopened, "1 newer sets" in bootstrap.summary(replace(found(), images={}), project)) == (1, True)
    shutil.copy(project.state.root / "set-2", project.state.root / "set-1")
    with pytest.raises(HostLacks, match="none of the 2 sets"):
        found()


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
    archive.unpack(path, fresh, own, keys.recovery_keys(project.state))

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
    archive.unpack(path, fresh.root, own, keys.recovery_keys(project.state))

    assert (fresh.secrets / "backup-cipher" / "1").read_text() == "k" * 43
    assert fresh.secrets.is_symlink()
    boot(fresh)
    encryption.open_again(fresh.root)
    assert (fresh.secrets / "backup-cipher" / "1").read_text() == "k" * 43


def test_archive_replaces_the_one_of_before_and_leaves_nothing_else(project: Project) -> None:
    archive.keep(project)
    (project.state.root / "allocation.json").write_text('{"ports": {}}')
    archive.keep(project)

    assert sorted(path.name for path in project.state.backup.iterdir()) == ["host.tar", "signers.pem"]


def test_nothing_is_written_where_there_is_no_project(tmp_path: Path) -> None:
    assert archive.keep(Project(settings(), Host("cc03", State(tmp_path / "none")))) is None


def test_host_without_secrets_gets_no_recovery_key(tmp_path: Path) -> None:
    """It may be one that everything is to be brought back to, and has to be empty for that."""
    state = State(tmp_path / "state")
    state.prepare()

    assert archive.keep(Project(settings(), Host("cc03", state))) is None
    assert list(state.secrets.iterdir()) == []


def test_state_comes_back_with_modes_and_links(project: Project, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path, fresh = archive.keep(project), tmp_path / "fresh"
    assert path
    monkeypatch.setattr("os.chown", lambda *_, **__: None)
    monkeypatch.setattr("os.lchown", lambda *_: None)
    own = tmp_path / "stack.yaml"
    own.write_text("# another one\n")
    fresh.mkdir()
    for _ in range(2):
        said = archive.unpack(path, fresh, own, keys.recovery_keys(project.state))

    assert said["project"] == "cc03"
    assert (fresh / "secrets/backup-cipher/1").read_text() == "k" * 43
    assert (fresh / "secrets/backup-cipher/1").stat().st_mode & 0o777 == 0o600
    assert (fresh / "releases/current").readlink() == Path("7")
    assert own.read_text() == "domain: shop.example.com\n"
    assert (tmp_path / "stack.yaml.before-restore").read_text() == "# another one\n"


def test_key_is_exported_once_checked_and_noted(project: Project, tmp_path: Path) -> None:
    target = tmp_path / "key.txt"
    assert keys.exported_at(project.state) == ""
    keys.export(project, target)

    assert target.stat().st_mode & 0o777 == 0o600
    assert keys.exported_at(project.state)
    keys.check(project, target)
    with pytest.raises(UsageProblem, match="exists"):
        keys.export(project, target)
    (project.state.secrets / "backup-cipher" / "2").write_text("j" * 43)
    with pytest.raises(OpsError, match="another key"):
        keys.check(project, target)


def test_export_of_an_earlier_version_does_not_count(project: Project, tmp_path: Path) -> None:
    """After an upgrade: the file in the safe opens the repositories, and nothing that sets hold of this host from now on."""
    old = tmp_path / "old.txt"
    (project.state.backup / "escrowed").write_text("2026-11-01T00:00:00+0000\n")
    old.write_text("k" * 43)
    archive.keep(project)

    assert keys.read(old) == "k" * 43 and keys.read_recovery(old) == ()
    assert keys.exported_at(project.state) == "" and not (project.state.backup / "escrowed").exists()
    with pytest.raises(OpsError, match="lacks the recovery key"):
        keys.check(project, old)
    keys.export(project, tmp_path / "new.txt")
    archive.keep(project)
    assert keys.exported_at(project.state) and (project.state.backup / "escrowed").exists()


def test_rotated_key_has_a_recovery_key_of_its_own_and_the_former_one_is_exported_too(project: Project, tmp_path: Path) -> None:
    first, second, third = (tmp_path / name for name in ("first.txt", "second.txt", "third.txt"))
    keys.export(project, first)
    (project.state.secrets / "backup-cipher" / "2").write_text("j" * 43)
    keys.export(project, second)

    assert keys.read_recovery(second)[1:] == keys.read_recovery(first) == (keys.read_recovery(second)[1],)
    versions.withdraw(project.state, "backup-cipher", 2)
    archive.keep(project)
    assert keys.exported_at(project.state), "what was exported before a rotation that failed is right again"
    keys.check(project, first)
    third.write_text(first.read_text().replace("AGE-SE", "AGE-SF"))
    with pytest.raises(OpsError):
        keys.check(project, third)


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
        found = bootstrap.Found("S", datetime.now(UTC), "1", (), "cc03", "", 7, {})
        local = bootstrap.Source(
            Repository("local", "folder", {"path": "/copy"}), made, {}, tuple(keys.recovery_keys(project.state))
        )
        bootstrap.put_in_place(Project(settings(), Host("cc03", fresh, tmp_path / "checkout")), local, found)
        assert keys.newest(fresh) == made
    assert sorted(one.name for one in (fresh.secrets / "backup-cipher").iterdir()) == ["1", "2"]


def test_export_of_a_rotation_that_was_killed_is_told_from_any_other_file(project: Project, tmp_path: Path) -> None:
    first, second = tmp_path / "first.txt", tmp_path / "second.txt"
    keys.export(project, first)
    assert not keys.is_pending(project, first) and not keys.is_pending(project, second)
    made = project.state.secrets / "backup-cipher" / "2"
    made.write_text("j" * 43)
    os.utime(project.state.backup / "escrowed", (1000, 1000))
    keys.write(project, second)

    assert keys.is_pending(project, second) and not keys.is_pending(project, first)
    keys.note_exported(project.state)
    assert not keys.is_pending(project, second)


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
