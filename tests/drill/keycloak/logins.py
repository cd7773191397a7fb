"""People who log in and renew their tokens all the time, and what of that fails."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from functools import partial
from typing import Any

import requests

from tests.smoke.accounts import Account, Login
from tests.smoke.live import Client, Live

EVERY = 0.5
PATIENCE = 45.0
"""Seconds that a browser waits; nginx holds requests while Keycloak is replaced, for less than that."""


class Patient(Client):
    """A client that waits as long as a browser."""

    def __call__(self, method: str, path: str, **options: Any) -> requests.Response:
        return super().__call__(method, path, **{"timeout": PATIENCE, **options})


def patient_login(live: Live) -> Login:
    login = Login(live)
    login.client = Patient(live.site.base, live.ca)
    return login


@dataclass
class Tally:
    """What was tried. failures: (seconds since 1970, what, why)."""

    logins: int = 0
    renewals: int = 0
    slowest: float = 0.0
    failures: list[tuple[float, str, str]] = field(default_factory=list)
    guard: threading.Lock = field(default_factory=threading.Lock, repr=False)

    def told(self) -> str:
        return (
            f"{self.logins} logins and {self.renewals} renewals, {len(self.failures)} failed, "
            f"the slowest took {self.slowest:.1f} s"
        )

    def assert_nobody_noticed(self) -> None:
        assert self.failures == [] and self.logins >= 3, (self.failures, self.logins)

    def attempt(self, what: str, action: Callable[[], Any]) -> Any:
        """The result of one try; None where it failed."""
        began = time.monotonic()
        result, problem = None, ""
        try:
            result = action()
        except (AssertionError, requests.RequestException, KeyError) as found:
            problem = f"{type(found).__name__}: {str(found)[:200]}"
        with self.guard:
            self.slowest = max(self.slowest, time.monotonic() - began)
            self.logins += what == "login"
            self.renewals += what == "renewal"
            if problem:
                self.failures.append((time.time(), what, problem))
        return result


def renewed(login: Login, token: str) -> str:
    answer = login.refresh(token)
    assert answer.status_code == 200, f"{answer.status_code} {answer.text[:200]}"
    return str(answer.json()["refresh_token"])


def _log_in(live: Live, account: Account, tally: Tally, stop: threading.Event) -> None:
    while not stop.wait(EVERY):
        tally.attempt("login", lambda: patient_login(live).tokens(account.username, account.password))


def _renew(live: Live, account: Account, tally: Tally, stop: threading.Event) -> None:
    """One session all through; only where its token is lost, another one is begun."""
    login, token = patient_login(live), None
    while not stop.wait(EVERY):
        if token is None:
            login = patient_login(live)
            found = tally.attempt("login", partial(login.tokens, account.username, account.password))
            token = found and found["refresh_token"]
        else:
            token = tally.attempt("renewal", partial(renewed, login, token))


@contextmanager
def people(live: Live, accounts: tuple[Account, Account]) -> Iterator[Tally]:
    """Two who never stop during the block: one logs in by the browser flow, one renews the tokens of one session.

    accounts: of two users. Brute-force protection refuses a login of a user while another one of the same user is under way.
    """
    tally, stop = Tally(), threading.Event()
    threads = [
        threading.Thread(target=work, args=(live, account, tally, stop), daemon=True, name=work.__name__)
        for work, account in zip((_log_in, _renew), accounts, strict=True)
    ]  # fmt: skip
    for thread in threads:
        thread.start()
    try:
        yield tally
    finally:
        stop.set()
        for thread in threads:
            thread.join(PATIENCE + 5)
