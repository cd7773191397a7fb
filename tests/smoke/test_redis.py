"""Redis keeps what it is told, and lets each user do what its service needs and nothing else."""

from __future__ import annotations

import secrets
import socket
import ssl
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import pytest

from ops.stack.certificates import TLS
from tests.smoke.live import Live


class Refused(Exception):
    """Redis answers with an error."""


class Connection:
    """As much of RESP2 as the questions here need."""

    def __init__(self, connected: socket.socket) -> None:
        self._socket = connected
        self._input = connected.makefile("rb")

    def __call__(self, *words: str) -> Any:
        parts = [f"${len(word.encode())}\r\n{word}\r\n" for word in words]
        self._socket.sendall(f"*{len(words)}\r\n{''.join(parts)}".encode())
        return self._answer()

    def _answer(self) -> Any:
        line = self._input.readline().decode().rstrip("\r\n")
        kind, value = line[:1], line[1:]
        if kind == "-":
            raise Refused(value)
        if kind == "$":
            return None if value == "-1" else self._input.read(int(value) + 2)[:-2].decode()
        if kind == "*":
            return [self._answer() for _ in range(int(value))]
        return int(value) if kind == ":" else value


@contextmanager
def connection(live: Live, user: str = "") -> Iterator[Connection]:
    """A connection from within the data network, logged in as one of the users."""
    context = ssl.create_default_context(cafile=str(live.ca))
    context.load_cert_chain(live.project.state.certs / "redis" / TLS)
    with live.network("redis"):
        raw = socket.create_connection(("127.0.0.1", 6379), timeout=5)
    with context.wrap_socket(raw, server_hostname="redis") as connected:
        ask = Connection(connected)
        if user:
            assert ask("AUTH", user, live.secret(f"redis-{user}")) == "OK"
        yield ask


def info(live: Live, section: str) -> dict[str, str]:
    with connection(live, "exporter") as ask:
        return dict(line.split(":", 1) for line in ask("INFO", section).splitlines() if ":" in line)


def test_every_write_goes_to_the_log(live: Live) -> None:
    kept = info(live, "persistence")

    assert (kept["loading"], kept["aof_enabled"], kept["aof_last_write_status"]) == ("0", "1", "ok")
    assert kept["aof_last_bgrewrite_status"] == "ok"
    assert info(live, "server")["redis_version"].startswith("7.")


def test_memory_has_a_ceiling_below_the_containers(live: Live) -> None:
    memory = info(live, "memory")

    assert 0 < int(memory["maxmemory"]) < live.project.stack.services["redis"].limits.memory_bytes
    assert memory["maxmemory_policy"] == "allkeys-lru"


@pytest.mark.parametrize("command", [("PING",), ("GET", "app:x"), ("INFO",), ("AUTH", "nonsense")])
def test_nobody_gets_in_without_a_password(live: Live, command: tuple[str, ...]) -> None:
    with connection(live) as ask, pytest.raises(Refused, match=r"NOAUTH|WRONGPASS"):
        ask(*command)


def test_application_writes_and_reads_its_own_keys(live: Live) -> None:
    key = f"app:smoke:{secrets.token_hex(5)}"
    with connection(live, "app") as ask:
        try:
            assert ask("SET", key, "✓", "EX", "30") == "OK"
            assert ask("GET", key) == "✓"
        finally:
            ask("DEL", key)
        assert ask("GET", key) is None


@pytest.mark.parametrize(
    ("user", "command"),
    [
        ("app", ("SET", "other:smoke", "1")), ("app", ("CONFIG", "GET", "*")), ("app", ("FLUSHALL",)), ("app", ("KEYS", "*")),
        ("app", ("ACL", "LIST")), ("app", ("PUBLISH", "other", "1")), ("exporter", ("GET", "app:smoke")),
        ("exporter", ("SET", "app:smoke", "1")), ("exporter", ("CONFIG", "SET", "maxmemory", "0")),
        ("backup", ("GET", "app:smoke")), ("backup", ("SHUTDOWN",)), ("backup", ("REPLICAOF", "NO", "ONE")),
    ],
)  # fmt: skip
def test_user_may_do_no_more_than_its_service_needs(live: Live, user: str, command: tuple[str, ...]) -> None:
    with connection(live, user) as ask, pytest.raises(Refused, match="NOPERM"):
        ask(*command)


def test_is_measured(live: Live) -> None:
    live.measures("redis_up")
