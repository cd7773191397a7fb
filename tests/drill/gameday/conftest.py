"""A stack that notifies receivers of the test, its users, and the table of what came of each fault."""

from __future__ import annotations

import json
import os
import time
from collections.abc import Iterator

import pytest

from tests.drill.alerts.receivers import notifying
from tests.drill.conftest import temporary_accounts
from tests.drill.gameday.cases import Outcome
from tests.drill.gameday.observer import Observer, declared
from tests.drill.gameday.results import RESULTS, show
from tests.drill.gameday.users import Users, at_work
from tests.drill.stack import Drill
from tests.smoke.accounts import Login
from tests.smoke.live import Live, leading_here

_outcomes: list[Outcome] = []


@pytest.fixture(scope="session")
def outcomes() -> list[Outcome]:
    return _outcomes


@pytest.fixture(scope="session")
def observer(drill: Drill, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Observer]:
    with notifying(drill, tmp_path_factory.mktemp("game-day"), declared) as receivers:
        silenced = Observer(drill, receivers).silence_what_fires()
        yield Observer(drill, receivers, time.time(), silenced)


@pytest.fixture(scope="session")
def users(observer: Observer) -> Iterator[Users]:
    live = Live(observer.drill.project)
    with leading_here(live.domain), temporary_accounts(live) as accounts:
        account = accounts.create("viewer")

        def log_in() -> tuple[str, str]:
            found = Login(live).tokens(account.username, account.password)
            return found["refresh_token"], found["access_token"]

        with at_work(Users(live.ports["https"], live.domain, live.ca, log_in)) as found:
            yield found


def pytest_sessionfinish() -> None:
    if not _outcomes:
        return
    before = json.loads(RESULTS.read_text())["outcomes"] if RESULTS.is_file() else []
    again = {(one.fault, one.service) for one in _outcomes}
    kept = [one for one in before if (one["fault"], one["service"]) not in again]
    content = {
        "at": time.strftime("%Y-%m-%dT%H:%M:%S%z"), "cores": os.cpu_count(),
        "outcomes": [*kept, *(one.json() for one in _outcomes)],
    }  # fmt: skip
    RESULTS.write_text(json.dumps(content, indent=2) + "\n")


def pytest_terminal_summary() -> None:
    if _outcomes:
        show(_outcomes)
