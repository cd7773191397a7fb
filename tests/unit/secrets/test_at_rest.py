"""Secrets encrypted at rest: what is on disk, what is in memory, and what a boot leaves of it."""

from __future__ import annotations

import os
import shutil
from collections.abc import Iterator
from pathlib import Path
from types import SimpleNamespace

import pytest

from ops.backup import host_archive as archive
from ops.core import files
from ops.core.errors import HostLacks, OpsError, UsageProblem
from ops.core.plan import Step
from ops.core.state import State
from ops.engines.podman.host import Host
from ops.execution import Execution
from ops.project import Project
from ops.secrets import secret_files as handed
from ops.secrets.plan import lost_secrets, plan_decrypt, plan_encrypt
from ops.stack.render import by_file, excerpt_by_file
from ops.store import encrypted_copies, encryption, keys, versions
from tests.unit.at_rest_state import VALUE, boot, encrypt, made, memory_at, on_disk
from tests.unit.builders import deployed, settings, stack, wanted
from tests.unit.power_cut import recorded

SERVICE = {
    "volumes": ["data:/data"],
    "secrets": [{"source": "cc03-redis-app-1", "target": "redis-app", "uid": str(os.getuid()), "gid": "0", "mode": "0400"}],
}


@pytest.fixture
def state(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[State]:
    memory_at(tmp_path / "memory", monkeypatch)
    (tmp_path / "stick").mkdir()
    found = made(tmp_path / "cc03")
    with recorded(found.root):
        yield found


@pytest.fixture
def key(tmp_path: Path) -> Path:
    return tmp_path / "stick" / "key.txt"


@pytest.fixture
def on(state: State, key: Path) -> State:
    encrypt(state, key)
    return state


def test_no_value_is_left_on_disk_and_every_path_reads_as_before(on: State) -> None:
    assert list(on_disk(on)) == []
    assert (on.secrets / "redis-app" / "1").read_text() == VALUE
    assert (on.ca / "link").read_text() == VALUE + "ca"
    assert (on.secrets / "redis-app" / "1").stat().st_mode & 0o777 == 0o600
    assert versions.numbers(on, "redis-app") == [1]


def test_key_is_for_its_owner_and_lies_elsewhere(on: State, key: Path) -> None:
    assert key.stat().st_mode & 0o777 == 0o600
    assert keys.read_key(key) not in "".join(path.read_text(errors="ignore") for path in (on.root / "at-rest").glob("[kr]*"))


def test_what_is_written_is_on_disk_when_the_command_goes_on(on: State, key: Path) -> None:
    files.write(on.secrets / "redis-app" / "2", VALUE + "2", mode=0o600)

    boot(on)
    encryption.open_again(on.root)
    assert (on.secrets / "redis-app" / "2").read_text() == VALUE + "2"


def test_version_that_was_taken_back_stays_so_after_a_boot(on: State) -> None:
    files.write(on.secrets / "redis-app" / "2", VALUE, mode=0o600)
    versions.withdraw(on, "redis-app", 2)

    boot(on)
    encryption.open_again(on.root)
    assert versions.numbers(on, "redis-app") == [1]
    assert versions.taken(on, "redis-app") == [1, 2]


def test_what_was_removed_is_gone_after_the_next_change(on: State) -> None:
    """The root's key is taken off the host: it must not come back with a boot."""
    (on.ca / "root.key").unlink()
    encrypted_copies.sync(on.root)

    boot(on)
    encryption.open_again(on.root)
    assert not (on.ca / "root.key").exists()
    assert (on.ca / "link").is_symlink()


def test_secret_that_vanished_from_memory_is_had_back_from_its_copy(on: State, key: Path) -> None:
    """Somebody's mistake, or a cleaner of temporary files: the copies of secrets are removed by nothing but a command."""
    shutil.rmtree(on.secrets / "redis-app")
    encrypted_copies.sync(on.root)

    assert encryption.refill(on.root, keys.read_key(key)) == ["redis-app/1"]
    assert (on.secrets / "redis-app" / "1").read_text() == VALUE
    assert encryption.refill(on.root, keys.read_key(key)) == []


def test_memory_that_is_full_spoils_no_copy(on: State, key: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    shutil.rmtree(on.secrets / "redis-app")
    with pytest.MonkeyPatch.context() as full, pytest.raises(HostLacks, match="cannot be put into memory"):
        full.setattr(files, "beside", lambda *_, **__: (_ for _ in ()).throw(OSError(28, "No space left on device")))
        encryption.refill(on.root, keys.read_key(key))
    encrypted_copies.sync(on.root)

    assert encryption.refill(on.root, keys.read_key(key)) == ["redis-app/1"]
    assert (on.secrets / "redis-app" / "1").read_text() == VALUE


def test_last_copies_are_not_thrown_away(on: State) -> None:
    shutil.rmtree(on.secrets / "redis-app")

    with pytest.raises(HostLacks, match="secrets are not in memory, such as redis-app/1"):
        encryption.end(on.root)
    assert encrypted_copies.is_on(on.root)


def test_folder_that_a_later_version_encrypts_too_is_taken_in(on: State, monkeypatch: pytest.MonkeyPatch) -> None:
    more = (*encrypted_copies.FOLDERS, "more")
    monkeypatch.setattr(encrypted_copies, "FOLDERS", more)
    monkeypatch.setattr("ops.store.encryption.FOLDERS", more)
    (on.root / "more").mkdir()
    encryption.open_again(on.root)
    files.write(on.root / "more" / "a", VALUE)

    assert list(on_disk(on)) == []
    boot(on)
    encryption.open_again(on.root)
    assert (on.root / "more" / "a").read_text() == VALUE


def test_secret_that_was_removed_on_purpose_stays_away(on: State) -> None:
    files.write(on.secrets / "redis-app" / "2", VALUE)
    shutil.rmtree(on.secrets / "redis-app")
    encrypted_copies.removed(on.secrets / "redis-app")

    boot(on)
    encryption.open_again(on.root)
    assert not (on.secrets / "redis-app").exists()


def test_what_a_step_has_renamed_is_so_on_disk_before_the_next_one(on: State) -> None:
    """The next authority is made under another name: after a power cut, half of it under each would be none."""
    performer = Execution.__new__(Execution)
    performer.state = on
    (on.ca / ".next.1").mkdir()
    files.write(on.ca / ".next.1" / "root.key", VALUE)

    class Renames(Step):
        def run(self, execution: Execution) -> None:
            (on.ca / ".next.1").rename(on.ca / "next")

    performer.do(Renames("next", "make the next authority"))

    boot(on)
    encryption.open_again(on.root)
    assert (on.ca / "next" / "root.key").read_text() == VALUE


def test_full_memory_is_told_and_left_as_it_was(on: State, monkeypatch: pytest.MonkeyPatch) -> None:
    boot(on)
    monkeypatch.setattr("ops.store.encryption._open", lambda *_: (_ for _ in ()).throw(OSError(28, "No space left on device")))

    with pytest.raises(HostLacks, match="cannot be put into memory"):
        encryption.open_again(on.root)
    assert [path.name for path in encrypted_copies.memory_of(on.root).parent.iterdir() if path.is_dir()] == []


def test_beginning_with_another_key_is_refused(state: State, key: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Such as a new one, because the stick was not mounted the second time: half the copies would be for the first."""
    monkeypatch.setattr(os, "sync", lambda: (_ for _ in ()).throw(KeyboardInterrupt))
    with pytest.raises(KeyboardInterrupt):
        encrypt(state, key)
    monkeypatch.setattr(os, "sync", lambda: None)

    key.rename(key.with_name("away"))
    for other in (key, key.with_name("other")):
        with pytest.raises(UsageProblem, match="begun with another key"):
            encrypt(state, other)
    key.with_name("away").rename(key)
    encrypt(state, key)
    assert list(on_disk(state)) == []


def test_memory_that_is_too_small_is_told_before_anything_is_begun(
    state: State, key: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(shutil, "disk_usage", lambda path: SimpleNamespace(free=10))

    with pytest.raises(HostLacks, match="do not fit into memory"):
        encrypt(state, key)
    assert (key.exists(), encryption.is_unfinished(state.root)) == (False, False)


def test_key_that_is_lost_gives_way_to_a_backup(on: State, key: Path) -> None:
    """Whose set brings plain files; the encrypted ones stay beside, should the key be found."""
    boot(on)
    encryption.set_aside(on.root)
    on.prepare()

    assert not encrypted_copies.is_on(on.root) and not encrypted_copies.is_half(on.root)
    assert (on.secrets.is_symlink(), on.secrets.is_dir()) == (False, True)
    assert len(list(on.root.glob("at-rest.lost-*/files/secrets/redis-app/1.age"))) == 1


def test_nothing_is_written_to_where_locked_folders_lead(on: State, tmp_path: Path) -> None:
    memory = encrypted_copies.memory_of(on.root)
    boot(on)
    (tmp_path / "trap" / memory.name / "secrets").mkdir(parents=True)
    (tmp_path / "trap" / memory.name / "backup").mkdir()
    memory.parent.symlink_to(tmp_path / "trap")

    project = Project(settings(), Host("cc03", on))
    assert archive.keep(project) is None
    assert list((tmp_path / "trap" / memory.name / "backup").iterdir()) == []


def test_owners_modes_times_and_links_survive_a_boot(on: State) -> None:
    def facts() -> dict[str, tuple[int, int, int]]:
        found = {}
        for name in encrypted_copies.FOLDERS:
            for path in (on.root / name).resolve().rglob("*"):
                about = path.lstat()
                moment = 0 if path.is_symlink() or path.is_dir() else about.st_mtime_ns
                found[f"{name}/{path.name}"] = (about.st_mode, about.st_uid, moment)
        return found

    before = facts()
    boot(on)
    encryption.open_again(on.root)
    assert facts() == before


def test_boot_without_the_key_says_what_to_do_and_a_given_key_opens(on: State, key: Path) -> None:
    identity = keys.read_key(key)
    key.unlink()
    boot(on)

    with pytest.raises(HostLacks) as caught:
        encryption.open_again(on.root)
    assert (str(key) in caught.value.why, "inv secrets.unlock" in caught.value.next_step) == (True, True)
    assert not on.secrets.exists()
    encryption.unlock(on.root, identity)
    assert (on.secrets / "redis-app" / "1").read_text() == VALUE


def test_another_key_opens_nothing_and_leaves_nothing(on: State, tmp_path: Path) -> None:
    other = keys.make_key(tmp_path / "other")
    boot(on)

    with pytest.raises(HostLacks, match="not the key"):
        encryption.unlock(on.root, other)
    assert encrypted_copies.is_locked(on.root)


def test_damaged_copy_is_told_and_nothing_is_half_opened(on: State) -> None:
    copy = on.root / "at-rest" / "files" / "secrets" / "redis-app" / "1.age"
    whole = copy.read_bytes()
    copy.write_bytes(whole[:-1] + bytes([whole[-1] ^ 1]))
    os.sync()
    boot(on)

    with pytest.raises(HostLacks, match=r"1\.age cannot be decrypted"):
        encryption.open_again(on.root)
    assert encrypted_copies.is_locked(on.root)


@pytest.mark.parametrize("theirs", ["a link", "a link to nothing", "a file", "open to others"])
def test_place_in_memory_that_somebody_else_has_made_is_refused(on: State, tmp_path: Path, theirs: str) -> None:
    """/dev/shm is open to every account: whoever made our folder there first could hand us secrets of his own."""
    memory = encrypted_copies.memory_of(on.root)
    boot(on)
    if theirs == "a link":
        (tmp_path / "trap" / memory.name).mkdir(parents=True, mode=0o700)
        (tmp_path / "trap" / memory.name / encrypted_copies.OF).write_text(str(on.root))
        memory.parent.symlink_to(tmp_path / "trap")
    elif theirs == "a link to nothing":
        memory.parent.symlink_to(tmp_path / "nothing")
    elif theirs == "a file":
        memory.parent.write_text("")
    else:
        memory.parent.mkdir()
        memory.parent.chmod(0o777)

    assert encrypted_copies.is_locked(on.root)
    with pytest.raises(HostLacks, match="is not root's alone"):
        encryption.open_again(on.root)


def test_memory_may_lie_elsewhere_after_a_boot(on: State, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    boot(on)
    memory_at(tmp_path / "other", monkeypatch)

    encryption.open_again(on.root)
    assert (on.secrets / "redis-app" / "1").read_text() == VALUE


def test_end_brings_everything_back_on_disk(on: State) -> None:
    handed.write_files(on, [SERVICE])
    memory = encrypted_copies.memory_of(on.root)
    encryption.end(on.root)

    assert not on.secrets.is_symlink()
    assert (on.secrets / "redis-app" / "1").read_text() == VALUE
    assert (on.ca / "link").readlink() == Path("root.key")
    assert (on.secrets.stat().st_mode & 0o777, on.backup.stat().st_mode & 0o777) == (0o700, 0o755)
    assert not any(path.exists() or path.is_symlink() for path in (on.root / "at-rest", on.handed, memory.parent))
    assert [path.name for path in on.root.iterdir() if path.name.startswith(".")] == []


def test_copy_that_does_not_come_back_removes_nothing(state: State, key: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("ops.store.encryption.opened", lambda copy, identity: b"something else")

    with pytest.raises(OpsError, match="does not come back"):
        encryption.begin(state.root, key)
    assert (state.secrets.is_symlink(), (state.secrets / "redis-app" / "1").read_text()) == (False, VALUE)


@pytest.mark.parametrize("text", ["", "AGE-SECRET-KEY-1NONSENSE", "something"])
def test_file_that_is_no_key_is_refused(state: State, key: Path, text: str) -> None:
    key.write_text(text)

    with pytest.raises(UsageProblem):
        encryption.begin(state.root, key)
    assert not state.secrets.is_symlink()


def test_a_container_mounts_files_instead_of_asking_podman(on: State) -> None:
    part = {"services": {"redis": SERVICE}, "secrets": {"cc03-redis-app-1": {"external": True}}}
    created = handed.part_as_is(on, part)
    source, target, mode = created["services"]["redis"]["volumes"][1].split(":")

    assert (target, mode, created["services"]["redis"]["secrets"], created["secrets"]) == (
        "/run/secrets/redis-app",
        "ro",
        [],
        {},
    )
    assert Path(source).read_text() == VALUE
    assert Path(source).stat().st_mode & 0o777 == 0o400
    boot(on)
    encryption.open_again(on.root)
    assert Path(source).read_text() == VALUE


def test_withdrawn_version_is_still_handed_to_who_has_it(on: State) -> None:
    versions.withdraw(on, "redis-app", 1)
    assert Path(handed.service_as_is(on, SERVICE)["volumes"][1].partition(":")[0]).read_text() == VALUE


def test_without_encryption_nothing_changes(state: State) -> None:
    assert handed.part_as_is(state, {"services": {"redis": SERVICE}}) == {"services": {"redis": SERVICE}}
    assert handed.names(state) == frozenset()
    encrypted_copies.sync(state.root)
    assert not (state.root / "at-rest").exists()


def test_rendering_leaves_what_it_was_given() -> None:
    assert by_file({"image": "a"}, Path("/h")) == {"image": "a", "volumes": [], "secrets": []}
    assert excerpt_by_file({"services": {"a": SERVICE}, "name": "x"}, Path("/h"))["name"] == "x"
    assert SERVICE["volumes"] == ["data:/data"]


def test_secret_of_which_only_the_encrypted_copy_is_left_counts_as_lost(on: State) -> None:
    (on.secrets / "postgres-app").mkdir()
    files.write(on.secrets / "postgres-app" / "1", VALUE)
    shutil.rmtree(on.secrets / "postgres-app")
    seen = deployed(wanted(), secret_versions={"redis-app": 1}, podman_secrets=frozenset(), handed=handed.names(on))

    assert "postgres-app" in lost_secrets(stack(), seen)


def test_plan_asks_for_a_stack_without_containers() -> None:
    seen = deployed(wanted())
    with pytest.raises(HostLacks) as caught:
        plan_encrypt(seen, "/key", None)
    assert "inv destroy" in caught.value.next_step
    with pytest.raises(HostLacks):
        plan_decrypt(seen, "/key")


def test_plan_has_nothing_to_do_where_it_is_so_already() -> None:
    seen = deployed(wanted())
    assert plan_encrypt(seen, "/key", "/key").steps == plan_decrypt(seen, None).steps == ()
    with pytest.raises(UsageProblem, match="encrypted already"):
        plan_encrypt(seen, "/other", "/key")
