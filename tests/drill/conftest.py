"""Needs root and images that are built (inv build). Deploys its own project where it is not up, and then removes it again."""

from __future__ import annotations

from collections.abc import Callable, Iterator

import pytest

from tests.drill import report
from tests.drill.report import Recovery
from tests.drill.stack import Drill, refusal
from tests.smoke.accounts import Account, Accounts
from tests.smoke.live import Live

Record = Callable[..., None]
_recoveries: list[Recovery] = []


@pytest.fixture(scope="session")
def drill() -> Iterator[Drill]:
    """The project that may be broken, deployed at least once. What this run has deployed, it removes."""
    if why := refusal():
        pytest.exit(why, returncode=2)
    found = Drill(name="")
    found = Drill(name=found.project.name)
    was_up = bool(found.containers())
    found.deploy()
    yield found
    if not was_up:
        found.destroy()


@pytest.fixture
def stack(drill: Drill) -> Drill:
    """The project as the checkout wants it, healthy: each test starts from there, whatever the one before has left."""
    drill.deploy()
    drill.await_healthy()
    return drill


@pytest.fixture
def untouched(stack: Drill) -> Iterator[Drill]:
    """Proves that the test has changed neither a container nor a file of the state."""
    before = stack.fingerprint()
    yield stack
    assert stack.fingerprint() == before


@pytest.fixture
def live(stack: Drill) -> Live:
    return Live(stack.project)


@pytest.fixture
def editor(live: Live) -> Iterator[Account]:
    """A user who may write, for as long as the test lasts."""
    accounts = Accounts(live)
    try:
        yield accounts.create("editor")
    finally:
        # The connections of before may lead to containers that are gone.
        Accounts.remove(accounts)


@pytest.fixture
def record() -> Record:
    """Keeps a figure for the report: what, seconds, and what is promised."""

    def keep(what: str, seconds: float, promised: float | None = None, note: str = "") -> None:
        _recoveries.append(Recovery(what, seconds, promised, note))

    return keep


def pytest_sessionfinish() -> None:
    if _recoveries:
        report.save(_recoveries)


def pytest_terminal_summary() -> None:
    if _recoveries:
        report.show(_recoveries)
