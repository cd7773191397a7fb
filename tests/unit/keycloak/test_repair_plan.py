"""Repairs as plans: a situation in, steps out; and for whatever is not mended, exact instructions."""

from __future__ import annotations

from dataclasses import replace

import pytest

from ops.certificates.steps import IssueCertificate
from ops.core.plan import Plan
from ops.deploy.steps import AwaitHealthy, ReloadService, StartContainer
from ops.keycloak.failures.diagnose import diagnose
from ops.keycloak.failures.facts import Schema, Session
from ops.keycloak.failures.failure import Failure, Way
from ops.keycloak.failures.table import BY_ID, FAILURES
from ops.keycloak.repair.containers import NEVER
from ops.keycloak.repair.plan import DOES, decide, first_repair, next_way, unsettled
from ops.keycloak.repair.situation import Instructions, Repair
from ops.keycloak.repair.steps import Halt, KeepCertificate, Revive, RunStatements
from ops.keycloak.schema.steps import DumpDatabase
from tests.unit import builders
from tests.unit.keycloak_facts import (
    ADDRESS,
    HEALTHY,
    JDBC,
    NOW,
    container,
    content,
    failing,
    line,
    logged,
    postgres,
    unseen,
)
from tests.unit.keycloak_repairs import DRIFT, SEEN, broken, facts_of, finding, kinds, order, situation, way

# Every mode.


@pytest.mark.parametrize("mode", FAILURES, ids=lambda mode: str(mode.id))
def test_mode_is_repairable_exactly_where_there_is_a_repair(mode: Failure) -> None:
    found = broken(mode.id)
    decided = decide(found, finding(mode.id, found.facts))

    assert isinstance(decided, Repair) == mode.repairable
    if isinstance(decided, Instructions):
        assert decided.lines == mode.remedy.advice
        assert all(decided.lines)


def test_every_failure_is_repaired_or_left_to_a_person_with_advice() -> None:
    assert [failure.id for failure in FAILURES if not failure.remedy.ways and not failure.remedy.advice] == []
    assert set(DOES) == set(Way) == {way for failure in FAILURES for way in failure.remedy.ways}
    assert sum(failure.repairable for failure in FAILURES) >= 78


@pytest.mark.parametrize("mode", [mode.id for mode in FAILURES if mode.repairable])
def test_plan_of_a_repair_can_be_carried_out_and_runs_nothing_new(mode: str) -> None:
    repair = way(mode)

    assert builders.defects(Plan("keycloak.fix", repair.steps)) == []
    assert not [step for step in repair.steps if isinstance(step, NEVER)]
    assert repair.title and repair.undo and repair.notice


@pytest.mark.parametrize("mode", [mode.id for mode in FAILURES if mode.repairable and mode.remedy.dump_first])
def test_dump_comes_before_everything_but_the_stop(mode: str) -> None:
    repair = way(mode)
    first = next(kind for kind in kinds(repair) if kind is not Halt)

    assert first is DumpDatabase


@pytest.mark.parametrize("mode", [mode.id for mode in FAILURES if mode.repairable])
def test_no_repair_deletes_rows_it_could_not_put_back_or_edits_the_lock_table(mode: str) -> None:
    for step in way(mode).steps:
        if isinstance(step, RunStatements):
            assert "databasechangelog" not in step.statements.lower()
            assert "DELETE" not in step.statements or "INSERT" in step.undo_query
            assert "DROP" not in step.statements and "TRUNCATE" not in step.statements.replace("'TRUNCATE'", "")


FORBIDDEN = ("--override", "update databasechangeloglock", "sslrequired=none", "start-dev", "drop schema", "drop database")


@pytest.mark.parametrize("mode", [mode.id for mode in FAILURES if mode.repairable])
def test_no_way_of_a_repair_loosens_or_imports_over(mode: str) -> None:
    """Neither what is carried out, the first way or any later one, nor what a person reads of it."""
    found, tried = broken(mode), frozenset[tuple[str, str]]()
    said = [BY_ID[mode].remedy.words]
    while (repair := next_way(found, finding(mode, found.facts), tried)) is not None:
        said += map(repr, repair.steps)
        tried |= {(mode, repair.kind)}

    assert tried
    assert [word for word in FORBIDDEN if word in " ".join(said).lower()] == []


@pytest.mark.parametrize(
    ("mode", "words"),
    [
        ("crash-loop", "inv logs keycloak"), ("postgres-down", "inv logs postgres"), ("role-missing", "as its superuser"),
        ("redirect-uri", "admin console"), ("certificate-stale", "inv logs nginx"), ("image-not-built", "compose/keycloak"),
    ],
)  # fmt: skip
def test_what_every_way_has_failed_for_is_left_with_where_to_look(mode: str, words: str) -> None:
    found = broken(mode)
    every = frozenset((mode, kind) for kind in ("sql", "release", "earlier release", "start", "reload", "restart nginx",
                                                "certificate", "stranger", "admin API", "bootstrap-admin"))  # fmt: skip
    decided = decide(found, finding(mode, found.facts), every)

    assert isinstance(decided, Instructions)
    assert words in " ".join(decided.lines)
    assert "{" not in "".join(decided.lines)


def test_unknown_release_leaves_containers_to_a_person_and_still_mends_the_database() -> None:
    lost = situation(facts_of("container-missing"), wanted=None)
    decided = decide(lost, finding("container-missing"))

    assert isinstance(decided, Instructions) and "inv rollback" in decided.lines[1]
    assert isinstance(decide(situation(postgres(login="password authentication failed"), wanted=None),
                             finding("password-drift")), Repair)  # fmt: skip


# The order.


def test_crash_loop_is_stopped_then_dumped_then_mended_then_started() -> None:
    down = replace(failing(), postgres=facts_of("schema-rights").postgres)
    repair = next_way(situation(down), finding("schema-rights", down))

    assert repair is not None
    assert kinds(repair) == [Halt, DumpDatabase, RunStatements, StartContainer, AwaitHealthy]
    assert order(repair, *kinds(repair))


def test_keycloak_that_serves_is_not_touched_for_the_database() -> None:
    assert kinds(way("database-wrong-owner")) == [DumpDatabase, RunStatements]
    assert kinds(way("password-drift")) == [RunStatements]


def test_keycloak_that_has_served_is_let_recover_and_not_restarted_at_once() -> None:
    said = line("Keycloak 26.7.3 on JVM (powered by Quarkus 3.3) started in 9.1s. Listening on: http://0.0.0.0:8080", "INFO")
    waits = logged(replace(facts_of("password-drift"), edge=replace(HEALTHY.edge, ready=503)), said)
    before = logged(waits, replace(said, at=NOW - 4000.0))

    assert kinds(next_way(situation(waits), finding("password-drift"))) == [RunStatements, Revive, AwaitHealthy]
    assert Halt in kinds(next_way(situation(before), finding("password-drift")))


def test_migration_of_its_own_is_never_broken_off() -> None:
    holder = Session(9, ADDRESS, 20.0, JDBC)
    migrating = replace(
        unseen(container(running_seconds=700.0)), postgres=postgres(schema=Schema(create=False, holder=holder)).postgres
    )
    repair = next_way(situation(migrating), finding("schema-rights", migrating))

    assert repair is not None and Halt not in kinds(repair)
    assert next_way(situation(migrating, drift=DRIFT), finding("option-removed")) is None
    assert next_way(situation(migrating, drift=DRIFT), finding("not-ready")) is None


def test_two_findings_the_gravest_that_can_be_mended_goes_first() -> None:
    both = replace(postgres(login="password authentication failed"), edge=replace(HEALTHY.edge, locked=("1f2e",)))
    diagnosis = diagnose(both)
    first = first_repair(situation(both), diagnosis)
    second = first_repair(situation(both), diagnosis, frozenset({("password-drift", "sql")}))

    assert first is not None and first.finding == "password-drift"
    assert second is not None and second.finding == "users-locked"


def test_finding_that_cannot_be_mended_does_not_keep_the_other_from_it() -> None:
    both = replace(content(realms={"master": True}), nginx="exited")
    seen = builders.with_state(SEEN, "exited", "nginx")

    repair = first_repair(situation(both, seen=seen), diagnose(both))
    assert repair is not None and repair.finding == "nginx-down"
    assert first_repair(situation(both, seen=seen), diagnose(both), frozenset({("nginx-down", "start")})) is None


def test_only_what_may_pass_by_itself_is_looked_at_twice() -> None:
    assert unsettled(diagnose(facts_of("edge-fails")).findings) == {"edge-fails"}
    assert unsettled(diagnose(facts_of("role-cannot-login")).findings) == set()
    assert unsettled([finding("option-unknown")]) == {"option-unknown"}


def test_sound_keycloak_needs_no_repair() -> None:
    assert first_repair(situation(HEALTHY), diagnose(HEALTHY)) is None


def test_nothing_is_made_while_a_disk_is_full_whatever_else_is_found() -> None:
    full = replace(unseen(container(status="exited", exit_code=1)), disks={"/var": 3 << 20})
    told = logged(full, line("java.io.IOException: No space left on device"))
    diagnosis = diagnose(full)

    assert [one.id for one in diagnosis.findings] == ["disk-full"]
    assert first_repair(situation(full), diagnosis) is None
    assert first_repair(situation(told), diagnose(replace(told, disks={}))) is None
    both = replace(full, edge=replace(HEALTHY.edge, locked=("1f2e",)))
    assert {one.id for one in diagnose(both).findings} == {"disk-full", "users-locked"}
    assert first_repair(situation(both), diagnose(both)) is None
    assert isinstance(decide(situation(both), finding("users-locked", both), full=True), Instructions)


def test_standby_and_a_setting_of_the_whole_server_are_left_to_a_person() -> None:
    for where in ("standby", "set for the server"):
        decided = decide(situation(postgres(read_only=where)), finding("postgres-read-only"))
        assert isinstance(decided, Instructions) and "pg_is_in_recovery" in decided.lines[0]


def test_certificate_of_postgresql_is_issued_again_and_keycloak_started_after_it() -> None:
    repair = way("postgres-certificate-expired")

    assert kinds(repair) == [Halt, KeepCertificate, IssueCertificate, ReloadService, StartContainer, AwaitHealthy]
    issued = next(step for step in repair.steps if isinstance(step, IssueCertificate))
    assert issued.service == "postgres"
