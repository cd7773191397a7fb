"""What a rotation that failed leaves: the version of before counts again, or the one that cannot be taken back."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from types import SimpleNamespace
from typing import Any, cast

import pytest

from ops.errors import OpsError
from ops.machine.project import Project
from ops.machine.secrets import checkers, versions
from ops.machine.state import State
from ops.plan.secrets.rotate import Rotation
from ops.plan.secrets.table import target_named
from ops.verbs.secrets import _take_back
from tests.unit.test_plan_secrets import release

APP, OPS, PROBE = (target_named(name) for name in ("postgres-app", "keycloak-ops", "keycloak-probe-user"))


@pytest.fixture
def project(tmp_path: Path) -> Project:
    state = State(tmp_path)
    for target in (APP, OPS, PROBE):
        (state.secrets / target.secret).mkdir(parents=True)
        for number in (1, 2):
            (state.secrets / target.secret / str(number)).write_text(f"value-{number}")
    return cast(Project, SimpleNamespace(state=state, name="cc03", deployed=release()))


@pytest.fixture
def told(monkeypatch: pytest.MonkeyPatch) -> list[tuple[str, int]]:
    """(account, version) that somebody was told."""
    found: list[tuple[str, int]] = []

    def tell(project: Project, name: str, values: Sequence[tuple[int, str]]) -> None:
        found.append((name, values[-1][0]))

    for kind in ("pair", "client", "account"):
        monkeypatch.setitem(checkers.CHECKERS, kind, checkers.Checker(tell, lambda *_: True))
    return found


def test_who_was_told_is_told_the_old_one_again(project: Project, told: list[Any]) -> None:
    versions.note(project.state, OPS.secret, [2])
    _take_back(project, Rotation(OPS, 2, before=1))

    assert told == [("cc03-ops", 1)]
    assert versions.numbers(project.state, OPS.secret) == [1]


@pytest.mark.parametrize("known", [None, [1]])
def test_who_was_not_told_is_left_alone(project: Project, told: list[Any], known: list[int] | None) -> None:
    if known:
        versions.note(project.state, OPS.secret, known)
    _take_back(project, Rotation(OPS, 2, before=1))

    assert told == []
    assert versions.numbers(project.state, OPS.secret) == [1]


def test_where_containers_move_back_they_are_told_on_the_way(project: Project, told: list[Any]) -> None:
    versions.note(project.state, APP.secret, [1, 2])
    _take_back(project, Rotation(APP, 2, before=1))

    assert told == []
    assert versions.numbers(project.state, APP.secret) == [1]
    assert versions.accepted(project.state, APP.secret) == (1, 2)


def test_the_only_version_is_never_taken_back(project: Project, told: list[Any]) -> None:
    """One that a broken-off rotation is completed with."""
    (project.state.secrets / APP.secret / "2").unlink()
    versions.note(project.state, APP.secret, [2])
    _take_back(project, Rotation(APP, 1))

    assert versions.numbers(project.state, APP.secret) == [1]


def test_account_keeps_what_keycloak_takes_no_more_back(project: Project, told: list[Any]) -> None:
    versions.note(project.state, PROBE.secret, [2])
    _take_back(project, Rotation(PROBE, 2, before=1))

    assert told == []
    assert versions.numbers(project.state, PROBE.secret) == [1, 2]


def test_version_that_could_not_be_handed_back_is_not_lost(project: Project, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuses(*_: Any) -> None:
        raise OpsError("refused", "", "")

    monkeypatch.setitem(checkers.CHECKERS, "client", checkers.Checker(refuses, lambda *_: True))
    versions.note(project.state, OPS.secret, [2])
    with pytest.raises(OpsError):
        _take_back(project, Rotation(OPS, 2, before=1))
    assert versions.numbers(project.state, OPS.secret) == [1, 2]
