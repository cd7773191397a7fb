"""Many wrong passwords at once: who has the right one logs in meanwhile, and Keycloak is not restarted for being busy."""

from __future__ import annotations

import os
import re
import signal
import time
from collections import Counter
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from pathlib import Path
from statistics import median

import pytest

from ops.core.machine import REPOSITORY
from ops.stack.render import address
from tests.drill.conftest import Record, temporary_accounts
from tests.drill.keycloak.elsewhere import addresses
from tests.drill.keycloak.logins import patient_login
from tests.drill.keycloak.wrong_logins import Site, burst
from tests.drill.stack import PATIENCE, Drill
from tests.drill.test_ticker import age
from tests.smoke.accounts import Account
from tests.smoke.live import Live, eventually

SLOT = "keycloak"
ROUNDS = 3
PROMISED = 2.0
"""Seconds for a login while others submit wrong passwords. Of a host that has nothing else to do: it is reported."""
ADDRESSES = 5


def configured(file: str, pattern: str) -> int:
    found = re.search(pattern, (REPOSITORY / "config" / file).read_text(), re.MULTILINE)
    assert found, f"{file}: {pattern}"
    return int(found[1])


POOL_SIZE = configured("keycloak/keycloak.conf", r"^db-pool-max-size=(\d+)$")
FORMS = configured("nginx/public.conf", r"^ +limit_conn forms (\d+);$")


@pytest.fixture(scope="module")
def live(drill: Drill) -> Live:
    """A Keycloak that has run for so long that the health ticker would restart it."""
    drill.await_healthy()
    patience = drill.project.stack.services[SLOT].start_seconds + 5.0
    eventually(lambda: "" if age(drill, SLOT) > patience else "it may still be starting", patience)
    return Live(drill.project)


@pytest.fixture(scope="module")
def user(live: Live) -> Iterator[Account]:
    with temporary_accounts(live) as accounts:
        yield accounts.create("viewer")


@pytest.fixture(scope="module")
def sources(drill: Drill) -> Iterator[list[str]]:
    with addresses(drill.project, ADDRESSES) as found:
        yield found


@dataclass
class Outcome:
    seconds: list[float] = field(default_factory=list)
    """Of each login with the right password."""
    statuses: Counter[str] = field(default_factory=Counter)
    """Of the wrong ones."""
    longest: float = 0.0

    def described(self) -> str:
        answers = ", ".join(f"{number} x {status}" for status, number in sorted(self.statuses.items()))
        return f"median of {len(self.seconds)}: {median(self.seconds):.2f} s; wrong ones: {answers} within {self.longest} s"


def attacked(site: Site, kind: str, number: int, sources: list[str], user: Account) -> Outcome:
    """Wrong logins at once, several times, and logins of a user as long as they are under way."""
    found = Outcome()
    for _ in range(ROUNDS):
        with burst(site, kind, number, sources) as wrong:
            wrong.submit()
            first = True
            while first or wrong.under_way:
                first = False
                began = time.monotonic()
                patient_login(user.live).tokens(user.username, user.password)
                found.seconds.append(time.monotonic() - began)
            result = wrong.result()
        found.statuses.update(result["statuses"])
        found.longest = max(found.longest, result["seconds"])
    return found


def connections_used(live: Live) -> int:
    """The most connections that Keycloak's pool has had in use at once since its start."""
    vars(live).pop("containers", None)
    found = re.search(r"^agroal_max_used_count(?:\{.*\})? (\S+)$", live.inside(SLOT, 9000, "/metrics").text, re.MULTILINE)
    assert found, "Keycloak has no figure of its connections"
    return int(float(found[1]))


@pytest.mark.parametrize("kind", ["form", "token"])
@pytest.mark.parametrize("origins", [1, ADDRESSES])
@pytest.mark.parametrize("number", [40, 200])
def test_login_succeeds_during_a_burst_of_wrong_passwords(
    drill: Drill, live: Live, user: Account, sources: list[str], record: Record, number: int, origins: int, kind: str
) -> None:
    before = drill.containers()[SLOT]["State"]["StartedAt"]
    project = drill.project
    site = Site(address(project.allocation, "web", "nginx"), live.domain, live.site.base)

    found = attacked(site, kind, number, sources[:origins], user)

    record(
        f"a login, the slowest during {number} wrong ones at once ({kind}, {origins} address{'es' if origins > 1 else ''})",
        max(found.seconds), PROMISED, f"{found.described()}; {connections_used(live)} connections at most",
    )  # fmt: skip
    # A 504 or 500 means that threads waited for connections until they gave up; how slow a busy host is, says nothing.
    assert set(found.statuses) <= {"200", "400", "401", "429", "503"}, found.described()
    assert connections_used(live) < POOL_SIZE
    assert drill.unhealthy(SLOT) == ""
    assert drill.containers()[SLOT]["State"]["StartedAt"] == before


def test_users_behind_one_address_log_in_at_once(live: Live, record: Record) -> None:
    """As many as nginx lets one address have under way."""

    def login(account: Account) -> float:
        began = time.monotonic()
        patient_login(live).tokens(account.username, account.password)
        return time.monotonic() - began

    with temporary_accounts(live) as accounts, ThreadPoolExecutor(FORMS) as threads:
        seconds = list(threads.map(login, [accounts.create("viewer") for _ in range(FORMS)]))
    record(f"{FORMS} users behind one address log in at once, the slowest", max(seconds), PROMISED)


def test_keycloak_that_hangs_is_restarted(drill: Drill, live: Live, record: Record) -> None:
    """It answers neither probe."""
    frozen = drill.pid(SLOT)
    began = time.monotonic()
    os.kill(frozen, signal.SIGSTOP)
    try:
        eventually(lambda: "it is still frozen" if drill.pid(SLOT) in (0, frozen) else "", PATIENCE)
    finally:
        if Path(f"/proc/{frozen}").exists():
            os.kill(frozen, signal.SIGCONT)
    record("keycloak frozen (SIGSTOP)", time.monotonic() - began, note="restarted by the health ticker")
    drill.await_healthy(SLOT, patience=600)
