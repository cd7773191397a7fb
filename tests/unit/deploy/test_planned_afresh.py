"""What another command does before this one has the lock counts: the goal is made afresh under it."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
from invoke import Context

from ops.core import files
from ops.core.errors import OpsError
from ops.deploy import commands
from ops.deploy.transition import change_release
from ops.secrets import commands as secrets
from ops.secrets import table
from ops.secrets.table import target_named
from ops.stack.wanted import with_versions
from ops.store import releases
from tests.unit.modelled import NEW, OLD, World
from tests.unit.modelled import served as served  # noqa: PLC0414  (a fixture)
from tests.unit.modelled import world as world  # noqa: PLC0414  (a fixture)


def command(world: World, monkeypatch: pytest.MonkeyPatch, verb: Any) -> Callable[..., None]:
    """A command of the operator, whose failures are raised as they are."""
    monkeypatch.setattr("ops.project.open_project", lambda **_: world.project)
    function = vars(verb.body)["__wrapped__"]
    return lambda **given: function(Context(), **given)


def rotate(world: World, secret: str) -> None:
    files.write(world.state.secrets / secret / "2", "another value")


def test_rollback_gives_containers_the_secrets_of_that_moment(served: World, monkeypatch: pytest.MonkeyPatch) -> None:
    """It gave them values that a rotation had revoked meanwhile."""
    change_release(served.aim(NEW), yes=True)
    served.meanwhile = lambda: rotate(served, "postgres-app")

    command(served, monkeypatch, commands.rollback)(to=1, yes=True)

    assert served.brought is not None
    assert (served.brought.images, served.brought.versions["postgres-app"]) == (served.sealed(1).images, 2)


def test_rollback_past_a_migration_of_that_moment_is_refused(served: World, monkeypatch: pytest.MonkeyPatch) -> None:
    change_release(served.aim(NEW), yes=True)
    served.done.clear()
    served.meanwhile = lambda: releases.record_schema(served.state, release=2, contracted=["0007 orders"])

    with pytest.raises(OpsError, match="release 1 cannot run on today's database"):
        command(served, monkeypatch, commands.rollback)(to=1, yes=True)
    assert (served.serving, served.done) == (2, [])


def test_scaling_is_of_the_release_that_runs_then(served: World, monkeypatch: pytest.MonkeyPatch) -> None:
    """It brought back the release before a deploy that had ended meanwhile."""

    def meanwhile() -> None:
        change_release(served.aim(NEW), yes=True)

    served.meanwhile = meanwhile

    command(served, monkeypatch, commands.scale)(service="backend=3", yes=True)

    assert served.brought is not None
    assert served.brought.images["postgres"].tag == NEW.images["postgres"].tag


def test_rotation_goes_on_from_the_versions_of_that_moment(served: World, monkeypatch: pytest.MonkeyPatch) -> None:
    """It took the version that another rotation had made meanwhile for its own."""

    def meanwhile() -> None:
        rotate(served, "postgres-app")
        change_release(served.aim(with_versions(OLD, {"postgres-app": 2})), yes=True)

    served.meanwhile = meanwhile
    # The services of the model say nothing of how they are handed a secret.
    monkeypatch.setattr(table, "must_be_rotatable", lambda *_: None)

    secrets.rotate_secrets(served.project, [target_named("postgres-app")], "secrets.rotate", plan_only=False, yes=True)

    assert served.brought is not None
    assert served.brought.versions["postgres-app"] == 3
