"""What was said before, and what is so now: old lines, old attempts, and facts that deny them."""

from __future__ import annotations

from dataclasses import replace

import pytest

from ops.plan.keycloak.diagnose import diagnose
from ops.plan.keycloak.facts import Database, Facts, PostgresFacts, Role, Schema
from tests.unit.keycloak_facts import HEALTHY, STARTING, failing, line, option


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
