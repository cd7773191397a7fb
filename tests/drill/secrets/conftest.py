"""Two people who log in, and the site's name that leads to this host."""

from __future__ import annotations

import socket
from collections.abc import Iterator
from typing import Any

import pytest

from ops.machine.wait import until
from tests.drill.conftest import removal_problem
from tests.smoke.accounts import Account, Accounts
from tests.smoke.live import Live

Two = tuple[Account, Account]


@pytest.fixture(autouse=True)
def here(live: Live, monkeypatch: pytest.MonkeyPatch) -> None:
    """The site's public name leads to this host, whatever DNS says."""
    asked = socket.getaddrinfo

    def found(host: Any, *rest: Any, **options: Any) -> Any:
        return asked("127.0.0.1" if host == live.domain else host, *rest, **options)

    monkeypatch.setattr(socket, "getaddrinfo", found)


@pytest.fixture
def two(live: Live) -> Iterator[Two]:
    accounts = Accounts(live)
    try:
        yield accounts.create("editor"), accounts.create("viewer")
    finally:
        reason = until(lambda: removal_problem(accounts), 60)
        assert not reason, reason
