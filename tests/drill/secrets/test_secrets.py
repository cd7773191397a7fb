"""Every secret is rotated under load; what is killed is completed, what is refused is put back, and no value lies about."""

from __future__ import annotations

import json
import secrets
import time
from pathlib import Path

import pytest

from ops.core.state import Below, State
from ops.secrets import verifiers
from ops.secrets.table import TARGETS, target_named
from ops.store import versions
from ops.store.releases import current_number
from tests.drill.conftest import Record, Two
from tests.drill.flood import failed
from tests.drill.load import Load, load
from tests.drill.secrets.logins import assert_newest_alone_is_accepted, newest, rotated, targets_of
from tests.drill.stack import Drill, inv, succeeds
from tests.drill.test_kill import killed_until_healthy
from tests.drill.test_killed_deploy import break_off
from tests.smoke.accounts import Account
from tests.smoke.conftest import item_input
from tests.smoke.live import Live

pytestmark = pytest.mark.usefixtures("here", "remembered")

APP = ("secrets.rotate", "postgres-app,redis-app", "--yes")
EXPORTERS = ("secrets.rotate", "postgres-exporter,redis-exporter", "--yes")
MOMENTS = (
    (APP, "generate postgres-app"), (APP, "hand postgres-app"), (APP, "release"), (APP, "healthy backend-surge"),
    (APP, "remove backend-1"), (APP, "prove redis-app in backend-2"), (APP, "settle postgres-app"), (APP, "verify redis-app"),
    (EXPORTERS, "hand redis-exporter"), (EXPORTERS, "promote prometheus"),
    (("secrets.rotate", "keycloak-keeper", "--yes"), "hand keycloak-keeper"),
)  # fmt: skip
"""(command, step at which it is killed)"""
UNFINISHED = ("hand postgres-app", "release", "healthy backend-surge", "remove backend-1", "prove redis-app in backend-2")
"""Moments at which neither of the two has come to its end: what was begun is completed, not begun anew."""


class Elsewhere(State):
    """The state folder, with another place for what this drill's own prober writes: each rotation has one too."""

    prober = Below("prober-of-the-drill")


def told(met: Load) -> str:
    asked = f"{met.users['requests']} + {len(met.site.samples)} requests, {failed(met.users)} failed"
    return f"{asked}; {met.people.told()}; {met.held.told()}"


def test_every_secret_is_rotated_twice_and_nobody_notices(stack: Drill, live: Live, two: Two, record: Record) -> None:
    targets = targets_of(stack)
    before = {target: newest(stack, target) for target in targets}
    servers = {slot: stack.containers()[slot]["State"]["StartedAt"] for slot in ("postgres", "redis", "nginx")}
    with load(stack, live, two, state=Elsewhere(stack.project.state.root)) as met:
        took = []
        for _ in range(2):
            took.append(rotated("--all"))
            time.sleep(2)
    record(f"secrets.rotate --all, the slower of 2 ({len(targets)} secrets)", max(took), note=told(met))

    met.assert_nobody_noticed()
    assert all(newest(stack, target) >= before[target] + 2 for target in targets)
    assert {slot: stack.containers()[slot]["State"]["StartedAt"] for slot in servers} == servers
    assert_newest_alone_is_accepted(stack, *targets)
    # A crash does not bring back what the containers of the databases were created with.
    for slot in ("postgres", "redis"):
        killed_until_healthy(stack, slot)
    assert_newest_alone_is_accepted(stack, *(one for one in targets if one.owner in ("postgres", "redis")))
    stack.await_healthy()
    stack.assert_as_wanted()
    assert inv("secrets").returncode == 0


@pytest.mark.parametrize(("command", "moment"), MOMENTS, ids=lambda value: value if isinstance(value, str) else value[1])
def test_rotation_that_was_killed_is_completed(
    stack: Drill, live: Live, editor: Account, record: Record, tmp_path: Path, command: tuple[str, ...], moment: str
) -> None:
    targets = [target_named(name) for name in command[1].split(",")]
    break_off(stack, moment, tmp_path / "log", command=command)
    made = {target: newest(stack, target) for target in targets}
    # Crashes in between, whose starts set passwords from the secrets that the containers have.
    for slot in ("postgres", "redis"):
        killed_until_healthy(stack, slot)

    record(f"secrets.rotate after one killed in: {moment}", succeeds(*command))
    assert_newest_alone_is_accepted(stack, *targets)
    if command == APP and moment in UNFINISHED:
        assert {target: newest(stack, target) for target in targets} == made
    assert stack.unhealthy() == "" and inv("secrets").returncode == 0
    assert editor("POST", "/items", json=item_input(sku=f"DRILL-{secrets.token_hex(6)}")).status_code == 201
    stack.assert_as_wanted()


@pytest.mark.parametrize("moment", ["remove backend-1", "settle postgres-app"])
def test_deploy_completes_a_rotation_that_was_killed(stack: Drill, tmp_path: Path, moment: str) -> None:
    break_off(stack, moment, tmp_path / "log", command=APP)
    stack.deploy()
    assert_newest_alone_is_accepted(stack, target_named("postgres-app"), target_named("redis-app"))
    stack.assert_as_wanted()


@pytest.mark.parametrize(
    ("breaks", "mends", "says"),
    [
        ("CONNECTION LIMIT 0", "CONNECTION LIMIT 48", "PostgreSQL refuses"),
        ("SET search_path = nowhere", "RESET search_path", "backend-surge"),
    ],
    ids=["checker", "consumer"],
)
def test_secret_that_is_refused_is_put_back(
    stack: Drill, live: Live, two: Two, record: Record, breaks: str, mends: str, says: str
) -> None:
    """The role of the new version may not log in, or finds no tables: the first new container never gets ready."""
    app = target_named("postgres-app")
    before = newest(stack, app)
    other = "app_2" if before % 2 else "app"
    stack.psql(f"ALTER ROLE {other} {breaks}")
    try:
        with load(stack, live, two, state=Elsewhere(stack.project.state.root)) as met:
            began = time.monotonic()
            answer = inv("secrets.rotate", "postgres-app", "--yes")
            took = time.monotonic() - began
    finally:
        stack.psql(f"ALTER ROLE {other} {mends}")
    record(f"secrets.rotate postgres-app, put back: {says}", took, note=told(met))

    assert answer.returncode == 1 and says in answer.stderr, answer.stdout + answer.stderr
    assert newest(stack, app) == before
    met.assert_nobody_noticed()
    # The last thing that was told: the old one alone.
    stack.deploy()
    assert verifiers.accepts(stack.project, app.to, app.secret, before)
    assert versions.accepted(stack.project.state, app.secret) in (None, (before,))
    rotated("postgres-app")
    assert_newest_alone_is_accepted(stack, app)
    stack.assert_as_wanted()


def test_rollback_to_a_release_of_before_serves_with_todays_secrets(
    stack: Drill, live: Live, editor: Account, record: Record
) -> None:
    before = current_number(stack.project.state)
    rotated("postgres-app,redis-app,postgres-exporter")
    assert current_number(stack.project.state) != before

    record("inv rollback to a release of before a rotation", succeeds("rollback", "--to", str(before), "--yes"))
    stack.await_healthy()
    assert editor("POST", "/items", json=item_input(sku=f"DRILL-{secrets.token_hex(6)}")).status_code == 201
    assert_newest_alone_is_accepted(stack, target_named("postgres-app"), target_named("redis-app"))


def test_no_value_lies_about_after_all_that_and_one_that_does_is_found(stack: Drill) -> None:
    rotated("redis-app")
    backup = inv("backup.make")
    assert backup.returncode == 0, backup.stderr
    clean = inv("secrets.check", "--json")
    assert clean.returncode == 0, clean.stdout + clean.stderr
    state = stack.project.state
    made = [target for target in TARGETS if versions.numbers(state, target.secret)]
    assert json.loads(clean.stdout)["secrets"] == len(made) + 1 >= 21, "and the recovery key"

    canary = versions.value_of(state, "redis-app", newest(stack, target_named("redis-app")))
    places = {"logs/drill.log": canary, "builds/drill.log": canary.encode().hex()}
    for path, text in places.items():
        (state.root / path).write_text(f"connecting with {text} now\n")
    try:
        found = inv("secrets.check", "--json")
    finally:
        for path in places:
            (state.root / path).unlink()
    assert found.returncode == 1
    leaks = json.loads(found.stdout)["leaks"]
    # The collector may have taken the line on to the log store already.
    assert {("redis-app", path) for path in places} <= {(leak["secret"], leak["where"]) for leak in leaks}
    assert canary not in found.stdout + found.stderr
    assert "inv secrets.rotate redis-app" in found.stderr
