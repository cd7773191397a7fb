"""Releases on disk: what their files allow, how large they are, and what is left of one that is damaged."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import pytest

from ops.core.errors import HostLacks
from ops.core.state import State
from ops.stack.release import RELEASE, manifest_of, release_files
from ops.stack.wanted import Wanted
from ops.store import releases
from tests.unit.builders import wanted


@pytest.fixture
def state(tmp_path: Path) -> State:
    found = State(tmp_path / "cc03")
    found.prepare()
    return found


def sealed(state: State, number: int, release: Wanted) -> Path:
    releases.write_release(state, number, manifest_of(release, ()), release_files(release))
    return state.releases / str(number)


def test_files_of_a_release_can_be_read_and_not_be_written(state: State) -> None:
    folder = sealed(state, 1, wanted())
    modes = {path.stat().st_mode & 0o777 for path in folder.rglob("*") if path.is_file()}
    assert modes == {0o444}


def test_size_of_a_release_is_that_of_its_files(state: State) -> None:
    folder = sealed(state, 1, wanted())
    size = sum(path.stat().st_size for path in folder.rglob("*") if path.is_file())

    assert size > 1000 and releases.read_release(state, 1).bytes == size
    assert (folder / "config" / "nginx" / "file").is_file(), "files in folders count too"


@pytest.mark.parametrize("text", [None, "{", "[]x"])
def test_release_whose_manifest_cannot_be_read_is_damaged_and_has_its_size(state: State, text: str | None) -> None:
    folder = sealed(state, 1, wanted())
    (folder / RELEASE).chmod(0o644)
    if text is None:
        (folder / RELEASE).unlink()
    else:
        (folder / RELEASE).write_text(text)
    kept = releases.read_release(state, 1)

    assert (kept.number, dict(kept.manifest), kept.intact) == (1, {}, False)
    assert kept.bytes == sum(path.stat().st_size for path in folder.rglob("*") if path.is_file()) > 0


def test_manifest_without_a_seal_is_no_intact_release(state: State) -> None:
    folder = sealed(state, 1, wanted())
    said = json.loads((folder / RELEASE).read_text())
    (folder / RELEASE).chmod(0o644)
    (folder / RELEASE).write_text(json.dumps({key: value for key, value in said.items() if key != "seal"}))
    assert not releases.read_release(state, 1).intact


def test_nothing_is_current_before_the_first_release(state: State) -> None:
    assert releases.current_number(state) is None and releases.releases(state) == [] and releases.next_number(state) == 1
    sealed(state, 3, wanted())
    assert releases.current_number(state) == 3


def test_releases_are_listed_in_the_order_of_their_numbers(state: State) -> None:
    for number in (10, 9):
        sealed(state, number, wanted())
    (state.releases / ".11.new").mkdir()
    assert [kept.number for kept in releases.releases(state)] == [9, 10]


def test_configuration_in_folders_is_read_back_whole(state: State) -> None:
    files = {"file": "ng-1", "conf.d/deep/site.conf": "server {}"}
    release = replace(wanted(), config_files={**wanted().config_files, "nginx": files}, realm="realm: shop\n")
    secrets_of(state, release)
    sealed(state, 1, release)
    again = releases.load_release(state, 1, {"ticker": "source"})

    assert again.config_files["nginx"] == files and again.realm == "realm: shop\n"
    assert again.number == 1 and dict(again.compose) == dict(release.compose)


def secrets_of(state: State, release: Wanted) -> None:
    for name in release.versions:
        (state.secrets / name).mkdir(exist_ok=True)
        (state.secrets / name / "1").write_text("s")


def test_secret_that_only_a_service_without_a_container_is_given_may_be_gone(state: State) -> None:
    """A service that was left out of a release needs nothing."""
    release = wanted()
    secrets_of(state, release)
    sealed(state, 1, release)
    given = next(name for name in release.versions if any(name in one.secrets for one in release.stack.services.values()))
    (state.secrets / given / "1").unlink()
    with pytest.raises(HostLacks, match="needs secrets that are missing") as caught:
        releases.load_release(state, 1, {})
    assert caught.value.why == given, "and no other"


def test_damaged_release_is_told_with_those_that_are_not(state: State) -> None:
    release = wanted()
    secrets_of(state, release)
    for number in (1, 2):
        sealed(state, number, release)
    (state.releases / "2" / "compose.yaml").chmod(0o644)
    (state.releases / "2" / "compose.yaml").write_text("")
    with pytest.raises(HostLacks) as caught:
        releases.load_release(state, 2, {})
    assert "one of 1:" in caught.value.next_step
    with pytest.raises(HostLacks) as caught:
        releases.load_release(state, 7, {})
    assert caught.value.why.endswith(": 1")
