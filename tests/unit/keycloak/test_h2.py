"""Moving from H2: the file is found and copied whole, what its answers mean, in which order things happen, what comes back."""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Mapping, Sequence
from pathlib import Path
from types import SimpleNamespace
from typing import Any, cast

import pytest

from ops.core.errors import OpsError
from ops.core.process import Result
from ops.core.state import State
from ops.engines.engine import OneOff
from ops.execution import Execution
from ops.keycloak.h2 import file as h2
from ops.keycloak.h2.file import Source, file_of, parse_answer
from ops.keycloak.h2.plan import differences, plan_back, plan_migration, refuse_other_version
from ops.keycloak.h2.steps import ExportRealms, ImportRealms
from ops.keycloak.schema.plan import Schema
from ops.keycloak.schema.steps import DropBeside, SwapDatabase
from tests.unit.builders import before, defects, keys

COUNTS = {"realms": 3, "clients": 21, "users": 18, "roles": 90}
SOURCE = Source("/h2/keycloakdb.mv.db", "26.7.3", COUNTS, ("cc03", "master", "shop"))
PRESENT = Schema("26.7.3", frozenset(), {"realms": 2, "clients": 17, "users": 44, "roles": 84})


def test_the_one_database_of_a_folder_is_meant() -> None:
    assert file_of(["keycloakdb.mv.db", "keycloakdb.trace.db"]) == "keycloakdb.mv.db"


@pytest.mark.parametrize("names", [["keycloakdb.trace.db"], ["a.mv.db", "b.mv.db"]])
def test_folder_with_none_or_several_is_refused(names: list[str]) -> None:
    with pytest.raises(OpsError, match="H2 database"):
        file_of(names)


def test_answer_of_the_query_is_read_out_of_the_shell_s_table() -> None:
    output = "'cc03-h2 ' || (SELECT ...\ncc03-h2 26.7.3 3 21 18 90 cc03,master,shop\n(1 row, 12 ms)\n"

    assert parse_answer(SOURCE.path, f"{output}user:\n") == SOURCE
    assert parse_answer(SOURCE.path, f"{output}user:sa\n").user == "sa"


@pytest.mark.parametrize(
    ("said", "why"),
    [
        ("org.h2.jdbc.JdbcSQLNonTransientConnectionException: Unsupported database file version [90048-240]", "another major"),
        ("Database may be already in use: null [90020-240]", "another program has it open"),
        ('Table "MIGRATION_MODEL" not found [42102-240]', "it holds no tables of Keycloak"),
        ("Wrong user name or password [28000-240]", "its user and password"),
        ("Error: File corrupted while reading record [90030-240]", "it is damaged: Error: File corrupted"),
        ("", "it is damaged"),
    ],
)
def test_database_that_cannot_be_read_is_refused_by_h2_s_error_code(said: str, why: str) -> None:
    with pytest.raises(OpsError) as caught:
        parse_answer(SOURCE.path, said)

    assert caught.value.why.startswith(why)
    assert "it was not touched" in caught.value.why
    assert caught.value.next_step


def test_database_of_another_version_is_refused_with_the_way_there() -> None:
    refuse_other_version(SOURCE, "26.7.9")
    with pytest.raises(OpsError) as caught:
        refuse_other_version(Source("p", "26.4.7", COUNTS, ()), "26.7.3")

    assert "written by Keycloak 26.4.7, and this is 26.7.3" in caught.value.what
    # An older Keycloak cannot be deployed on a database that a later one has migrated.
    assert "KEYCLOAK_VERSION=26.4.7" not in caught.value.next_step
    assert "unpack Keycloak 26.7.3 elsewhere" in caught.value.next_step
    with pytest.raises(OpsError) as caught:
        refuse_other_version(Source("p", "26.9.0", COUNTS, ()), "26.7.3")
    assert "KEYCLOAK_VERSION=26.9.0" in caught.value.next_step


def test_keycloak_serves_until_everything_has_been_imported_and_is_dumped_before_the_swap() -> None:
    plan = plan_migration(SOURCE, PRESENT, {}, ExportRealms("export", "export"), running=True, grace=30, start_seconds=600)

    assert defects(plan) == []
    assert {"export", "import"} <= before(plan, "stop keycloak")
    assert {"stop keycloak", "dump keycloak"} <= before(plan, "swap")
    assert "verify" in before(plan, "drop former keycloak")
    assert "44 users" in plan.destroys[0]
    assert "3 realms, 21 clients, 18 users, 90 roles (cc03, master, shop)" in plan.notes[0]


def test_nothing_is_destroyed_where_postgresql_holds_nothing() -> None:
    plan = plan_migration(SOURCE, None, {}, ExportRealms("export", "export"), running=False, grace=30, start_seconds=600)

    assert (plan.destroys, defects(plan)) == ((), [])
    assert "stop keycloak" not in keys(plan)


@pytest.mark.parametrize(
    ("former", "running", "steps"),
    [
        ("", True, ["drop import", "tidy"]),
        ("", False, ["start keycloak", "healthy keycloak", "drop import", "tidy"]),
        (
            "keycloak_before_x",
            True,
            ["stop keycloak", "swap back", "start keycloak", "healthy keycloak", "drop import", "tidy"],
        ),
        ("keycloak_before_x", False, ["swap back", "start keycloak", "healthy keycloak", "drop import", "tidy"]),
    ],
)
def test_way_back_undoes_what_was_done_and_no_more(former: str, running: bool, steps: list[str]) -> None:
    plan = plan_back(former=former, running=running, grace=30, start_seconds=600)

    assert keys(plan) == steps
    assert defects(plan) == []


def test_what_has_not_arrived_is_named() -> None:
    assert differences({"users": 3, "roles": 2}, {"users": 2, "roles": 2}) == ["users: 3 in H2, 2 arrived"]


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
    monkeypatch.setattr(h2, "sha256", lambda path: next(digests))
    with pytest.raises(OpsError, match="changed while it was copied"):
        h2.copy(file, tmp_path / "work")


# The steps, asked of an engine.


class Asked:
    """Stands for an engine: answers by what a command or a script holds, and remembers everything."""

    def __init__(self, **answers: str) -> None:
        self.answers, self.ran = {"run keycloak-import": "cc03: imported", **answers}, list[str]()

    def exec(self, slot: str, argv: Sequence[str], **how: Any) -> Result:
        return self._said(f"{' '.join(argv)} {how.get('stdin', '')}")

    def run_as(self, slot: str, service: Mapping[str, Any], argv: Sequence[str], **how: Any) -> Result:
        return self._said(f"run {slot} {service['volumes']} import")

    def run(self, one: OneOff, **how: Any) -> Result:
        (folder,) = (path for path, target in one.mounts.items() if target == "/export")
        if "shop" in self.answers:
            (folder / "shop-realm.json").write_text("{}")
        return self._said(f"run {one.name} {one.image} fixed={one.fixed} {list(one.mounts.values())}")

    def build_image(self, name: str, tag: str, *_: Any, stage: str) -> None:
        self._said(f"build {tag} {stage}")

    def _said(self, asked: str) -> Result:
        self.ran.append(asked)
        said = next((answer for words, answer in self.answers.items() if words in asked), "")
        return Result((asked,), int(said.startswith("ERROR")), said, "", 0.0)

    def did(self, *words: str) -> bool:
        return any(all(word in said for word in words) for said in self.ran)


def execution(tmp_path: Path, engine: Asked) -> Execution:
    state = State(tmp_path)
    (state.root / "h2" / "export").mkdir(parents=True)
    nothing = SimpleNamespace(engine=engine, state=state, report=lambda *_: None, reporter=lambda _: lambda text: None)
    return cast(Execution, nothing)


FILL = ImportRealms("import", "import", folder="h2", service={"user": f"{os.getuid()}:0", "volumes": []}, counts={"users": 3})


def counted(users: int) -> dict[str, str]:
    """Answers of a database with so many users, the account of the operations client among them."""
    schema = json.dumps({"version": "26.7.3", "changesets": [], "counts": {"users": users, "clients": 9}})
    return {"databasechangelog": schema, "client_id = :'own'": "1"}


def test_import_fills_a_database_beside_the_present_one(tmp_path: Path) -> None:
    engine = Asked(**counted(4))
    FILL.run(execution(tmp_path, engine))

    assert engine.did("CREATE DATABASE", "fresh=keycloak_import") and engine.did("run keycloak-import", "/h2/export:/import:ro")
    assert not engine.did("RENAME") and not engine.did("DROP DATABASE")


@pytest.mark.parametrize(
    ("answers", "why"),
    [
        (counted(3), "users: 3 in H2, 2 arrived"),
        ({**counted(4), "run keycloak-import": "ERROR: no"}, "ERROR: no"),
        ({**counted(4), "client_id = :'own'": "ERROR: relation does not exist"}, "ERROR: relation does not exist"),
    ],
)
def test_import_that_fails_drops_what_it_filled(tmp_path: Path, answers: dict[str, str], why: str) -> None:
    engine = Asked(**answers)
    with pytest.raises(OpsError) as caught:
        FILL.run(execution(tmp_path, engine))

    assert why in caught.value.why
    assert engine.did("DROP DATABASE", "name=keycloak_import") and not engine.did("RENAME")


def test_export_runs_the_distribution_apart_and_is_refused_where_nothing_came(tmp_path: Path) -> None:
    export = ExportRealms("export", "export", folder="h2", user="sa", tag="keycloak-distribution:1", context="/x")
    engine = Asked(shop="")
    export.run(execution(tmp_path / "a", engine))

    assert engine.did("build keycloak-distribution:1 distribution")
    assert engine.did("run keycloak-h2 keycloak-distribution:1 fixed=False ['/h2', '/export']")
    with pytest.raises(OpsError, match="exported nothing"):
        export.run(execution(tmp_path / "b", Asked()))


@pytest.mark.parametrize("keep", [True, False])
def test_previous_database_is_kept_or_dropped_once_another_has_its_name(
    tmp_path: Path, keep: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("ops.keycloak.schema.dump._now", lambda: "20260101_000000")
    engine = Asked(**{"SELECT datname": "keycloak_before_20260101_000000"})
    SwapDatabase("swap", "swap", other="keycloak_import", keep=keep).run(execution(tmp_path, engine))

    assert engine.did("RENAME", "fresh=keycloak_import", "present=keycloak")
    assert engine.did("DROP DATABASE") is not keep


def test_databases_beside_the_present_one_are_dropped(tmp_path: Path) -> None:
    engine = Asked(**{"SELECT datname": "keycloak_import"})
    DropBeside("drop", "drop", kind="import").run(execution(tmp_path, engine))

    assert engine.did("SELECT datname", "prefix=keycloak_import") and engine.did("DROP DATABASE", "name=keycloak_import")
