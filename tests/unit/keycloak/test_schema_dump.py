"""Dumps and restores where PostgreSQL does not do as it is told: nothing half made is left, nothing in use is dropped."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import pytest

from ops.core.errors import OpsError
from ops.core.process import Result
from ops.core.state import State
from ops.engines.engine import Engine
from ops.engines.podman import host as host_module
from ops.engines.podman.engine import PodmanEngine
from ops.engines.podman.host import Host
from ops.keycloak.schema import dump as dumps

Fails = Callable[[str], bool]


class Postgres:
    """Answers every command, and fails those that it is told to. Remembers what ran."""

    def __init__(self, fails: Fails, names: str = "") -> None:
        self.fails, self.names, self.ran = fails, names, list[str]()

    def __call__(self, argv: Sequence[str], **options: Any) -> Result:
        said = " ".join(argv) + " " + (options.get("stdin") or "")
        self.ran.append(said)
        if options.get("target"):
            Path(options["target"]).write_bytes(b"PGDMP")
        failed = self.fails(said)
        names = self.names if "SELECT datname" in said else ""
        return Result(tuple(argv), int(failed), names, "it broke" if failed else "", 0.0)

    def did(self, *words: str) -> bool:
        return any(all(word in said for word in words) for said in self.ran)


@pytest.fixture
def state(tmp_path: Path) -> State:
    return State(tmp_path / "cc03")


@pytest.fixture
def engine(state: State) -> Engine:
    return PodmanEngine(Host("cc03", state), "cc03")


def postgres(monkeypatch: pytest.MonkeyPatch, fails: Fails = lambda said: False, names: str = "") -> Postgres:
    fake = Postgres(fails, names)
    monkeypatch.setattr(host_module, "run", fake)
    return fake


def test_dump_is_read_back_as_a_whole_and_described(engine: Engine, state: State, monkeypatch: pytest.MonkeyPatch) -> None:
    fake = postgres(monkeypatch)
    path = dumps.new_path(state, "keycloak")
    dumps.dump(engine, "keycloak", path, 5, {"version": "26.7.3"})

    assert path.read_bytes() == b"PGDMP"
    assert fake.did("pg_restore --file=/dev/null")
    (known,) = dumps.known_dumps(state)
    assert (known.name, known.version, known.about["bytes"]) == (path.name, "26.7.3", 5)


@pytest.mark.parametrize("program", ["pg_dump", "pg_restore"])
def test_dump_that_fails_or_cannot_be_read_leaves_nothing(
    engine: Engine, state: State, monkeypatch: pytest.MonkeyPatch, program: str
) -> None:
    postgres(monkeypatch, lambda said: program in said)
    with pytest.raises(OpsError, match="dump"):
        dumps.dump(engine, "keycloak", dumps.new_path(state, "keycloak"), 5)

    assert list(state.dumps.iterdir()) == []


def test_restore_that_fails_drops_what_it_made_and_swaps_nothing(
    engine: Engine, state: State, monkeypatch: pytest.MonkeyPatch
) -> None:
    fake = postgres(monkeypatch, lambda said: "pg_restore" in said)
    with pytest.raises(OpsError, match="cannot restore"):
        dumps.restore(engine, "keycloak", state.dumps / "keycloak-20260101T000000Z.dump", 5)

    assert fake.did("DROP DATABASE", "name=keycloak_restore_")
    assert not fake.did("RENAME")


def test_swap_is_tried_again_where_somebody_connects_in_that_moment(engine: Engine, monkeypatch: pytest.MonkeyPatch) -> None:
    once = iter([True])
    fake = postgres(monkeypatch, lambda said: "RENAME" in said and next(once, False))
    dumps.swap(engine, "keycloak", "keycloak_restore_20260101_000000")

    assert len([said for said in fake.ran if "RENAME" in said]) == 2


def test_swap_that_never_succeeds_is_told(engine: Engine, monkeypatch: pytest.MonkeyPatch) -> None:
    fake = postgres(monkeypatch, lambda said: "RENAME" in said)
    with pytest.raises(OpsError, match="refused"):
        dumps.swap(engine, "keycloak", "keycloak_restore_20260101_000000")

    assert len([said for said in fake.ran if "RENAME" in said]) == dumps.SWAP_ATTEMPTS


@pytest.mark.parametrize("name", ["keycloak", "app", "keycloak_before", "postgres", "app_restore_1"])
def test_database_in_use_is_never_dropped(engine: Engine, monkeypatch: pytest.MonkeyPatch, name: str) -> None:
    fake = postgres(monkeypatch)
    with pytest.raises(ValueError, match="no database beside"):
        dumps.drop(engine, name)

    assert fake.ran == []


def test_former_database_of_a_killed_command_goes_after_a_week(engine: Engine, monkeypatch: pytest.MonkeyPatch) -> None:
    fake = postgres(monkeypatch, names="keycloak_before_20200101_000000 keycloak_before_29990101_000000")
    dumps.drop_old(engine, "keycloak")

    assert fake.did("DROP DATABASE", "name=keycloak_before_20200101_000000")
    assert not fake.did("DROP DATABASE", "name=keycloak_before_29990101_000000")


def test_old_dumps_go_with_what_is_noted_of_them(state: State) -> None:
    state.dumps.mkdir(parents=True)
    for day in range(1, 9):
        path = state.dumps / f"keycloak-202601{day:02}T000000Z.dump"
        path.write_bytes(b"")
        path.with_suffix(".json").write_text("{}")
    (state.dumps / "of-somebody-else.txt").write_text("stays")

    assert len(dumps.forget_old_dumps(state, "keycloak")) == 3
    assert min(path.name for path in state.dumps.glob("*.json")) == "keycloak-20260104T000000Z.json"
    assert (state.dumps / "of-somebody-else.txt").exists()
