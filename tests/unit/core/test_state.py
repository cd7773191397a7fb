"""Files of the state folder are whole or not there, and secrets are for their owner only."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from ops.core import files
from ops.core.errors import HostLacks
from ops.core.records import append_line
from ops.core.state import State, state_root
from tests.unit.power_cut import recorded


def test_write_replaces_a_file_and_leaves_no_other_behind(tmp_path: Path) -> None:
    path = tmp_path / "file"
    files.write(path, "old")
    files.write(path, b"new", mode=0o600)

    assert path.read_text() == "new"
    assert path.stat().st_mode & 0o777 == 0o600
    assert list(tmp_path.iterdir()) == [path]


def test_write_that_fails_leaves_the_old_file_and_nothing_else(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "file"
    files.write(path, "old")

    def full(descriptor: int) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(OSError, match="No space left"):
        files.write(path, "new")

    assert path.read_text() == "old"
    assert list(tmp_path.iterdir()) == [path]


def test_write_does_not_let_the_umask_open_or_close_a_file(tmp_path: Path) -> None:
    before = os.umask(0o077)
    try:
        files.write(tmp_path / "public", "x")
    finally:
        os.umask(before)

    assert (tmp_path / "public").stat().st_mode & 0o777 == 0o644


def test_link_leads_to_the_new_target_and_at_every_moment_to_one(tmp_path: Path) -> None:
    files.link(tmp_path / "current", "1")
    with recorded(tmp_path, looks=True) as power:
        files.link(tmp_path / "current", "2")
        assert {image[Path("current")].target for image in power.images} == {"1", "2"}
        power.cut()

    assert (tmp_path / "current").readlink() == Path("2")
    assert len(list(tmp_path.iterdir())) == 1


@pytest.mark.parametrize(("content", "expected"), [('{"a": 1}', {"a": 1}), ("[1]", None), (None, None)])
def test_json_that_is_not_there_or_no_mapping_is_none(tmp_path: Path, content: str | None, expected: object) -> None:
    path = tmp_path / "file.json"
    if content is not None:
        path.write_text(content)

    assert files.read_json(path) == expected


def test_folders_of_secrets_and_keys_are_private(tmp_path: Path) -> None:
    state = State(tmp_path / "cc03")
    state.prepare()
    state.prepare()

    assert [folder.stat().st_mode & 0o777 for folder in (state.secrets, state.ca)] == [0o700, 0o700]


def test_state_folder_is_closed_to_other_accounts_also_where_it_was_open(tmp_path: Path) -> None:
    state = State(tmp_path / "cc03")
    state.root.mkdir(mode=0o755)
    state.prepare()

    assert state.root.stat().st_mode & 0o777 == 0o700


def test_state_folder_can_be_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CC03_STATE", "/elsewhere")

    assert state_root() == Path("/elsewhere")


def test_without_a_name_it_is_where_programs_of_this_user_keep_their_data(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("CC03_STATE", raising=False)
    monkeypatch.delenv("XDG_DATA_HOME", raising=False)
    monkeypatch.setenv("HOME", "/home/me")
    monkeypatch.setattr(os, "geteuid", lambda: 0)
    assert state_root() == Path("/var/lib/cc03")

    monkeypatch.setattr(os, "geteuid", lambda: 1000)
    assert state_root() == Path("/home/me/.local/share/cc03")
    monkeypatch.setenv("XDG_DATA_HOME", "/data")
    assert state_root() == Path("/data/cc03")


def test_parts_that_containers_read_are_open_to_them_and_no_other(tmp_path: Path) -> None:
    state = State(tmp_path / "above" / "cc03")
    before = os.umask(0)
    try:
        state.prepare()
    finally:
        os.umask(before)
    modes = {path.name: path.stat().st_mode & 0o777 for path in state.root.iterdir()}

    assert sorted(name for name, mode in modes.items() if mode == 0o700) == ["acme", "ca", "dumps", "secrets"]
    assert sorted(name for name, mode in modes.items() if mode == 0o755) == [
        "backup", "builds", "certs", "challenges", "config", "logs", "metrics", "releases", "seccomp", "ticker",
    ]  # fmt: skip
    assert len(modes) == 14


def test_folder_that_cannot_be_made_is_told(tmp_path: Path) -> None:
    (tmp_path / "cc03").write_text("")
    with pytest.raises(HostLacks) as caught:
        State(tmp_path / "cc03").prepare()

    assert caught.value.lines()[0].endswith(f"cannot write {tmp_path / 'cc03'}")
    assert (caught.value.why, caught.value.next_step) == ("File exists", "run the command as root")


def test_text_of_json_is_the_same_for_the_same_values() -> None:
    assert files.dump({"b": [1], "a": "x"}) == '{\n  "a": "x",\n  "b": [\n    1\n  ]\n}\n'


def test_link_in_the_making_is_hidden(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def stops(self: Path, target: Path) -> Path:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(Path, "replace", stops)
    with pytest.raises(OSError, match="No space left"):
        files.link(tmp_path / "current", "1")

    assert [path.name.startswith(".current.") for path in tmp_path.iterdir()] == [True]


def test_owner_of_a_file_is_passed_on(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    given: list[tuple[int, int]] = []
    monkeypatch.setattr(os, "geteuid", lambda: 0)
    monkeypatch.setattr(os, "fchown", lambda descriptor, uid, gid: given.append((uid, gid)))
    files.write(tmp_path / "file", "x", owner=70)

    assert given == [(70, 70)]


NAMES = {
    "containers_conf": "containers.conf", "seccomp": "seccomp", "allocation": "allocation.json", "journal": "journal.jsonl",
    "audit": "audit.jsonl", "audit_head": "audit.head", "lock": "lock", "secrets": "secrets", "certs": "certs", "ca": "ca",
    "acme": "acme", "challenges": "challenges", "config": "config", "releases": "releases", "activations": "activations.jsonl",
    "schema": "schema.jsonl", "scale": "scale.json", "current": "releases/current", "builds": "builds", "logs": "logs",
    "ticker": "ticker", "metrics": "metrics", "dumps": "dumps", "backup": "backup", "handed": "handed", "prober": "prober",
}  # fmt: skip


@pytest.mark.parametrize(("name", "path"), NAMES.items())
def test_each_thing_is_where_hosts_of_before_have_it(name: str, path: str) -> None:
    """A host is upgraded in place: what another version has written there is read there."""
    assert getattr(State(Path("/var/lib/cc03/shop")), name) == Path("/var/lib/cc03/shop") / path


def test_clients_of_the_site_trust_the_roots_of_an_imported_certificate_where_there_is_one(tmp_path: Path) -> None:
    state = State(tmp_path / "cc03")
    state.prepare()
    assert state.site_roots == state.root / "ca" / "root.pem"
    (state.ca / "site.pem").touch()
    assert state.site_roots == state.root / "ca" / "site.pem"


@pytest.mark.parametrize(
    ("before", "after"),
    [(None, ""), ("", ""), ('{"a": 1}\n', '{"a": 1}\n'), ('{"a": 1}\n{"b', '{"a": 1}\n{"b\n')],
)
def test_line_is_appended_behind_what_is_there(tmp_path: Path, before: str | None, after: str) -> None:
    path = tmp_path / "lines"
    if before is not None:
        path.write_text(before)
    append_line(path, {"d": [1], "c": "x"})

    assert path.read_text() == after + '{"c": "x", "d": [1]}\n'
