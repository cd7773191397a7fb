"""Data from before a rotation comes back, by a restore or by its undo: the present secrets work everywhere, and no other."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from ops.backup import around
from tests.drill.backup.hands import Backups
from tests.drill.conftest import Record
from tests.drill.secrets.logins import assert_newest_alone_is_accepted, rotated, targets_of
from tests.drill.stack import Drill, inv, succeeds
from tests.drill.test_killed_deploy import break_off
from tests.smoke.live import eventually

pytestmark = pytest.mark.usefixtures("here", "remembered")

RESTORE = ("restore", "--only", "postgres,redis", "--yes")
UNDO = ("restore", "--undo", "--yes")
READY = ("curl", "--silent", "--cacert", "/etc/tls/ca.pem", "https://127.0.0.1:8000/api/v1/health/ready")


def dependencies(stack: Drill) -> str:
    """What a backend says that it does without; empty: nothing."""
    said = {slot: json.loads(stack.exec(slot, *READY).stdout)["checks"] for slot in stack.slots("backend")}
    return "; ".join(f"{slot}: {checks}" for slot, checks in said.items() if set(checks.values()) != {"ok"})


def assert_every_login_works(stack: Drill) -> None:
    eventually(lambda: dependencies(stack), 30)
    assert_newest_alone_is_accepted(stack, *targets_of(stack))
    stack.await_healthy()
    stack.assert_as_wanted()


def test_restore_to_before_a_rotation_and_its_undo_after_another_one(stack: Drill, record: Record) -> None:
    name = Backups(stack).make()
    rotated("--all")
    record("inv restore to before a rotation of every secret", succeeds(*RESTORE, "--set", name))
    assert_every_login_works(stack)

    rotated("--all")
    record("inv restore --undo to before a rotation of every secret", succeeds(*UNDO))
    assert_every_login_works(stack)


def test_undo_that_was_killed_is_resumed(stack: Drill, tmp_path: Path) -> None:
    succeeds(*RESTORE, "--set", Backups(stack).make())
    rotated("postgres-app,redis-app")
    break_off(stack, "healthy redis", tmp_path / "log", command=UNDO)
    succeeds(*UNDO)
    assert_every_login_works(stack)
    assert around.left_over(stack.project.state) is None


def test_restore_that_fails_midway_is_reverted_with_the_present_secrets(stack: Drill) -> None:
    Backups(stack).make()
    rotated("--all")
    answer = inv(*RESTORE, "--name", "never-made")
    assert answer.returncode == 1, answer.stdout + answer.stderr
    assert "everything is as before" in answer.stderr
    assert_every_login_works(stack)
