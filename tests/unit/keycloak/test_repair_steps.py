"""What repairs leave on the disk, what goes to PostgreSQL and how, and the way back from every change."""

from __future__ import annotations

import os
import stat
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, cast

import pytest

from ops.certificates import authority
from ops.core.errors import OpsError
from ops.core.process import Result
from ops.core.site import Answer
from ops.core.state import State
from ops.engines import postgres
from ops.engines.engine import Engine
from ops.engines.podman.engine import PodmanEngine
from ops.engines.podman.host import Host
from ops.execution import Execution
from ops.keycloak.failures.table import FAILURES
from ops.keycloak.probe import verify
from ops.keycloak.repair import admin_api as mend
from ops.keycloak.repair import undo_steps as undo
from ops.keycloak.repair.situation import drift_of
from ops.keycloak.repair.steps import KeepCertificate
from ops.keycloak.repair.undo_plan import plan_keep, plan_undo
from ops.keycloak.repair.undo_steps import BringBackCertificate
from tests.unit import builders

RELEASE = builders.wanted()


@dataclass
class Recorder:
    """Stands for a host; remembers what it was asked to run."""

    answers: list[int] = field(default_factory=lambda: [0])
    asked: list[tuple[tuple[str, ...], str]] = field(default_factory=list)

    def run(self, argv: tuple[str, ...], *, stdin: str = "", **_: Any) -> Result:
        self.asked.append((tuple(argv), stdin))
        code = self.answers.pop(0) if self.answers else 0
        return Result(tuple(argv), code, "", "ERROR:  permission denied" if code else "", 0.1)


def host() -> tuple[Engine, Recorder]:
    recorder = Recorder()
    return PodmanEngine(cast(Host, recorder), "cc03"), recorder


@pytest.fixture
def state(tmp_path: Path) -> State:
    return State(tmp_path)


# Statements.


def test_secret_travels_on_standard_input_alone_and_cannot_end_its_quotes() -> None:
    asked, recorder = host()
    postgres.execute(asked, "postgres", "ALTER ROLE keycloak PASSWORD :'p';", {"p": "a'b\\c"})

    ((argv, stdin),) = recorder.asked
    assert "a'b" not in " ".join(argv)
    assert stdin.startswith("\\set p 'a''b\\\\c'\n")
    assert "--single-transaction" in argv and "--set=ON_ERROR_STOP=1" in argv


@pytest.mark.parametrize("way", ["execute", "query"])
def test_statements_with_passwords_reach_no_log_of_postgres(way: str) -> None:
    """The session that they are sent in is opened with these settings, each as an option of its own."""
    asked, recorder = host()
    if way == "execute":
        postgres.execute(asked, "postgres", "ALTER ROLE keycloak PASSWORD :'p';", {"p": "x"})
    else:
        postgres.query(asked, "postgres", "SELECT rolpassword FROM pg_authid")

    ((argv, _),) = recorder.asked
    options = next(word.partition("=")[2] for word in argv if word.startswith("PGOPTIONS="))
    assert argv.index(f"PGOPTIONS={options}") < argv.index("psql")
    assert {
        "log_statement=none", "log_min_duration_statement=-1", "log_min_error_statement=panic", "pg_stat_statements.track=none",
    } <= set(options.split(" -c ")) | {options.removeprefix("-c ").split(" ")[0]}  # fmt: skip


def test_refused_statement_is_told_with_the_words_of_postgres() -> None:
    asked, recorder = host()
    recorder.answers = [3]

    with pytest.raises(OpsError) as refused:
        postgres.execute(asked, "keycloak", "GRANT x;", {})
    assert "permission denied" in refused.value.why


# What undoes a repair.


def test_undo_is_kept_in_order_and_for_its_owner_only(state: State) -> None:
    first = undo.keep(state, "sql", finding="password-drift", database="postgres", statements="ALTER ROLE x;")
    second = undo.keep(state, "aside", slot="keycloak", aside="keycloak-aside-1", serving=True)

    assert [entry.name for entry in undo.kept(state)] == [first, second]
    assert stat.S_IMODE((undo.folder(state) / f"{first}.json").stat().st_mode) == 0o600
    assert stat.S_IMODE(undo.folder(state).stat().st_mode) == 0o700
    assert undo.read(state, first)["statements"] == "ALTER ROLE x;"


def test_what_is_forgotten_is_gone_and_nothing_else(state: State) -> None:
    first, second = (undo.keep(state, "stranger", name=name) for name in ("a", "b"))
    undo.forget(state, first)

    assert [entry.name for entry in undo.kept(state)] == [second]
    assert undo.read(state, first) == {}


def test_last_change_is_undone_first_and_each_waits_for_the_one_before(state: State) -> None:
    undo.keep(state, "sql", finding="role-missing", database="keycloak", statements="DROP ROLE x;")
    undo.keep(state, "config", service="keycloak", version="kc-1", edited="kc-1.edited")
    undo.keep(state, "aside", slot="keycloak", aside="keycloak-aside-1", serving=True)
    plan = plan_undo(undo.kept(state), RELEASE)

    names = [type(step).__name__ for step in plan.steps]
    assert names == ["TakeBack", "AwaitHealthy", "BringBackConfig", "UndoStatements"]
    assert builders.defects(plan) == []
    assert all(step.after_keys for step in plan.steps[1:])


def test_container_that_carried_no_load_is_taken_back_and_not_waited_for(state: State) -> None:
    undo.keep(state, "aside", slot="keycloak", aside="keycloak-aside-1", serving=False)

    assert [type(step).__name__ for step in plan_undo(undo.kept(state), RELEASE).steps] == ["TakeBack"]


@pytest.mark.parametrize(
    ("kind", "data", "steps"),
    [
        ("release", {"number": 4}, ["ActivateRelease", "WriteConfig"]),
        ("certificate", {"service": "nginx", "owner": 60701}, ["BringBackCertificate", "ReloadService"]),
        ("realm", {"calls": [["PUT", "/x", {}]]}, ["UndoRealm"]),
        ("stranger", {"name": "other"}, ["StartStranger"]),
    ],
)
def test_every_kind_of_change_has_its_way_back(state: State, kind: str, data: dict[str, Any], steps: list[str]) -> None:
    undo.keep(state, kind, **data)

    assert [type(step).__name__ for step in plan_undo(undo.kept(state), RELEASE).steps] == steps


def test_verified_repair_leaves_no_container_aside(state: State) -> None:
    undo.keep(state, "sql", finding="x", database="postgres", statements="")
    undo.keep(state, "aside", slot="keycloak", aside="keycloak-aside-2", serving=False)

    assert [step.title.split(",")[0] for step in plan_keep(undo.kept(state)).steps] == ["remove keycloak-aside-2"]


def test_every_finding_of_the_realm_has_its_repair() -> None:
    assert set(mend.REPAIRS) == {failure.id for failure in FAILURES if failure.remedy.api}


def test_recovery_takes_only_the_secret_that_it_needs_into_its_options() -> None:
    assert "bootstrap-admin-*" in mend.SCRIPT
    assert mend.SCRIPT.count("/run/secrets/") == 1


# Verification.


@pytest.mark.parametrize(
    ("answer", "words"),
    [
        (Answer(401, '{"error": "invalid_client", "error_description": "Bad"}'), "HTTP 401 invalid_client Bad"),
        (Answer(502, "<html>\n<h1>502</h1>"), "HTTP 502 <html> <h1>502</h1>"),
        (Answer(0, "timed out"), "timed out"),
    ],
)  # fmt: skip
def test_refusal_is_told_in_one_line(answer: Answer, words: str) -> None:
    assert verify._described(answer) == words


# How what runs differs from the release.

SLOT: dict[str, Any] = {
    "image": "localhost/cc03/keycloak:1", "environment": {"KC_LOG_LEVEL": "info"},
    "deploy": {"resources": {"limits": {"memory": "2147483648"}}}, "healthcheck": {"test": ["CMD", "/healthy"]},
    "volumes": ["/state/config/keycloak:/etc/cc03:ro"],
}  # fmt: skip
IMAGE: dict[str, Any] = {"Id": "abc", "Config": {"Env": ["KC_RUN_IN_CONTAINER=true", "PATH=/bin"], "Entrypoint": ["/entry"]}}
ITEM: dict[str, Any] = {
    "Image": "abc", "ImageName": "localhost/cc03/keycloak:1", "HostConfig": {"Memory": 2147483648},
    "Config": {
        "Env": ["KC_LOG_LEVEL=info", "KC_RUN_IN_CONTAINER=true", "HOME=/opt"], "Entrypoint": "/entry", "Cmd": None,
        "Healthcheck": {"Test": ["CMD-SHELL", "/healthy"]},
    },
    "Mounts": [{"Source": "/state/config/keycloak", "Destination": "/etc/cc03"}],
}  # fmt: skip


def test_container_as_released_does_not_differ() -> None:
    assert list(drift_of(ITEM, SLOT, IMAGE)) == []


@pytest.mark.parametrize(
    ("changed", "words"),
    [
        ({"Image": "def", "ImageName": "other:1"}, "image other:1"),
        ({"Config": {**ITEM["Config"], "Env": [*ITEM["Config"]["Env"], "KC_PROXY=edge"]}}, "variable KC_PROXY is set"),
        ({"Config": {**ITEM["Config"], "Env": ["KC_RUN_IN_CONTAINER=true"]}}, "variable KC_LOG_LEVEL is missing"),
        ({"Config": {**ITEM["Config"], "Cmd": ["start-dev"]}}, "command is start-dev"),
        ({"Config": {**ITEM["Config"], "Entrypoint": ["bash"]}}, "entry point"),
        ({"HostConfig": {"Memory": 1 << 30}}, "memory limit of 1024 MB"),
        ({"Config": {**ITEM["Config"], "Healthcheck": {"Test": ["CMD-SHELL", "curl :8080"]}}}, "health check CMD-SHELL curl"),
        ({"Mounts": []}, "is not mounted"),
    ],
)
def test_every_difference_is_told(changed: dict[str, Any], words: str) -> None:
    (told,) = drift_of({**ITEM, **changed}, SLOT, IMAGE)

    assert words in told


def test_image_that_is_gone_is_a_difference() -> None:
    assert next(drift_of(ITEM, SLOT, None)).startswith("image")


def test_certificate_that_comes_back_keeps_its_links_and_gives_no_key_away(state: State) -> None:
    state.prepare()
    authority.issue_certificate(state, "cc03", "nginx", os.getuid(), ("nginx",))
    folder = state.certs / "nginx"
    before = (folder / "tls.pem").read_bytes()
    performer = Execution.__new__(Execution)
    performer.state = state
    KeepCertificate("keep", "", service="nginx", owner=os.getuid()).run(performer)
    (entry,) = undo.kept(state)

    authority.issue_certificate(state, "cc03", "nginx", os.getuid(), ("nginx",))
    BringBackCertificate("back", "", entry=entry.name, service="nginx", owner=os.getuid()).run(performer)

    assert (folder / "tls.pem").read_bytes() == before
    assert [(folder / name).readlink().name for name in ("public.pem", "key.pem")] == ["tls.pem", "tls.pem"]
    for path in folder.iterdir():
        assert b"PRIVATE KEY" not in path.read_bytes() or stat.S_IMODE(path.stat().st_mode) == 0o600, path
