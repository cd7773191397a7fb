"""A stack with data and a set that is proved, before each test."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from tests.drill.backup.hands import Backups
from tests.drill.stack import Drill
from tests.smoke.accounts import Account, Accounts
from tests.smoke.live import Live


@pytest.fixture
def backups(stack: Drill) -> Iterator[Backups]:
    """A thousand rows in a whole set."""
    found = Backups(stack)
    found.begin()
    yield found
    found.drill.psql("DROP TABLE IF EXISTS ledger", "app")


@pytest.fixture(scope="module")
def standing(drill: Drill) -> Backups:
    """The same for tests that change nothing but files of the repository, which they put back."""
    drill.deploy()
    drill.await_healthy()
    found = Backups(drill)
    found.begin()
    return found


@pytest.fixture
def people(stack: Drill) -> Iterator[Accounts]:
    """Users who are removed in the end."""
    made = Accounts(Live(stack.project))
    yield made
    made.log_in_anew()
    made.remove()


@pytest.fixture
def person(people: Accounts) -> Account:
    return people.create("editor")
