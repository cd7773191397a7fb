"""Keycloak's accounts after a restore: only a client that is refused is made anew, never one of a Keycloak that is slow."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from types import SimpleNamespace
from typing import Any, cast

import pytest
from keycloak.exceptions import KeycloakAuthenticationError, KeycloakConnectionError

from ops.core.errors import OpsError
from ops.core.plan import Step
from ops.core.state import State
from ops.deploy.steps import AwaitHealthy, StartContainer, StopContainer
from ops.keycloak import admin
from ops.keycloak.admin import Account
from ops.keycloak.probe import verify
from ops.keycloak.realm import live
from ops.keycloak.repair.steps import RecoverAdmin, RestoreOperations
from ops.keycloak.restore.steps import AgreeSecrets
from ops.keycloak.rotate import credentials as rotate
from ops.project import Project
from ops.store import versions
from tests.unit.builders import PORTS, settings, wanted
from tests.unit.logins import Logins
from tests.unit.logins import logins as logins  # noqa: PLC0414  (a fixture)

RECREATE = (StopContainer, RecoverAdmin, StartContainer, AwaitHealthy, RestoreOperations)
VERSIONS = {"keycloak-ops": 3, "keycloak-probe-user": 2, "keycloak-admin": 4, "postgres-app": 5, "operator-password": 1}


@dataclass
class Keycloak:
    """At the other end of the connection: it grants a token for the secret that it has of the operations client, after as many
    requests without an answer as it is slow. order: what was done to it."""

    has: str
    slow: int = 0
    asked: int = 0
    order: list[str] = field(default_factory=list)

    def connect(self, project: Project, account: Account, *, value: str) -> Any:
        return SimpleNamespace(client_id=account.client_id, get_token=lambda: self.answer(account, value))

    def answer(self, account: Account, value: str) -> None:
        self.asked += 1
        if self.slow:
            self.slow -= 1
            raise KeycloakConnectionError("timed out")
        assert account.client_id == "cc03-ops"
        if value != self.has:
            raise KeycloakAuthenticationError("denied", 401, b'{"error": "unauthorized_client"}')

    def step(self, kind: type[Step]) -> Callable[..., None]:
        """What stands for the work of a kind of step."""

        def run(*_: Any) -> None:
            self.order.append(kind.__name__)
            if kind is RestoreOperations:
                self.has = "keycloak-ops-3"

        return run


@pytest.fixture
def keycloak(monkeypatch: pytest.MonkeyPatch) -> Keycloak:
    made = Keycloak("keycloak-ops-3")

    def declare(*_: Any, deletions: bool) -> None:
        made.order.append("the realm, with deletions" if deletions else "the realm")

    monkeypatch.setattr(admin, "connect", made.connect)
    monkeypatch.setattr(live, "declared", lambda _: None)
    monkeypatch.setattr(live, "apply_realm", declare)
    for one in RECREATE:
        monkeypatch.setattr(one, "run", made.step(one))
    monkeypatch.setattr(verify, "ready", lambda *_: made.order.append("the probe's user"))
    monkeypatch.setattr(rotate, "ANSWERS_WITHIN", 2.0)
    return made


@pytest.fixture
def project(tmp_path: Path, logins: Logins) -> Project:
    state = State(tmp_path / "cc03")
    for secret, newest in VERSIONS.items():
        (state.secrets / secret).mkdir(parents=True)
        for number in range(1, newest + 1):
            (state.secrets / secret / str(number)).write_text(f"{secret}-{number}\n")
    base = wanted()
    stack = SimpleNamespace(services=base.stack.services, secrets=tuple(VERSIONS))
    deployed = SimpleNamespace(stack=stack, compose=base.compose, versions=VERSIONS)
    logins.values = {
        "cc03-ops": {"keycloak-ops-3"}, "cc03-probe": {"keycloak-probe-user-2"}, "admin": {"keycloak-admin-4"}
    }  # fmt: skip
    return cast(Project, SimpleNamespace(state=state, deployed=deployed, settings=settings(), ports=PORTS, name="cc03"))


def agree(project: Project) -> None:
    execution = SimpleNamespace(project=project, reporter=lambda _: lambda text: None)
    AgreeSecrets("agree", "").run(cast(Any, execution))


def test_where_all_agree_nothing_is_touched(project: Project, keycloak: Keycloak, logins: Logins) -> None:
    agree(project)
    assert keycloak.order == ["the realm", "the probe's user"] and logins.told == []


def test_slow_keycloak_is_waited_for_and_not_taken_for_one_that_refuses(project: Project, keycloak: Keycloak) -> None:
    keycloak.slow = 2
    agree(project)
    assert keycloak.asked == 3 and keycloak.order == ["the realm", "the probe's user"]


@pytest.mark.parametrize("slow", [0, 1])
def test_refused_client_is_made_anew_behind_a_stop(project: Project, keycloak: Keycloak, slow: int) -> None:
    keycloak.has, keycloak.slow = "keycloak-ops-1", slow
    agree(project)

    assert keycloak.order == [*(one.__name__ for one in RECREATE), "the realm", "the probe's user"]


def test_keycloak_that_says_nothing_is_told_and_left_alone(
    project: Project, keycloak: Keycloak, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(rotate, "ANSWERS_WITHIN", 0.0)
    keycloak.slow = 100

    with pytest.raises(OpsError, match="Keycloak does not answer") as caught:
        agree(project)
    assert "timed out" in caught.value.why and keycloak.order == []


def test_every_account_that_refuses_its_present_secret_is_given_it(
    project: Project, keycloak: Keycloak, logins: Logins
) -> None:
    """The declaration of the realm cannot tell the password of a user, which is of another time after a restore."""
    logins.values |= {"cc03-probe": {"keycloak-probe-user-1"}, "admin": {"of another time"}}

    agree(project)

    assert sorted(logins.told) == ["admin", "cc03-probe"], "who accepts it is left alone"
    assert logins.values["admin"] == {"keycloak-admin-4"} and logins.values["cc03-probe"] == {"keycloak-probe-user-2"}
    assert versions.accepted(project.state, "keycloak-admin") == (4,)
