"""Files beside others, and folders: for whom they are, and what is left where the block fails."""

from __future__ import annotations

import os
import re
import shutil
import stat
from datetime import UTC, datetime
from pathlib import Path

import pytest

from ops.core import files as disk
from ops.core.errors import OpsError, UsageProblem
from ops.core.files import destination, host_ca_bundle, whole
from ops.store import encrypted_copies
from tests.unit.builders import REPOSITORY
from tests.unit.imports import imported


def mode(path: Path) -> int:
    return stat.S_IMODE(path.stat().st_mode)


@pytest.fixture(autouse=True)
def usual_umask() -> object:
    before = os.umask(0o022)
    yield
    os.umask(before)


@pytest.mark.parametrize("wanted", [0o600, 0o644, 0o666])
def test_file_has_its_mode_from_the_beginning_whatever_the_umask(tmp_path: Path, wanted: int) -> None:
    with disk.beside(tmp_path / "file", b"x", mode=wanted) as fresh:
        assert (mode(fresh), fresh.read_bytes(), fresh.parent) == (wanted, b"x", tmp_path)


def test_file_that_nobody_names_is_readable_by_all(tmp_path: Path) -> None:
    with disk.beside(tmp_path / "file", b"x") as fresh:
        assert mode(fresh) == 0o644


def test_secret_is_never_open_to_others_not_even_before_its_mode_is_set(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    seen = []
    monkeypatch.setattr(os, "fchmod", lambda descriptor, _: seen.append(stat.S_IMODE(os.fstat(descriptor).st_mode)))
    with disk.beside(tmp_path / "file", b"x", mode=0o600):
        pass

    assert seen == [0o600]


def test_file_is_hidden_and_its_name_says_of_which_it_is(tmp_path: Path) -> None:
    with disk.beside(tmp_path / "file", b"x") as one, disk.beside(tmp_path / "file", b"y") as other:
        assert one.name.startswith(".file.") and one != other


@pytest.mark.parametrize(("user", "owner", "given"), [(0, 70, [(70, 70)]), (0, None, []), (0, 0, [(0, 0)]), (1000, 70, [])])
def test_root_gives_a_file_to_its_owner(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, user: int, owner: int | None, given: list[tuple[int, int]]
) -> None:
    seen: list[tuple[int, int]] = []
    monkeypatch.setattr(os, "geteuid", lambda: user)
    monkeypatch.setattr(os, "fchown", lambda descriptor, uid, gid: seen.append((uid, gid)))
    with disk.beside(tmp_path / "file", b"x", owner=owner):
        pass

    assert seen == given


def test_file_that_the_block_does_not_use_is_removed(tmp_path: Path) -> None:
    with disk.beside(tmp_path / "file", b"x"):
        pass
    with pytest.raises(ZeroDivisionError), disk.beside(tmp_path / "file", b"x"):
        raise ZeroDivisionError

    assert list(tmp_path.iterdir()) == []


def test_folders_above_are_made_with_the_same_mode_and_those_that_are_there_stay(tmp_path: Path) -> None:
    (tmp_path / "there").mkdir(mode=0o755)
    disk.make_folder(tmp_path / "there" / "a" / "b", mode=0o700)
    disk.make_folder(tmp_path / "there" / "a" / "b", mode=0o755)

    assert [mode(tmp_path / path) for path in ("there", "there/a", "there/a/b")] == [0o755, 0o700, 0o700]


def test_flushing_leaves_no_file_open(tmp_path: Path) -> None:
    before = len(list(Path("/proc/self/fd").iterdir()))
    for _ in range(3):
        disk.to_disk(tmp_path)

    assert len(list(Path("/proc/self/fd").iterdir())) == before
    with pytest.raises(FileNotFoundError):
        disk.to_disk(tmp_path / "nothing")


def test_folder_with_data_in_the_clear_is_removed_or_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "clear").mkdir()
    (tmp_path / "clear" / "dump").write_text("x")
    disk.remove_clear(tmp_path / "clear")
    disk.remove_clear(tmp_path / "clear")
    assert list(tmp_path.iterdir()) == []

    (tmp_path / "clear").mkdir()
    refusal = PermissionError(1, "Operation not permitted", "clear/dump")
    monkeypatch.setattr(shutil, "rmtree", lambda path: (_ for _ in ()).throw(refusal))
    with pytest.raises(OpsError) as caught:
        disk.remove_clear(tmp_path / "clear")
    assert str(caught.value) == f"cannot remove {tmp_path / 'clear'}, which contains unencrypted data"
    assert (caught.value.why, caught.value.next_step) == ("clear/dump: Operation not permitted", f"rm -r {tmp_path / 'clear'}")


def test_new_file_is_accepted(tmp_path: Path) -> None:
    assert destination(str(tmp_path / "new"), overwrite=False) == tmp_path / "new"


@pytest.mark.parametrize("name", ["kept", "folder", "missing/new"])
def test_existing_file_folder_or_missing_folder_is_refused(name: str, tmp_path: Path) -> None:
    (tmp_path / "kept").write_text("a key")
    (tmp_path / "folder").mkdir()

    with pytest.raises(UsageProblem):
        destination(str(tmp_path / name), overwrite=False)

    assert (tmp_path / "kept").read_text() == "a key"


def test_existing_file_is_accepted_where_that_was_asked_for(tmp_path: Path) -> None:
    (tmp_path / "kept").write_text("old")
    assert destination(str(tmp_path / "kept"), overwrite=True).exists()


def test_old_file_stays_until_the_new_one_is_whole(tmp_path: Path) -> None:
    path = tmp_path / "archive"
    path.write_text("old")

    with whole(path) as fresh:
        fresh.write_text("new")
        assert path.read_text() == "old"

    assert (path.read_text(), sorted(tmp_path.iterdir())) == ("new", [path])


def test_old_file_stays_where_the_new_one_fails(tmp_path: Path) -> None:
    path = tmp_path / "archive"
    path.write_text("old")

    with pytest.raises(KeyboardInterrupt), whole(path) as fresh:
        fresh.write_text("ne")
        raise KeyboardInterrupt

    assert (path.read_text(), sorted(tmp_path.iterdir())) == ("old", [path])


def test_command_that_knows_a_project_keeps_the_encrypted_copies_of_what_it_writes() -> None:
    """They are registered where they are imported: nothing of core knows them."""
    store = REPOSITORY / "ops" / "store"

    assert (disk.replacing, disk.renaming) == (encrypted_copies.kept, encrypted_copies.moved)
    assert store / "encryption.py" in imported(REPOSITORY / "ops" / "project.py")
    assert store / "encrypted_copies.py" in imported(store / "encryption.py")


def test_refusal_names_the_option_that_replaces_a_file_where_there_is_one(tmp_path: Path) -> None:
    (tmp_path / "kept").touch()
    said = []
    for option in ({}, {"option": "--again"}, {"option": ""}):
        with pytest.raises(UsageProblem) as caught:
            destination(str(tmp_path / "kept"), overwrite=False, **option)
        said.append(caught.value.next_step)

    assert said == [
        "give the name of a new file, or give --overwrite to replace it",
        "give the name of a new file, or give --again to replace it", "give the name of a new file",
    ]  # fmt: skip


def test_line_for_the_log_store_is_in_the_form_of_container_logs(tmp_path: Path) -> None:
    disk.log_line(tmp_path, "hooks", "said", zebra=1, hook="pre-deploy")

    at, stream, whole, row = (tmp_path / "hooks.log").read_text().rstrip("\n").split(" ", 3)
    assert (stream, whole) == ("stdout", "F")
    assert row == '{"hook": "pre-deploy", "level": "info", "message": "said", "zebra": 1}'
    assert re.fullmatch(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{6}000\+00:00", at)
    age = datetime.now(UTC) - datetime.fromisoformat(at[:26] + at[29:])
    assert abs(age.total_seconds()) < 60


def test_log_that_is_large_begins_empty_whatever_a_crash_has_left(tmp_path: Path) -> None:
    (tmp_path / "hooks.log").write_bytes(b"x" * (disk.LOG_BYTES + 1))
    (tmp_path / "hooks.log.new").write_text("left")
    disk.log_line(tmp_path, "hooks", "said", level="error")

    assert '"level": "error"' in (tmp_path / "hooks.log").read_text()
    assert re.match(r"\d{4}-\d\d-\d\dT[^\n]*\n\Z", (tmp_path / "hooks.log").read_text())
    assert sorted(path.name for path in tmp_path.iterdir()) == ["hooks.log"]


def test_bundle_of_certificates_is_the_one_that_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    named = tmp_path / "bundle.pem"
    monkeypatch.setenv("SSL_CERT_FILE", str(named))
    there = set(map(Path, ("/etc/ssl/certs/ca-certificates.crt", "/etc/pki/tls/certs/ca-bundle.crt")))

    for present in (set(), {Path("/etc/pki/tls/certs/ca-bundle.crt")}, there, {named, *there}):
        monkeypatch.setattr(Path, "exists", lambda path, present=present: path in present)
        assert host_ca_bundle() == (named if named in present else max(present, default=None))


def test_checksum_is_the_one_that_sha256sum_prints(tmp_path: Path) -> None:
    path = tmp_path / "file"
    path.write_bytes(b"abc")

    assert disk.sha256(path) == "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad"
