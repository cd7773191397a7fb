"""A Keycloak that is well has no finding: at rest, at work, during its first start with all migrations, during a restart."""

from __future__ import annotations

import time

from ops.machine.wait import until
from tests.drill.conftest import Record
from tests.drill.keycloak.hands import SLOT, Keycloak

STARTS_WITHIN = 180.0
PEOPLE, PAUSE = 10, 1.0
"""Ten who each log in once a second."""


def ready(keycloak: Keycloak) -> bool:
    answer = keycloak.podman("exec", keycloak.name(), "/usr/local/bin/healthy", ok=None)
    return answer.returncode == 0


def alarms_until_ready(keycloak: Keycloak) -> tuple[list[str], int]:
    """Findings from now until it is ready, and how often was looked."""
    alarms: list[str] = []
    looked = 0

    def look() -> str:
        nonlocal looked
        looked += 1
        alarms.extend(f"{one['id']}: {one['saw']}" for one in keycloak.diagnosis()["findings"])
        return "" if ready(keycloak) else "it is not ready"

    assert not until(look, STARTS_WITHIN, longest_pause=0.2)
    return alarms, looked


def test_sound_keycloak_has_no_finding(sound: Keycloak, record: Record) -> None:
    diagnosis = sound.diagnosis()

    record("diagnosis: sound", diagnosis["seconds"], 5.0)
    assert (diagnosis["findings"], diagnosis["unread"], diagnosis["code"]) == ([], [], 0)


def test_restart_is_no_failure(sound: Keycloak, record: Record) -> None:
    sound.podman("restart", "--time", "20", sound.name())
    began = time.monotonic()
    alarms, looked = alarms_until_ready(sound)

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
        alarms, looked = alarms_until_ready(sound)
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
