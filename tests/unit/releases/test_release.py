"""Releases: sealed and read back whole, told apart, found for the way back, cleaned up."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from ops.core.errors import HostLacks
from ops.core.state import State
from ops.deploy.commands import deployed
from ops.releases.commands import rows
from ops.stack.release import (
    GOOD,
    Activation,
    Kept,
    contracted_since,
    difference,
    expendable,
    good_releases,
    manifest_of,
    previous_good,
    release_files,
)
from ops.stack.wanted import Wanted, pack, unpack, with_one_service
from ops.store import releases as disk
from tests.unit.builders import wanted


@pytest.fixture
def state(tmp_path: Path) -> State:
    found = State(tmp_path / "cc03")
    found.prepare()
    for name in ("postgres-superuser", "postgres-app"):
        (found.secrets / name).mkdir()
        (found.secrets / name / "1").write_text("s")
    return found


def sealed(state: State, number: int, release: Wanted) -> None:
    disk.write_release(state, number, manifest_of(release, ()), release_files(release))


def test_release_read_back_is_the_one_that_was_sealed(state: State) -> None:
    release = wanted(tags={"backend": "7"}, config={"nginx": "ng-7"})
    sealed(state, 1, release)

    again = disk.load_release(state, 1, "ticker")
    assert pack(again) == pack(release)
    assert again.compose == release.compose
    assert again.config_files == release.config_files
    assert again.number == 1
    assert list(again.stack.services) == list(release.stack.services)
    assert list(again.stack.networks) == list(release.stack.networks)
    assert disk.current_number(state) == 1


def test_field_that_a_later_version_added_is_left_out_and_one_that_is_missing_gets_its_default() -> None:
    release = wanted()
    packed = json.loads(json.dumps(pack(release)))
    packed["stack"]["services"]["nginx"]["invented_later"] = 1
    del packed["stack"]["services"]["nginx"]["smoke"]

    again = unpack(packed, release.compose, release.config_files, "", 1)
    assert again.stack.services["nginx"] == release.stack.services["nginx"]


@pytest.mark.parametrize("path", ["release.json", "compose.yaml", "stack.json", "config/nginx/file"])
def test_changed_file_breaks_the_seal(state: State, path: str) -> None:
    sealed(state, 1, wanted())
    target = state.releases / "1" / path
    target.chmod(0o644)
    target.write_text(target.read_text().replace("1", "2", 1) + " ")

    assert not disk.read_release(state, 1).intact
    with pytest.raises(HostLacks, match="release 1 is damaged"):
        disk.load_release(state, 1, "")


@pytest.mark.parametrize("act", ["added", "removed"])
def test_file_that_was_added_or_removed_breaks_the_seal(state: State, act: str) -> None:
    sealed(state, 1, wanted())
    if act == "added":
        (state.releases / "1" / "config" / "nginx" / "more.conf").write_text("x")
    else:
        (state.releases / "1" / "config" / "nginx" / "file").unlink()

    assert not disk.read_release(state, 1).intact


def test_release_that_is_gone_is_told_with_those_that_are_there(state: State) -> None:
    sealed(state, 3, wanted())

    with pytest.raises(HostLacks) as caught:
        disk.load_release(state, 9, "")
    assert "releases on this host: 3" in caught.value.why


def test_release_of_before_a_rotation_needs_no_former_secret(state: State) -> None:
    sealed(state, 1, wanted())
    for folder in state.secrets.iterdir():
        (folder / "1").rename(folder / "2")

    assert disk.load_release(state, 1, "").versions["postgres-app"] == 1


def test_release_whose_secret_is_gone_is_refused(state: State) -> None:
    sealed(state, 1, wanted())
    (state.secrets / "postgres-app" / "1").unlink()

    with pytest.raises(HostLacks, match="needs secrets that are missing"):
        disk.load_release(state, 1, "")


def test_number_is_never_used_twice(state: State) -> None:
    assert disk.next_number(state) == 1
    sealed(state, 4, wanted())
    assert disk.next_number(state) == 5
    disk.record_activation(state, activation(7, "reverted"))
    assert disk.next_number(state) == 8


def test_activation_cut_off_by_a_crash_does_not_swallow_the_next(state: State) -> None:
    disk.record_activation(state, activation(1))
    with state.activations.open("a") as file:
        file.write('{"release": 2, "ver')
    disk.record_activation(state, activation(3))

    assert [entry.release for entry in disk.activations(state)] == [1, 3]


def activation(number: int, outcome: str = "good") -> Activation:
    return Activation(number, "deploy", "2026-01-01T00:00:00+0000", outcome)


def kept(number: int, content: str | None = None, **more: Any) -> Kept:
    return Kept(number, {"images": {"backend": content or f"v{number}"}}, **more)


@pytest.mark.parametrize(
    ("releases", "activations", "current", "expected"),
    [
        pytest.param([kept(1), kept(2)], [activation(1), activation(2)], 2, 1, id="the one before"),
        pytest.param([kept(1), kept(2), kept(3)], [activation(1), activation(2, "reverted")], 3, 1, id="one that never served"),
        pytest.param([kept(1), kept(2)], [activation(1), activation(2)], 1, None, id="none before"),
        pytest.param([kept(1), kept(2, intact=False), kept(3)], [activation(n) for n in (1, 2, 3)], 3, 1, id="damaged"),
        pytest.param([kept(1), kept(2, "x"), kept(3, "x")], [activation(n) for n in (1, 2, 3)], 3, 1, id="the same again"),
        pytest.param([], [], None, None, id="nothing yet"),
        pytest.param([kept(1), kept(2)], [activation(1), activation(2, "interrupted")], 2, 1, id="a broken-off one"),
    ],
)
def test_way_back(releases: list[Kept], activations: list[Activation], current: int | None, expected: int | None) -> None:
    found = previous_good(releases, activations, current)
    assert (found.number if found else None) == expected


def test_release_counts_as_good_once_it_has_served() -> None:
    assert good_releases([activation(1), activation(2, "reverted"), activation(3, "failed"), activation(1, "failed")]) == {1}


def test_clean_up_spares_the_current_one_the_way_back_and_five_that_served() -> None:
    releases = [kept(number) for number in range(1, 31)]
    served = [activation(number) for number in range(1, 11)]
    failed = [activation(number, "reverted") for number in range(11, 31)]

    gone = expendable(releases, [*served, *failed], current=3, keep=5)
    stay = set(range(1, 31)) - set(gone)
    assert stay == {2, 3, 6, 7, 8, 9, 10, 26, 27, 28, 29, 30}


def test_nothing_is_cleaned_up_while_there_are_few() -> None:
    assert expendable([kept(number) for number in range(1, 6)], [], 5, keep=5) == []


def test_difference_is_told_in_words() -> None:
    before = manifest_of(wanted(), ())
    after = manifest_of(wanted(tags={"backend": "2"}, text="replicas: {backend: 3}", config={"nginx": "ng-2"}), ())
    after = {**after, "secrets": {**after["secrets"], "postgres-app": 2}, "settings": {"replicas.backend": 3}}

    lines = difference(before, after, {"nginx/nginx.conf": ("a", "b"), "nginx/new.conf": (None, "x"), "same": ("x", "x")})
    assert lines == [
        "backend image", "replicas.backend: default to 3", "secret postgres-app: version 1 to 2",
        "nginx/new.conf added", "nginx/nginx.conf changed", "backend-3 added",
    ]  # fmt: skip


def test_difference_that_no_list_shows_is_told_all_the_same() -> None:
    assert difference(manifest_of(wanted(), ()), manifest_of(wanted(text="limits: {nginx: {memory: 300m}}"), ()), {}) == [
        "limits.nginx.memory: default to 300m"
    ]
    own = manifest_of(wanted(), ())
    other = {**own, "slots": {**own["slots"], "nginx": "another"}}
    assert difference(own, other, {}) == ["definition of nginx"]
    assert difference(manifest_of(wanted(), ()), manifest_of(wanted(), ()), {}) == []


def test_contracting_migration_stands_between_a_release_and_those_before_it() -> None:
    history = [{"release": 4, "contracted": ["0005"]}, {"release": 6, "contracted": []}]

    assert contracted_since(history, 3) == ["0005"]
    assert contracted_since(history, 4) == []


def test_one_service_alone_takes_nothing_else_of_the_checkout_along() -> None:
    last = wanted()
    mixed = with_one_service(wanted(tags={"backend": "2", "postgres": "2"}, config={"nginx": "ng-2"}), last, "backend")

    before, after = manifest_of(last, ()), manifest_of(mixed, ())
    assert after["images"] == {**before["images"], "backend": "localhost/cc03/backend:2"}
    assert after["config"] == before["config"]
    changed = {slot for slot in after["slots"] if after["slots"][slot] != before["slots"].get(slot)}
    assert changed == {"backend-1", "backend-2"}


def test_release_that_has_served_stays_good_whatever_a_later_rollback_to_it_came_to() -> None:
    kept = [Kept(1, {}), Kept(2, {}), Kept(3, {})]
    tries = [
        Activation(1, "deploy", "a", GOOD, 10.0), Activation(2, "deploy", "b", GOOD),
        Activation(1, "rollback", "c", "failed", 3.0), Activation(3, "deploy", "d", "reverted"),
    ]  # fmt: skip

    shown = {row["release"]: row for row in rows(kept, tries, 2)}

    assert {number: row["outcome"] for number, row in shown.items()} == {1: "good", 2: "good", 3: "reverted"}
    assert (shown[1]["seconds"], shown[1]["last_attempt"]) == (10.0, {"verb": "rollback", "at": "c", "outcome": "failed"})


@pytest.mark.parametrize(
    ("last", "said"),
    [
        (None, ""),
        (Activation(1, "deploy", "a", GOOD), "release 1, "),
        (Activation(3, "deploy", "a", GOOD, previous=2, requests={"failed": 0, "requests": 845}),
         "release 3 (inv rollback returns to 2), 0 of 845 requests failed, "),
        (Activation(3, "deploy", "a", GOOD, previous=3), "release 3, "),
    ],
)  # fmt: skip
def test_deploy_ends_with_its_release_its_cost_and_the_way_back(last: Activation | None, said: str) -> None:
    assert deployed([last] if last else []) == said
