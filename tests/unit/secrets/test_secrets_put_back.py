"""What a rotation that failed leaves: the version of before counts again, or the one that cannot be taken back."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any, cast

import pytest

from ops import composition
from ops.core.errors import OpsError
from ops.core.state import State
from ops.project import Project
from ops.secrets import verifiers
from ops.secrets.commands import _take_back, rotation_goal
from ops.secrets.plan import Rotation
from ops.secrets.table import target_named
from ops.store import versions
from tests.unit.logins import Logins
from tests.unit.logins import logins as logins  # noqa: PLC0414  (a fixture)
from tests.unit.secrets.test_plan_secrets import release

APP, OPS, PROBE, ADMIN = (
    target_named(name) for name in ("postgres-app", "keycloak-ops", "keycloak-probe-user", "keycloak-admin")
)
NAMES = {OPS: "cc03-ops", PROBE: "cc03-probe", ADMIN: "admin", APP: "app"}


@pytest.fixture
def project(tmp_path: Path, logins: Logins) -> Project:
    """Version 1 of each is in use; version 2 was made."""
    state = State(tmp_path)
    for target, name in NAMES.items():
        (state.secrets / target.secret).mkdir(parents=True)
        for number in (1, 2):
            (state.secrets / target.secret / str(number)).write_text(f"{target.secret}-{number}")
        logins.values[name] = {f"{target.secret}-1"}
    running = release()
    deployed = replace(running, versions={**running.versions, **{target.secret: 1 for target in NAMES}})
    return cast(Project, SimpleNamespace(state=state, name="cc03", deployed=deployed))


def told(project: Project, logins: Logins, *targets: object) -> None:
    """Each of these was told its new version, as a rotation does."""
    for target, name in NAMES.items():
        if target in targets:
            logins.values[name] = {f"{target.secret}-2"}
            versions.note(project.state, target.secret, [2])


def test_who_was_told_accepts_the_old_one_again_and_no_other(project: Project, logins: Logins) -> None:
    told(project, logins, OPS)
    _take_back(project, Rotation(OPS, 2, before=1))

    assert logins.values["cc03-ops"] == {"keycloak-ops-1"}
    assert versions.numbers(project.state, OPS.secret) == [1] and versions.taken(project.state, OPS.secret) == [1, 2]
    assert versions.accepted(project.state, OPS.secret) == (1,), "what is written down is so"


@pytest.mark.parametrize("known", [None, [1]])
def test_who_was_not_told_is_left_alone(project: Project, logins: Logins, known: list[int] | None) -> None:
    if known:
        versions.note(project.state, OPS.secret, known)
    _take_back(project, Rotation(OPS, 2, before=1))

    assert logins.told == [] and logins.values["cc03-ops"] == {"keycloak-ops-1"}
    assert versions.numbers(project.state, OPS.secret) == [1]


@pytest.mark.parametrize("known", [[0, 1], [0, 2], [1, 2]])
def test_who_may_have_been_told_is_told_again(project: Project, logins: Logins, known: list[int]) -> None:
    """Killed while it was told: nobody knows which one it accepts."""
    versions.note(project.state, OPS.secret, known)
    _take_back(project, Rotation(OPS, 2, before=1))
    assert logins.told == ["cc03-ops"] and logins.values["cc03-ops"] == {"keycloak-ops-1"}


def test_where_containers_move_back_they_are_told_on_the_way(project: Project, logins: Logins) -> None:
    versions.note(project.state, APP.secret, [1, 2])
    _take_back(project, Rotation(APP, 2, before=1))

    assert logins.told == []
    assert versions.numbers(project.state, APP.secret) == [1]
    assert versions.accepted(project.state, APP.secret) == (1, 2)


def test_the_only_version_is_never_taken_back(project: Project, logins: Logins) -> None:
    """One that a broken-off rotation is completed with."""
    (project.state.secrets / APP.secret / "2").unlink()
    versions.note(project.state, APP.secret, [2])
    _take_back(project, Rotation(APP, 1))

    assert versions.numbers(project.state, APP.secret) == [1] and logins.told == []


def test_account_keeps_what_keycloak_takes_no_more_back(project: Project, logins: Logins) -> None:
    told(project, logins, PROBE)
    _take_back(project, Rotation(PROBE, 2, before=1))

    assert logins.told == [] and logins.values["cc03-probe"] == {"keycloak-probe-user-2"}
    assert versions.numbers(project.state, PROBE.secret) == [1, 2], "commands use the newest"
    assert versions.accepted(project.state, PROBE.secret) == (2,)


def test_account_that_does_not_have_the_new_one_is_given_the_old_one(project: Project, logins: Logins) -> None:
    versions.note(project.state, PROBE.secret, [0])
    logins.values["cc03-probe"] = {"something else"}
    _take_back(project, Rotation(PROBE, 2, before=1))

    assert logins.values["cc03-probe"] == {"keycloak-probe-user-1"}
    assert versions.numbers(project.state, PROBE.secret) == [1]


def test_version_that_could_not_be_handed_back_is_not_lost(project: Project, logins: Logins) -> None:
    told(project, logins, OPS)
    logins.deaf = {"cc03-ops"}
    with pytest.raises(OpsError, match="cc03-ops cannot be told"):
        _take_back(project, Rotation(OPS, 2, before=1))

    assert versions.numbers(project.state, OPS.secret) == [1, 2] and logins.values["cc03-ops"] == {"keycloak-ops-2"}


def test_one_that_cannot_be_taken_back_keeps_no_other_from_it(project: Project, logins: Logins) -> None:
    told(project, logins, OPS, ADMIN)
    logins.deaf = {"cc03-ops"}

    with pytest.raises(OpsError, match="cc03-ops cannot be told"):
        rotation_goal(project, [OPS, ADMIN], "secrets.rotate").undo()

    assert logins.values["admin"] == {"keycloak-admin-1"}
    assert versions.numbers(project.state, ADMIN.secret) == [1] and versions.numbers(project.state, OPS.secret) == [1, 2]


def test_defect_in_one_keeps_no_other_from_being_taken_back(
    project: Project, logins: Logins, monkeypatch: pytest.MonkeyPatch
) -> None:
    told(project, logins, OPS, ADMIN)
    tell = Logins.tell

    def broken(self: Logins, own: Project, name: str, values: Any) -> None:
        if name == "cc03-ops":
            raise KeyError(name)
        tell(self, own, name, values)

    monkeypatch.setattr(Logins, "tell", broken)
    for kind in composition.VERIFIERS:
        monkeypatch.setitem(composition.VERIFIERS, kind, verifiers.Verifier(logins.tell, logins.accepts))
    with pytest.raises(KeyError):
        rotation_goal(project, [OPS, ADMIN], "secrets.rotate").undo()
    assert logins.values["admin"] == {"keycloak-admin-1"}
