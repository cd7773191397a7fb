"""Needs root and images that are built (inv build). Deploys its own project where it is not up, and then removes it again."""

from __future__ import annotations

import signal
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from types import FrameType

import pytest
import requests

from ops.core.machine import REPOSITORY
from ops.core.process import until
from tests.drill import report
from tests.drill.report import Recovery
from tests.drill.stack import Drill, refusal
from tests.smoke.accounts import Account, Accounts
from tests.smoke.live import Live, leading_here

Record = Callable[..., None]
Two = tuple[Account, Account]
_recoveries: list[Recovery] = []


def pytest_configure() -> None:
    """SIGTERM ends a drill as Ctrl-C does: fixtures put back what they have changed, and remove what they have put up."""
    for number in (signal.SIGINT, signal.SIGTERM):
        # A shell that starts something in the background has it ignore Ctrl-C.
        if signal.getsignal(number) != signal.SIG_IGN:
            signal.signal(number, _interrupt)


def _interrupt(number: int, frame: FrameType | None) -> None:
    __tracebackhide__ = True
    # Who ends a drill often says so twice: timeout(1) to the process and then to its group, nox by SIGTERM 0.3 s after Ctrl-C.
    # The second time must not break off what puts back. No SIG_IGN: every program that is started from now on would inherit it.
    signal.signal(signal.SIGTERM, lambda number, frame: None)
    raise KeyboardInterrupt


@pytest.fixture(scope="session")
def drill() -> Iterator[Drill]:
    """The project that may be broken, deployed at least once. What this run has deployed, it removes."""
    if why := refusal():
        pytest.exit(why, returncode=2)
    found = Drill()
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
def untouched(drill: Drill) -> Iterator[Drill]:
    """Proves that the test has changed neither a container nor a file of the state."""
    before = drill.fingerprint()
    yield drill
    assert drill.fingerprint() == before


@pytest.fixture
def changed(tmp_path: Path) -> Mapping[str, str]:
    """Environment of a command for which one container, Redis, has to be replaced."""
    path = tmp_path / "stack.yaml"
    path.write_text((REPOSITORY / "config" / "stack.yaml").read_text() + "\nlimits:\n  redis: {memory: 900m}\n")
    return {"CC03_STACK": str(path)}


@pytest.fixture
def live(stack: Drill) -> Live:
    return Live(stack.project)


@pytest.fixture
def here(live: Live) -> Iterator[None]:
    """The site's public name leads to this host, whatever DNS says."""
    with leading_here(live.domain):
        yield


@contextmanager
def temporary_accounts(live: Live) -> Iterator[Accounts]:
    """Users who are removed when the block ends, as soon as Keycloak can."""
    accounts = Accounts(live)
    try:
        yield accounts
    finally:
        reason = until(lambda: removal_problem(accounts), 60)
        assert not reason, reason


@pytest.fixture
def editor(live: Live) -> Iterator[Account]:
    """A user who may write, for as long as the test lasts."""
    with temporary_accounts(live) as accounts:
        yield accounts.create("editor")


@pytest.fixture
def two(live: Live) -> Iterator[Two]:
    """Two people who can log in at the same time."""
    with temporary_accounts(live) as accounts:
        yield accounts.create("editor"), accounts.create("viewer")


def removal_problem(accounts: Accounts) -> str:
    """Removes them; after its database was killed, Keycloak answers 500 until it has dropped every old connection."""
    try:
        accounts.remove()
    except (AssertionError, requests.RequestException) as problem:
        return str(problem)
    return ""


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
