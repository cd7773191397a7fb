"""A Keycloak that is well has no finding: at rest, at work, during its first start with all migrations, during a restart."""

from __future__ import annotations

import time

from ops.core.process import until
from tests.drill.conftest import Record
from tests.drill.keycloak.breakage import Suffers, answers
from tests.drill.keycloak.hands import SLOT, Keycloak

STARTS_WITHIN = 180.0
PEOPLE, PAUSE = 5, 1.0
"""Seconds: at most 5 logins a second, and 5 under way, however fast Keycloak is. nginx lets one address have no more."""


def not_ready(keycloak: Keycloak) -> str:
    answer = keycloak.podman("exec", keycloak.name(), "/usr/local/bin/healthy", ok=None)
    return answer.stderr if answer.returncode else ""


def alarms_while(keycloak: Keycloak, waits: Suffers) -> tuple[list[str], int]:
    """Findings for as long as there is something to wait for, and how often was looked."""
    alarms: list[str] = []
    looked = 0

    def look() -> str:
        nonlocal looked
        looked += 1
        found = [f"{one['id']}: {one['saw']}" for one in keycloak.diagnosis()["findings"]]
        if reason := waits(keycloak):
            alarms.extend(found)
        return reason

    reason = until(look, STARTS_WITHIN, longest_pause=0.2)
    assert not reason, reason
    return alarms, looked


def test_sound_keycloak_has_no_finding(sound: Keycloak, record: Record) -> None:
    diagnosis = sound.diagnosis()

    record("diagnosis: sound", diagnosis["seconds"], 5.0)
    assert (diagnosis["findings"], diagnosis["unread"], diagnosis["code"]) == ([], [], 0)


def test_restart_is_no_failure(sound: Keycloak, record: Record) -> None:
    sound.podman("restart", "--time", "20", sound.name())
    began = time.monotonic()
    alarms, looked = alarms_while(sound, not_ready)

    record("Keycloak ready after a restart", time.monotonic() - began, note=f"{looked} diagnoses meanwhile")
    assert alarms == []


def test_first_start_with_every_migration_is_no_failure(sound: Keycloak, record: Record) -> None:
    try:
        sound.podman("stop", "--time", "20", sound.name())
        sound.psql(
            f"DROP DATABASE {SLOT} WITH (FORCE);\nCREATE DATABASE {SLOT} OWNER {SLOT};\n"
            f"REVOKE ALL ON DATABASE {SLOT} FROM PUBLIC"
        )
        sound.podman("start", sound.name())
        began = time.monotonic()
        # The realm would be applied then, by the deploy that starts it.
        alarms, looked = alarms_while(sound, answers)
        record("Keycloak ready on an empty database", time.monotonic() - began, note=f"{looked} diagnoses meanwhile")
        assert alarms == []
    finally:
        sound.rewind()
        sound.await_login()


def test_people_at_work_are_no_failure(sound: Keycloak, record: Record) -> None:
    sound.begin_load(PEOPLE, PAUSE)
    try:
        time.sleep(10)
        diagnoses = [sound.diagnosis() for _ in range(3)]
    finally:
        sound.end_load()

    failed = [problem for _, problem in sound.logins if problem]
    record("diagnosis: under load", max(one["seconds"] for one in diagnoses), 5.0, f"{len(sound.logins)} logins meanwhile")
    assert failed == []
    assert [one["findings"] for one in diagnoses] == [[], [], []]
