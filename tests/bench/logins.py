"""Password logins through nginx as browsers do them: how many a second, how long, what stays in memory; and Keycloak's start.

The users run on the host and share its cores with what is measured, so the figures are lower bounds.
"""

from __future__ import annotations

import os
import sys
import threading
import time
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import requests

from ops.engines.podman.observe import usage
from tests.bench.figures import Figure
from tests.drill.clone import Clone
from tests.drill.keycloak.hands import SLOT, Definition, Keycloak
from tests.drill.stack import Drill
from tests.smoke.accounts import Account, Login

SECONDS, WARM_UP = 30.0, 30.0
"""For the first half minute of logins the JVM translates what it has just loaded: on one CPU 13.7 a second in that, 20.3 in the
next one and 21.2 in the one after."""
USERS_PER_CPU = 8
LOGINS = 1000
"""After which the memory is read."""
PROMISED_PER_CPU, PROMISED_MB, PROMISED_READY = 15.0, 900.0, 15.0
CPUS = (1, 2)


@dataclass
class People:
    """Who log in, one after the other, each in a cookie jar of its own."""

    keycloak: Keycloak
    accounts: list[Account]
    took: list[float] = field(default_factory=list)
    failed: list[str] = field(default_factory=list)
    ended: threading.Event = field(default_factory=threading.Event)

    def work(self, account: Account) -> None:
        while not self.ended.is_set():
            began = time.monotonic()
            try:
                Login(self.keycloak.live).tokens(account.username, account.password)
            except (AssertionError, requests.RequestException) as problem:
                self.failed.append(str(problem)[:200])
            else:
                self.took.append(time.monotonic() - began)

    def during(self, seconds: float, number: int = 0) -> float:
        """Let them log in for so long, or until so many have. Returns the seconds that it took."""
        threads = [threading.Thread(target=self.work, args=(one,), daemon=True) for one in self.accounts]
        began = time.monotonic()
        for thread in threads:
            thread.start()
        while time.monotonic() - began < seconds and not (number and len(self.took) >= number):
            time.sleep(0.05)
        passed = time.monotonic() - began
        self.ended.set()
        for thread in threads:
            thread.join(60)
        return passed


def limited(keycloak: Keycloak, cpus: int) -> float:
    """Make it anew with so many CPUs. Returns the seconds from its start until it is ready."""

    def change(definition: Definition) -> None:
        limits: dict[str, Any] = definition["deploy"]["resources"]["limits"]
        limits["cpus"] = f"{cpus}.0"

    keycloak.remake(change)
    began = time.monotonic()
    while keycloak.podman("exec", keycloak.name(), "/usr/local/bin/healthy", ok=None).returncode:
        assert time.monotonic() - began < 300, "it does not become ready"
        time.sleep(0.1)
    return time.monotonic() - began


def memory(keycloak: Keycloak) -> float:
    """What its control group holds, without the file cache, in MB."""
    return usage({SLOT: keycloak.container()}, 0.2)[SLOT].memory_bytes / 2**20


def logins() -> Iterator[Figure]:
    """Needs a live stack. Leaves Keycloak as the release wants it.

    All logins come from this host, and so from one address: its limits of logins are raised meanwhile.
    """
    drill = Drill()
    with TemporaryDirectory() as folder:
        unlimited = Clone.make(Path(folder) / "checkout")
        unlimited.lift_login_limits(rate=1000, at_once=LOGINS)
        unlimited.deploy()
    keycloak = Keycloak(drill)
    try:
        for cpus in CPUS:
            yield from with_cpus(keycloak, cpus)
        people = People(keycloak, crowd(keycloak, USERS_PER_CPU))
        people.during(600, LOGINS)
        yield Figure(
            f"Keycloak's memory after {LOGINS:,} logins", memory(keycloak), "MB", PROMISED_MB,
            note=f"{len(people.failed)} failed; without the file cache",
        )  # fmt: skip
    finally:
        keycloak.mend()
        keycloak.await_login()
        keycloak.accounts.remove()
        drill.deploy()


def with_cpus(keycloak: Keycloak, cpus: int) -> Iterator[Figure]:
    named = f"{cpus} CPU{'s' if cpus > 1 else ''}"
    ready = limited(keycloak, cpus)
    yield Figure(
        f"Keycloak ready, {named}, 2 GB", ready, "s", PROMISED_READY if cpus == 1 else None,
        note=f"from its start; {os.cpu_count()} cores, load {os.getloadavg()[0]:.1f}",
    )  # fmt: skip
    keycloak.await_login()
    accounts = crowd(keycloak, USERS_PER_CPU * cpus)
    People(keycloak, accounts).during(WARM_UP)
    people = People(keycloak, accounts)
    passed = people.during(SECONDS)
    took = sorted(people.took)
    print(*set(people.failed), sep="\n", end="", file=sys.stderr)
    yield Figure(
        f"password logins a second and CPU, {named}", len(took) / passed / cpus, "/s", PROMISED_PER_CPU, at_least=True,
        note=f"{len(took)} logins in {passed:.0f} s, {len(people.failed)} failed, {len(people.accounts)} people",
    )  # fmt: skip
    yield Figure(f"password login, p99, {named}", 1000 * took[len(took) * 99 // 100], "ms")


def crowd(keycloak: Keycloak, number: int) -> list[Account]:
    return [keycloak.accounts.create("viewer") for _ in range(number)]
