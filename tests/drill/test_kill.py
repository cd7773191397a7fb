"""kill -9 of each container's main process: it comes back by itself, and nothing that was acknowledged is lost."""

from __future__ import annotations

import secrets
import threading
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager

import pytest
import requests
import yaml

from ops.core.machine import REPOSITORY
from ops.stack.checkout import read_settings
from tests.drill.conftest import Record
from tests.drill.stack import PATIENCE, Drill, inv, kill
from tests.smoke.accounts import Account
from tests.smoke.conftest import item_input
from tests.smoke.live import Live, eventually
from tests.smoke.test_redis import connection

PROMISED = 15.0
PROMISED_OF = {"keycloak": 45.0}
WRITTEN_SECONDS = 35.0
"""Seconds after which Alertmanager has written down what it was told."""


def slots() -> list[str]:
    """Every container that the checkout wants."""
    settings = read_settings(REPOSITORY)
    services = yaml.safe_load((REPOSITORY / "compose" / "compose.yaml").read_text())["services"]
    names: list[str] = []
    for service, definition in services.items():
        replicas = int(settings.replicas_of(service) or 0) if "replicas" in definition["deploy"] else 0
        names += [f"{service}-{number}" for number in range(1, replicas + 1)] or [service]
    return names


class Writer(threading.Thread):
    """Creates items through the public API without a pause in the trying, and keeps what was acknowledged."""

    def __init__(self, editor: Account) -> None:
        super().__init__(daemon=True)
        self.editor = editor
        self.acknowledged: list[str] = []
        self.refused = 0
        self.longest_gap = 0.0
        self._ended = threading.Event()

    def run(self) -> None:
        last = time.monotonic()
        while not self._ended.wait(0.05):
            try:
                item = item_input(sku=f"DRILL-{secrets.token_hex(8)}")
                answer = self.editor("POST", "/items", json=item, timeout=3)
            except (requests.RequestException, AssertionError):
                self.refused += 1
                continue
            if answer.status_code != 201:
                self.refused += 1
                continue
            self.acknowledged.append(item["sku"])
            self.longest_gap = max(self.longest_gap, time.monotonic() - last)
            last = time.monotonic()

    def end(self) -> None:
        self._ended.set()
        self.join(30)


@contextmanager
def writing(editor: Account) -> Iterator[Writer]:
    writer = Writer(editor)
    writer.start()
    try:
        eventually(lambda: "" if len(writer.acknowledged) >= 10 else f"{len(writer.acknowledged)} items written", 60)
        yield writer
    finally:
        writer.end()


def sql(stack: Drill, statement: str) -> set[str]:
    return set(Live(stack.project).exec("postgres", "psql", "-d", "app", "-Atqc", statement).stdout.split())


def killed_until_healthy(stack: Drill, slot: str) -> float:
    """Seconds from kill -9 of its main process until the container is healthy with another one."""
    old = stack.pid(slot)
    began = time.monotonic()
    kill(old)

    def reason() -> str:
        state = stack.containers()[slot]["State"]
        if int(state["Pid"]) in (0, old):
            return f"it is {state['Status']}"
        return stack.unhealthy(slot)

    eventually(reason, PATIENCE)
    return time.monotonic() - began


@pytest.mark.parametrize("slot", slots())
def test_container_comes_back_and_nothing_acknowledged_is_lost(
    stack: Drill, editor: Account, record: Record, slot: str
) -> None:
    if slot not in stack.containers():
        pytest.skip("an optional service that this host has no image of")
    identity = stack.containers()[slot]["Id"]
    with writing(editor) as writer:
        seconds = killed_until_healthy(stack, slot)
        held = len(writer.acknowledged)
        eventually(lambda: "" if len(writer.acknowledged) > held + 5 else "the API takes no more writes", PATIENCE)
    note = f"longest wait of a writer {writer.longest_gap:.1f} s, {writer.refused} requests refused"
    service = stack.project.stack.service_of(slot).name
    record(f"kill -9 {slot}", seconds, PROMISED_OF.get(service, PROMISED), note)

    assert set(writer.acknowledged) <= sql(stack, "SELECT sku FROM items WHERE sku LIKE 'DRILL-%'")
    # Podman has restarted the same container: no command of ours was needed.
    assert stack.containers()[slot]["Id"] == identity
    sql(stack, "DELETE FROM items WHERE sku LIKE 'DRILL-%'")


def test_redis_keeps_what_it_acknowledged_just_before(stack: Drill, live: Live) -> None:
    mark = f"app:drill:{secrets.token_hex(4)}"
    keys = [f"{mark}:{number}" for number in range(200)]
    with connection(live, "app") as ask:
        assert [ask("SET", key, key, "EX", "600") for key in keys] == ["OK"] * len(keys)
        killed_until_healthy(stack, "redis")

    again = Live(stack.project)
    with connection(again, "app") as ask:
        # The log is written before the answer and flushed every second: only a power cut can take the last second.
        assert [ask("GET", key) for key in keys] == keys
        ask("DEL", *keys)


def test_silence_outlives_the_death_of_alertmanager(stack: Drill) -> None:
    made = inv("alerts.silence", "TrialKept", "--for", "10m", "--reason", "drill")
    assert made.returncode == 0, made.stderr
    time.sleep(WRITTEN_SECONDS)
    killed_until_healthy(stack, "alertmanager")

    assert "TrialKept" in inv("alerts.silence", "--list").stdout
    inv("alerts.silence", "--expire", made.stdout.split(": ")[1].split()[0])


def token_status(live: Live) -> int:
    """Status of Keycloak's answer to a client that asks for a token, which takes several questions to its database."""
    grant = {"grant_type": "client_credentials", "client_id": "cc03-ops", "client_secret": live.secret("keycloak-ops")}
    return live.ops("POST", "/auth/realms/master/protocol/openid-connect/token", data=grant).status_code


def test_keycloak_uses_no_connection_that_the_death_of_postgres_has_cut(stack: Drill, live: Live) -> None:
    with ThreadPoolExecutor(max_workers=20) as pool:
        # At once, so that the pool has many connections to lose.
        assert set(pool.map(lambda _: token_status(live), range(60))) == {200}
    killed_until_healthy(stack, "postgres")

    assert [token_status(live) for _ in range(25)] == [200] * 25


def request_number(live: Live) -> str:
    """The number that a request was given, under which its lines are found."""
    answer = live.site.get("/api/v1/items")
    assert answer.status_code == 401
    return answer.headers["X-Request-ID"]


def test_lines_written_while_the_log_store_was_dead_are_found(stack: Drill, live: Live) -> None:
    numbers = [request_number(live)]
    kill(stack.pid("logs"))
    numbers.append(request_number(live))
    stack.await_healthy("logs")
    numbers.append(request_number(live))

    def missing() -> str:
        absent = [number for number in numbers if not live.log_lines(f'request_id:"{number}"')]
        return f"{len(absent)} of {len(numbers)} requests left no line" if absent else ""

    eventually(missing, 60)
