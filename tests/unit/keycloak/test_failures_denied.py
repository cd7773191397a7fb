"""What was said before, and what is so now: old lines, old attempts, and facts that deny them."""

from __future__ import annotations

from dataclasses import replace

import pytest

from ops.keycloak.failures.diagnose import as_json, diagnose
from ops.keycloak.failures.facts import Database, Facts, PostgresFacts, Role, Schema
from ops.keycloak.failures.failure import RISK
from ops.keycloak.failures.table import BY_ID
from ops.keycloak.repair.plan import first_repair
from tests.unit.keycloak_facts import HEALTHY, STARTING, content, failing, line, logged, option, postgres, server
from tests.unit.keycloak_repairs import situation


def ids(facts: Facts) -> list[str]:
    return [finding.id for finding in diagnose(facts).findings]


def test_loop_that_is_killed_each_time_is_told_between_two_kills() -> None:
    looping = replace(STARTING, container=replace(STARTING.container, restarts=2, running_seconds=3.0, last_exit=137))

    assert ids(looping) == ["out-of-memory"]
    assert ids(replace(looping, container=replace(looping.container, last_exit=1))) == []


def test_keycloak_that_had_started_and_lost_its_database_is_not_starting() -> None:
    lost = replace(STARTING, edge=replace(STARTING.edge, initialized=True))

    assert ids(STARTING) == []
    assert ids(lost) == ["not-ready"]
    assert diagnose(lost).notes == ()


@pytest.mark.parametrize(
    ("text", "mode", "denied"),
    [
        ('FATAL: role "keycloak" is not permitted to log in', "role-cannot-login", {"role": Role()}),
        ('FATAL: role "keycloak" does not exist', "role-missing", {"role": Role()}),
        ('FATAL: database "keycloak" does not exist', "database-missing", {"database": Database()}),
        ('FATAL: database "keycloak" is not currently accepting connections', "database-closed", {"database": Database()}),
        ("FATAL: too many connections for role keycloak", "role-connections-full", {"login": ""}),
        ("ERROR: must be owner of table databasechangeloglock", "lock-table-rights", {"schema": Schema()}),
        ('FATAL: password authentication failed for user "keycloak"', "password-drift", {"login": ""}),
        ("ERROR: permission denied for table realm", "schema-rights", {"schema": Schema()}),
    ],
)
def test_line_of_an_outage_that_is_over_is_not_believed_against_the_facts(
    text: str, mode: str, denied: dict[str, object]
) -> None:
    down = replace(failing(line(text)), unread={}, postgres=PostgresFacts(role=Role(), database=Database()))
    told = replace(down, unread={"database": "no answer"}, postgres=PostgresFacts())

    assert ids(told) == [mode]
    assert mode not in ids(replace(down, postgres=replace(down.postgres, **denied)))  # type: ignore[arg-type]


def test_database_kind_that_is_set_beside_another_that_is_built_in_ends_the_start_and_stores_nothing() -> None:
    assert ids(option(db="dev-file")) == ["build-options-differ"]
    rebuilding = replace(option(db="dev-file").server, command=("java", "start"))
    assert ids(replace(HEALTHY, server=rebuilding))[0] == "h2-in-use"


def test_postgresql_that_is_full_even_for_its_superuser_is_not_silent() -> None:
    full = replace(HEALTHY, postgres=PostgresFacts(answers=False, said="FATAL:  sorry, too many clients already"))

    assert ids(full) == ["postgres-full"]


SETS = frozenset({"1|a|f", "2|a|f"})


@pytest.mark.parametrize(
    ("version", "applied", "found"),
    [
        ("26.7.9", SETS, []), ("26.7.9", SETS | {"3|a|g"}, ["schema-newer"]), ("26.7.3", SETS | {"3|a|g"}, ["schema-newer"]),
        ("26.8.0", SETS, ["schema-newer"]), ("26.6.1", SETS - {"2|a|f"}, []),
    ],
)  # fmt: skip
def test_schema_is_newer_by_its_change_sets_as_an_upgrade_judges_it(
    version: str, applied: frozenset[str], found: list[str]
) -> None:
    facts = content(version=version, changesets=applied)

    assert ids(replace(facts, server=replace(facts.server, changesets=SETS))) == found


def test_schema_of_a_later_patch_is_not_called_newer_where_change_sets_are_unknown() -> None:
    assert ids(content(version="26.7.9")) == []
    assert ids(content(version="26.8.0")) == ["schema-newer"]


def test_content_that_nobody_could_read_is_told_and_the_diagnosis_is_not_called_healthy() -> None:
    blind = diagnose(postgres(content=None))

    assert blind.findings == ()
    assert blind.unread and "database content" in blind.unread[0]
    assert as_json(blind, 1.0)["healthy"] is False
    assert diagnose(STARTING).unread == ()


# What is deprecated, not read at all, or somebody else's.


def test_name_of_the_first_administrator_that_is_deprecated_still_acts_and_is_a_note() -> None:
    diagnosis = diagnose(server(environment={"KEYCLOAK_ADMIN": "admin", "KEYCLOAK_ADMIN_PASSWORD": "[REDACTED]"}))

    assert diagnosis.findings == ()
    assert any("KC_BOOTSTRAP_ADMIN_USERNAME" in note and "deprecated" in note for note in diagnosis.notes)
    assert ids(server(environment={"KEYCLOAK_USER": "admin"})) == ["option-removed"]


def test_option_of_a_provider_with_single_dashes_still_acts() -> None:
    mode = BY_ID["provider-option-old-name"]

    assert mode.severity == RISK
    assert "ignored" not in mode.means


@pytest.mark.parametrize("variable", ["JAVA_OPTS", "JAVA_OPTS_APPEND", "JAVA_OPTS_KC_HEAP"])
def test_variable_that_only_kc_sh_reads_says_nothing_of_the_heap(variable: str) -> None:
    """The entry point starts java itself."""
    assert ids(server(environment={variable: "-Xmx1900m"})) == []
    assert ids(server(environment={"JDK_JAVA_OPTIONS": "-Xmx1900m"})) == ["heap-too-large"]
    assert ids(server(jvm=(), command=("java", "-Xmx1900m", "start", "--optimized"))) == ["heap-too-large"]


@pytest.mark.parametrize(
    ("text", "cause"),
    [
        ("Error when connecting to LDAP: ldap.invalid:389: javax.naming.CommunicationException: ldap.invalid:389 "
         "[Root exception is java.net.UnknownHostException: ldap.invalid]", "ldap-fails"),
        ("Failed to send email: org.keycloak.email.EmailException: Connect failed "
         "| java.net.UnknownHostException: smtp.invalid",
         "mail-fails"),
    ],
)  # fmt: skip
def test_name_of_another_server_that_is_unknown_is_not_the_databases(text: str, cause: str) -> None:
    assert ids(failing(line(text))) == ["crash-loop", cause]
    assert ids(failing(line("Caused by: java.net.UnknownHostException: postgres", ""))) == ["database-unreachable"]


def test_bad_host_name_in_a_loop_is_mended_as_that_and_not_as_an_unknown_one() -> None:
    loop = failing(line("ERROR: hostname must be set to a URL when hostname-admin is set"))
    repair = first_repair(situation(loop, drift=("variable KC_HOSTNAME is another",)), diagnose(loop))

    assert repair is not None and repair.finding == "hostname-invalid"


@pytest.mark.parametrize(("theme", "found"), [("shop", ["theme-missing"]), ("", []), ("keycloak", [])])
def test_missing_theme_is_believed_where_it_is_the_realms(theme: str, found: list[str]) -> None:
    """Whoever asks for the resources of a theme by any name makes Keycloak look for it."""
    text = "Failed to find LOGIN theme shop, using built-in themes"

    assert ids(logged(content(login_theme=theme), *[line(text)] * 3)) == found


def test_read_only_transaction_is_not_believed_against_a_server_that_takes_writes() -> None:
    text = "ERROR: cannot execute UPDATE in a read-only transaction"

    assert ids(logged(HEALTHY, line(text))) == []
    assert ids(logged(replace(HEALTHY, unread={"database": "late"}, postgres=PostgresFacts()), line(text))) == [
        "postgres-read-only"
    ]
