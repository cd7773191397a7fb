"""Who is logged in stays so while Keycloak restarts, nginx reloads or a release is taken back."""

from __future__ import annotations

import shutil
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path

import pytest

from ops.core.machine import REPOSITORY
from ops.core.process import run
from tests.drill.conftest import Record
from tests.drill.keycloak.logins import patient_login
from tests.drill.stack import Drill, inv
from tests.drill.test_bad_input import LEFT_OUT
from tests.smoke.accounts import Account, Login
from tests.smoke.live import Live


@dataclass
class Session:
    """One browser, and the refresh token that the application holds."""

    login: Login
    token: str

    def problem(self) -> str:
        """Why it is not logged in any more; empty where it is."""
        asked = self.login.authorize(prompt="none")
        location = asked.headers.get("Location", "")
        if asked.status_code != 302 or "code=" not in location:
            return f"the browser would have to log in again: {asked.status_code} {location.partition('?')[2][:200]}"
        answer = self.login.refresh(self.token)
        if answer.status_code != 200:
            return f"the refresh token is refused: {answer.status_code} {answer.text[:200]}"
        self.token = str(answer.json()["refresh_token"])
        return ""


@pytest.fixture
def session(live: Live, editor: Account) -> Session:
    login = patient_login(live)
    found = Session(login, str(login.tokens(editor.username, editor.password)["refresh_token"]))
    assert found.problem() == ""
    return found


@pytest.fixture
def survives(session: Session, record: Record) -> Callable[[str, Callable[[], object]], None]:
    """Does something, and then both the browser session and the refresh token must be good."""

    def check(what: str, act: Callable[[], object]) -> None:
        began = time.monotonic()
        act()
        record(f"session kept: {what}", time.monotonic() - began)
        assert session.problem() == ""

    return check


Survives = Callable[[str, Callable[[], object]], None]


def done(*arguments: str, root: Path = REPOSITORY, env: Mapping[str, str] | None = None) -> None:
    answer = inv(*arguments, root=root, env=env)
    assert answer.returncode == 0, answer.stdout[-1000:] + answer.stderr


def test_session_survives_a_restart_of_keycloak(stack: Drill, survives: Survives) -> None:
    survives("inv restart keycloak", lambda: done("restart", "keycloak"))


def test_session_survives_a_kill_of_keycloak(stack: Drill, survives: Survives) -> None:
    def kill() -> None:
        name = str(stack.containers()["keycloak"]["Name"])
        run(("podman", "kill", "--signal", "KILL", name), timeout=60, env=stack.project.host.environment)
        stack.await_healthy("keycloak")

    survives("kill -9 keycloak", kill)


def test_session_survives_a_reload_of_nginx(stack: Drill, survives: Survives) -> None:
    nginx = stack.project.stack.services["nginx"]
    name = str(stack.containers()["nginx"]["Name"])
    argv = ("podman", "exec", name, *(nginx.reload or ()))
    survives("nginx reloaded", lambda: run(argv, timeout=60, env=stack.project.host.environment))


def test_session_survives_a_rollback_of_another_service(
    stack: Drill, survives: Survives, changed: Mapping[str, str]
) -> None:  # fmt: skip
    done("deploy", "--yes", env=changed)
    survives("inv rollback (of redis)", lambda: done("rollback", "--yes"))


def test_session_survives_a_change_of_keycloak_and_its_rollback(stack: Drill, survives: Survives, tmp_path: Path) -> None:
    root = tmp_path / "checkout"
    shutil.copytree(REPOSITORY, root, ignore=LEFT_OUT, symlinks=True)
    conf = root / "config" / "keycloak" / "keycloak.conf"
    conf.write_text(conf.read_text() + "\nlog-level=info,org.keycloak.events:info\n")
    survives("inv deploy (of Keycloak's configuration)", lambda: done("deploy", "--yes", root=root))
    survives("inv rollback (of Keycloak's configuration)", lambda: done("rollback", "--yes"))
