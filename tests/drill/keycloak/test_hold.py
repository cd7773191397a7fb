"""Keycloak is restarted and replaced while people log in: their requests wait, none is lost and none is carried out twice."""

from __future__ import annotations

import html
import os
import re
import signal
import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path
from queue import Empty, SimpleQueue

import pytest
import requests

from ops.keycloak.probe.browser import OPENID
from tests.drill.clone import Clone
from tests.drill.conftest import Record, removal_problem
from tests.drill.stack import Drill, inv
from tests.smoke import live as smoke_live
from tests.smoke.accounts import Account, Accounts, Login
from tests.smoke.live import Live, eventually

EVERY = 0.3
"""Seconds between two logins."""
USERS = 60
"""Nobody logs in twice at once: Keycloak refuses a user who is just being logged in."""
AT_ONCE = 200
PATIENCE = 150.0
"""Seconds that a client waits here: a busy machine may take long with what has waited."""
HELD_SECONDS = 25.0
FORM = re.compile(r'<form[^>]*id="kc-form-login"[^>]*action="([^"]+)"')


@pytest.fixture(autouse=True)
def patient(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(smoke_live, "TIMEOUT", PATIENCE)


@pytest.fixture
def clone(stack: Drill, tmp_path: Path) -> Clone:
    """The same stack with limits of logins that one address does not reach, since all of them come from this host and those
    that waited go on in one instant; and with longer pauses at the end, so that a Keycloak that starts slowly on a busy machine
    does not count as a loss."""
    made = Clone.make(tmp_path / "clone")
    made.lift_login_limits(rate=100, at_once=AT_ONCE)
    for pause, onward in ((4, "wait_7"), (5, "wait_8"), (5, "last")):
        line = f"error_page 401 = @keycloak_{onward};"
        made.edit("config/nginx/hold.inc", f"auth_delay {pause}s;\n    {line}", f"auth_delay 20s;\n    {line}")
    made.deploy()
    stack.await_healthy()
    return made


@pytest.fixture
def accounts(live: Live) -> Iterator[Accounts]:
    found = Accounts(live)
    yield found
    eventually(lambda: removal_problem(found), PATIENCE)


@dataclass
class Visitors:
    """What came of logins that began by the clock."""

    seconds: list[float] = field(default_factory=list)
    failures: list[str] = field(default_factory=list)

    def login(self, live: Live, user: Account, free: SimpleQueue[Account]) -> None:
        began = time.monotonic()
        try:
            Login(live).tokens(user.username, user.password)
        except (AssertionError, requests.RequestException) as problem:
            self.failures.append(f"{type(problem).__name__}: {str(problem)[:200]}")
        else:
            self.seconds.append(time.monotonic() - began)
        finally:
            free.put(user)

    def told(self) -> str:
        return f"{len(self.failures)} of {len(self.failures) + len(self.seconds)} logins failed"


@contextmanager
def visitors(live: Live, accounts: Accounts) -> Iterator[Visitors]:
    """Logins during the block, all answered at its end; each that succeeded was carried out once."""
    users = [accounts.create("viewer") for _ in range(USERS)]
    found, ended = Visitors(), threading.Event()
    free: SimpleQueue[Account] = SimpleQueue()
    for user in users:
        free.put(user)

    def by_the_clock(pool: ThreadPoolExecutor) -> None:
        began, number = time.monotonic(), 0
        while not ended.wait(max(0.0, began + number * EVERY - time.monotonic())):
            with suppress(Empty):
                pool.submit(found.login, live, free.get_nowait(), free)
            number += 1

    with ThreadPoolExecutor(AT_ONCE) as pool:
        clock = threading.Thread(target=by_the_clock, args=(pool,))
        clock.start()
        try:
            time.sleep(3)
            yield found
            time.sleep(3)
        finally:
            ended.set()
            clock.join()
    assert events(accounts, users, "LOGIN") == events(accounts, users, "CODE_TO_TOKEN") == len(found.seconds)


def events(accounts: Accounts, users: list[Account], kind: str) -> int:
    asked = ({"user": user.identity, "type": kind, "max": "1000"} for user in users)
    return sum(len(accounts.admin("GET", "/events", params=one).json()) for one in asked)


def podman(live: Live, *words: str) -> None:
    live.project.host.run(("podman", *words, str(live.container("keycloak")["Name"])), timeout=PATIENCE)


def test_restart_costs_no_login(clone: Clone, stack: Drill, live: Live, accounts: Accounts, record: Record) -> None:
    """A restart without a warning, by Podman alone, may still cost those who log in at that very moment."""
    with visitors(live, accounts) as found:
        answer = inv("restart", "keycloak")
        assert answer.returncode == 0, answer.stdout + answer.stderr
        stack.await_healthy("keycloak")
    assert found.failures == []
    record("the slowest login during inv restart of Keycloak", max(found.seconds), HELD_SECONDS, found.told())


def test_new_configuration_costs_no_login(
    clone: Clone, stack: Drill, live: Live, accounts: Accounts, record: Record
) -> None:  # fmt: skip
    clone.edit("config/keycloak/keycloak.conf", "http-max-queued-requests=500", "http-max-queued-requests=501")
    before = stack.containers()["keycloak"]["Id"]
    with visitors(live, accounts) as found:
        clone.deploy()
    assert stack.containers()["keycloak"]["Id"] != before
    assert found.failures == []
    record("the slowest login during a deploy that replaces Keycloak", max(found.seconds), HELD_SECONDS, found.told())


def test_a_form_that_was_open_is_asked_for_again(clone: Clone, stack: Drill, live: Live, accounts: Accounts) -> None:
    """Keycloak forgets logins that have begun. Whoever submits such a form fills it in once more, and is logged in."""
    user, login = accounts.create("viewer"), Login(live)
    filled_in = {"username": user.username, "password": user.password}
    page = login.authorize()
    podman(live, "restart", "--time", "30")
    answer = login.client("POST", action(page), data=filled_in)
    assert answer.status_code == 302
    again = login.client.get(answer.headers["Location"])
    assert "Your login attempt timed out" in again.text
    answer = login.client("POST", action(again), data=filled_in)
    assert answer.status_code == 302 and answer.headers["Location"].startswith(login.redirect)
    stack.await_healthy()


def action(page: requests.Response) -> str:
    form = FORM.search(page.text)
    assert form, f"no login form: {page.status_code} {page.text[:300]}"
    return html.unescape(form[1])


def test_many_wait_at_once(clone: Clone, stack: Drill, live: Live, accounts: Accounts, record: Record) -> None:
    """Half of them refresh a token, which works once only: carried out twice, it would be refused."""
    users = [accounts.create("viewer") for _ in range(AT_ONCE // 10)]
    tokens = [Login(live).tokens(user.username, user.password)["refresh_token"] for _ in range(5) for user in users]
    podman(live, "restart", "--time", "30")
    began = time.monotonic()
    with ThreadPoolExecutor(AT_ONCE) as pool:
        asked: list[Callable[[], requests.Response]] = [Login(live).authorize for _ in range(AT_ONCE // 2)]
        under_way: list[Future[requests.Response]] = [pool.submit(one) for one in asked]
        under_way += [pool.submit(Login(live).refresh, token) for token in tokens]
        statuses = [one.result().status_code for one in under_way]
    assert statuses == [200] * AT_ONCE
    record(f"{AT_ONCE} requests that waited for Keycloak at once, all answered", time.monotonic() - began)
    stack.await_healthy()


def test_what_was_sent_is_not_sent_again(stack: Drill, live: Live, accounts: Accounts) -> None:
    user, login = accounts.create("viewer"), Login(live)
    token = login.tokens(user.username, user.password)["refresh_token"]
    process = live.pid("keycloak")
    with ThreadPoolExecutor(1) as pool:
        # nginx then has a connection that it uses again: on a new one it would wait for the handshake, and nothing be sent.
        assert login.client.get(f"{OPENID}/certs").status_code == 200
        os.kill(process, signal.SIGSTOP)
        sent = pool.submit(login.refresh, token)
        time.sleep(2)
        began = time.monotonic()
        os.kill(process, signal.SIGKILL)
        assert sent.result().status_code == 502
        assert time.monotonic() - began < 5
    stack.await_healthy()
    # It was not carried out: the token is as good as before.
    assert Login(live).refresh(token).status_code == 200


def test_the_wait_ends_and_can_be_declined(stack: Drill, live: Live, record: Record) -> None:
    stack.end_watch()  # it would be started again within the 25 s
    podman(live, "stop", "--time", "30")
    try:
        began = time.monotonic()
        answer = live.site.get(f"{OPENID}/certs", headers={"Prefer": "wait=0"})
        assert answer.status_code in (502, 504) and time.monotonic() - began < 2
        began = time.monotonic()
        answer = live.site.get(f"{OPENID}/certs")
        took = time.monotonic() - began
        assert answer.status_code in (502, 504) and answer.headers["X-Request-ID"] in answer.text
        assert HELD_SECONDS <= took < HELD_SECONDS + 5
        record("until a request gives up waiting for Keycloak", took)
    finally:
        podman(live, "start")
        stack.watch()
        stack.await_healthy()
