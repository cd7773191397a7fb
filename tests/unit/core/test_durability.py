"""What is left after a power cut of what was written: all that was reported as written, and no half of anything."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path

import pytest

from ops.audit_log import record as audit
from ops.core import files
from ops.core.records import append_line, entries
from ops.core.state import State
from ops.stack.release import Activation, manifest_of, release_files
from ops.store import encrypted_copies, encryption, keys, releases, versions
from tests.unit.at_rest_state import VALUE, boot, encrypt, made, memory_at, on_disk, whole
from tests.unit.builders import wanted
from tests.unit.power_cut import Disk, Image, full, recorded

WHO = {"who": "me", "command": "inv deploy", "event": "begin", "at": "2026-03-10T12:00:00+0000"}


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    place = tmp_path / "cc03"
    place.mkdir()
    return place


@pytest.fixture
def state(folder: Path) -> State:
    found = State(folder)
    found.prepare()
    return found


@pytest.fixture
def power(folder: Path) -> Iterator[Disk]:
    with recorded(folder, looks=True) as found:
        yield found


def contents(images: list[Image], name: str) -> set[bytes | None]:
    """What a file holds in each image; None where it is not there."""
    return {image[Path(name)].content if Path(name) in image else None for image in images}


def test_the_record_forgets_what_was_not_flushed(folder: Path, power: Disk) -> None:
    (folder / "a").write_text("a")
    files.to_disk(folder)
    (folder / "b").write_text("b")

    power.cut()
    assert {path.name: path.read_bytes() for path in folder.iterdir()} == {"a": b""}


def test_file_that_was_written_is_there_and_never_half(folder: Path) -> None:
    files.write(folder / "file", "old")
    with recorded(folder, looks=True) as power:
        files.write(folder / "file", "new")
        assert contents(power.images, "file") == {b"old", b"new"}

        power.cut()
    assert (folder / "file").read_text() == "new"


def test_file_that_was_written_for_the_first_time_is_there(folder: Path, power: Disk) -> None:
    files.write(folder / "file", "new")
    assert contents(power.images, "file") == {None, b"new"}

    power.cut()
    assert (folder / "file").read_text() == "new"


def test_file_beside_another_is_flushed_before_the_block_uses_it(folder: Path, power: Disk) -> None:
    with files.beside(folder / "file", b"new") as fresh:
        files.to_disk(folder)
        assert power.after_cut()[Path(fresh.name)].content == b"new"


def test_file_that_was_moved_has_its_new_name_alone(folder: Path) -> None:
    files.write(folder / "old", "x")
    with recorded(folder) as power:
        files.move(folder / "old", folder / "new")
        power.cut()

    assert [path.name for path in folder.iterdir()] == ["new"]


def test_line_that_was_appended_is_there_from_the_first_on(folder: Path, power: Disk) -> None:
    for number in (1, 2):
        append_line(folder / "lines", {"number": number})
        power.cut()

        assert [entry["number"] for entry in entries(folder / "lines")] == [*range(1, number + 1)]


def test_activation_and_schema_survive(state: State) -> None:
    with recorded(state.root) as power:
        releases.record_activation(state, Activation(1, "2026-03-10T12:00:00+0000", "deploy", "good", 1.0))
        releases.record_schema(state, revision="0002")
        power.cut()

    assert [one.release for one in releases.activations(state)] == [1]
    assert releases.schema_history(state) == [{"revision": "0002"}]


def intact(state: State) -> int | None:
    """The current release. Fails where the link leads to none, or to one that is not whole."""
    number = releases.current_number(state)
    if number is not None:
        assert releases.read_release(state, number).intact, f"release {number} is current and not whole"
    return number


def test_current_release_is_whole_at_every_moment(state: State) -> None:
    release = wanted()
    releases.write_release(state, 1, manifest_of(release, ()), release_files(release))
    with recorded(state.releases, looks=True) as power:
        releases.write_release(state, 2, manifest_of(release, ()), release_files(release))
        images = [*power.images, power.after_cut()]
        seen = []
        for image in images:
            power.cut(image)
            seen.append(intact(state))

    assert (set(seen), seen[-1]) == ({1, 2}, 2)


def test_release_that_a_power_cut_left_unfinished_is_written_anew(state: State) -> None:
    release = wanted()
    (state.releases / "1" / "config").mkdir(parents=True)
    (state.releases / ".1.new" / "config").mkdir(parents=True)
    (state.releases / ".1.new" / "stray").write_text("")
    with recorded(state.releases) as power:
        releases.write_release(state, 1, manifest_of(release, ()), release_files(release))
        power.cut()

    assert intact(state) == 1
    assert sorted(path.name for path in state.releases.iterdir()) == ["1", "current"]


def test_entry_of_the_audit_trail_survives_and_no_power_cut_looks_like_a_hand(state: State) -> None:
    with recorded(state.root, looks=True) as power:
        for number in (1, 2):
            assert audit.append(state, WHO) == number
        images = [*power.images, power.after_cut()]
        for image in images:
            power.cut(image)
            assert audit.verify(state).findings == ()

    assert len(state.audit.read_text().splitlines()) == 2
    assert audit.read_head(state) is not None


@pytest.fixture
def on(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> State:
    """A state folder whose secrets are encrypted, and all of it on the disk."""
    memory_at(tmp_path / "memory", monkeypatch)
    (tmp_path / "stick").mkdir()
    state = made(tmp_path / "cc03")
    with recorded(state.root):
        encrypt(state, tmp_path / "stick" / "key.txt")
    return state


def test_key_and_note_are_on_the_disk(folder: Path, power: Disk) -> None:
    identity = keys.make_key(folder / "key")
    files.write(folder / "note", "said")
    power.cut()

    assert (keys.read_key(folder / "key"), (folder / "note").read_text()) == (identity, "said")


def test_encrypted_copy_of_a_secret_is_on_the_disk_also_of_a_new_name(on: State) -> None:
    with recorded(on.root):
        files.write(on.secrets / "redis-app" / "2", VALUE + "2", mode=0o600)
        (on.secrets / "postgres-app").mkdir(mode=0o700)
        files.write(on.secrets / "postgres-app" / "1", VALUE, mode=0o600)
        boot(on)
    encryption.open_again(on.root)
    assert (on.secrets / "redis-app" / "2").read_text() == VALUE + "2"
    assert (on.secrets / "postgres-app" / "1").read_text() == VALUE


def test_encrypted_copy_is_there_before_the_secret_itself(on: State) -> None:
    """A value that is used and not on the disk is lost with the power, and what it opens with it."""
    secret = on.secrets / "redis-app" / "2"
    with recorded(on.root) as power, files.beside(secret, b"another") as fresh, encrypted_copies.kept(secret, fresh):
        assert power.after_cut()[Path("at-rest/files/secrets/redis-app/2.age")].content


def test_version_that_was_withdrawn_and_secret_that_was_removed_stay_so(on: State) -> None:
    files.write(on.secrets / "redis-app" / "2", VALUE, mode=0o600)
    (on.ca / "more").write_text(VALUE)
    encrypted_copies.sync(on.root)
    with recorded(on.root):
        versions.withdraw(on, "redis-app", 2)
        (on.ca / "more").unlink()
        encrypted_copies.removed(on.ca / "more")
        boot(on)
    encryption.open_again(on.root)
    assert (versions.numbers(on, "redis-app"), (on.ca / "more").exists()) == ([1], False)


def test_copies_of_what_other_programs_changed_are_on_the_disk(on: State) -> None:
    with recorded(on.root):
        (on.ca / "next").mkdir()
        (on.ca / "next" / "root.key").write_text(VALUE)
        (on.ca / "other").symlink_to("next")
        (on.ca / "link").unlink()
        (on.acme / "account").symlink_to("1")
        (on.backup / "more").mkdir()
        (on.backup / "more" / "file").write_text(VALUE)
        encrypted_copies.sync(on.root)
        boot(on)
    encryption.open_again(on.root)
    assert (on.ca / "next" / "root.key").read_text() == VALUE
    assert ((on.acme / "account").readlink(), (on.backup / "more" / "file").read_text()) == (Path("1"), VALUE)
    assert ((on.ca / "other").readlink(), (on.ca / "link").is_symlink()) == (Path("next"), False)


def test_power_cut_while_secrets_are_encrypted_loses_none(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """After every change of the disk, with no name flushed but those that were, and with all."""
    memory_at(tmp_path / "memory", monkeypatch)
    (tmp_path / "stick").mkdir()
    key = tmp_path / "stick" / "key.txt"
    state = made(tmp_path / "cc03")
    with recorded(state.root, looks=True) as power:
        encrypt(state, key)
        images = [*power.images, power.after_cut()]
        for number, image in enumerate(images):
            power.cut(image)
            assert number + 1 < len(images) or list(on_disk(state)) == []
            boot(state)
            encrypt(state, key)
            assert (whole(state), list(on_disk(state))) == (True, []), number


def test_power_cut_while_secrets_are_decrypted_loses_none(on: State) -> None:
    with recorded(on.root, looks=True) as power:
        encryption.end(on.root)
        images = [*power.images, power.after_cut()]
        for number, image in enumerate(images):
            power.cut(image)
            boot(on)
            if encrypted_copies.is_locked(on.root):
                encryption.unlock(on.root, keys.read_key(encrypted_copies.key_file(on.root)))
            encryption.end(on.root)
            assert whole(on), number

    assert not (on.root / "at-rest").exists()


def test_full_disk_keeps_nobody_from_opening(on: State) -> None:
    boot(on)
    with full(on.root):
        for write in (files.write, Path.write_text):
            with pytest.raises(OSError, match="No space left"):
                write(on.root / "scale.json", "{}")
        encryption.open_again(on.root)

    assert (on.secrets / "redis-app" / "1").read_text() == VALUE


def test_full_disk_takes_no_secret_of_which_it_has_no_copy(on: State) -> None:
    with full(on.root), pytest.raises(OSError, match="No space left"):
        files.write(on.secrets / "redis-app" / "1", "another", mode=0o600)

    assert (on.secrets / "redis-app" / "1").read_text() == VALUE


def test_secrets_that_were_given_up_stay_given_up(on: State) -> None:
    with recorded(on.root) as power:
        encryption.lead_nowhere(on.root)
        power.cut()
        assert not any((on.root / name).is_symlink() for name in encrypted_copies.FOLDERS)
        encryption.set_aside(on.root)
        power.cut()

    assert not (on.root / encrypted_copies.HOME).exists() and len(list(on.root.glob("at-rest.lost-*"))) == 1


def test_line_is_json_of_one_line(folder: Path) -> None:
    append_line(folder / "lines", {"b": "x\ny", "a": 1})

    assert (folder / "lines").read_text() == json.dumps({"a": 1, "b": "x\ny"}) + "\n"
