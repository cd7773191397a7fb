"""Connections of strangers who take places and send nothing more, and requests that one of them repeats."""

from __future__ import annotations

import re
import resource
import socket
import ssl
from collections import Counter
from collections.abc import Iterable, Iterator
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import dataclass

from ops.engines.podman.supervisor.health import network_of
from tests.drill.walls.shapes import secured_to

SECONDS = 10.0
PATIENCE = 60.0
"""Seconds for one answer of a busy machine."""
CLIENT_HELLO = bytes.fromhex("16030102000100")
"""The first bytes of a handshake that is never continued."""


@dataclass(frozen=True)
class Stranger:
    """A container beside nginx. `pid`: of a process of it; `address`: nginx' own on a network of both; `name`: the site's."""

    pid: int
    address: str
    name: str

    def connect(self) -> ssl.SSLSocket:
        with network_of(self.pid):
            connection = secured_to(self.address, 8443, self.name)
        connection.settimeout(PATIENCE)
        return connection

    def connect_plainly(self) -> socket.socket:
        """Without a handshake."""
        with network_of(self.pid):
            return socket.create_connection((self.address, 8443), SECONDS)

    def head(self, method: str, path: str, *headers: str) -> bytes:
        return "\r\n".join([f"{method} {path} HTTP/1.1", f"Host: {self.name}", *headers, "", ""]).encode()


@contextmanager
def held(begun: Iterable[tuple[Stranger, bytes]]) -> Iterator[list[ssl.SSLSocket]]:
    """Requests that have begun and are not continued during the block."""
    with ExitStack() as stack:
        connections = []
        for stranger, sent in begun:
            connection = stack.enter_context(stranger.connect())
            connection.sendall(sent)
            connections.append(connection)
        yield connections


@contextmanager
def half_open(stranger: Stranger, number: int) -> Iterator[list[socket.socket]]:
    """Handshakes that have begun and are not continued during the block."""
    most = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (min(most[1], number + 1024), most[1]))
    with ExitStack() as stack:
        stack.callback(resource.setrlimit, resource.RLIMIT_NOFILE, most)
        connections = []
        for _ in range(number):
            with suppress(OSError):
                connection = stack.enter_context(stranger.connect_plainly())
                connection.sendall(CLIENT_HELLO)
                connections.append(connection)
        yield connections


def waiting(connections: Iterable[socket.socket]) -> int:
    """How many of them have been neither answered nor closed."""
    return sum(not _answered(one) for one in connections)


def _answered(connection: socket.socket) -> bool:
    connection.settimeout(0.0)
    try:
        connection.recv(1)
    except (BlockingIOError, ssl.SSLWantReadError):
        return False
    except OSError:
        return True
    return True


def statuses(stranger: Stranger, request: bytes, number: int, until: int = 0) -> Counter[int]:
    """Statuses of a request that is sent again and again on one connection, until one of them is as said."""
    found: Counter[int] = Counter()
    connection = stranger.connect()
    try:
        for _ in range(number):
            connection.sendall(request)
            status, last = _answer(connection)
            found[status] += 1
            if status == until:
                break
            if last:
                connection.close()
                connection = stranger.connect()
    finally:
        connection.close()
    return found


def _answer(connection: ssl.SSLSocket) -> tuple[int, bool]:
    """Status of one answer, and whether the connection ends with it."""
    text = b""
    while b"\r\n\r\n" not in text:
        chunk = connection.recv(65536)
        assert chunk, f"cut off: {text[:200]!r}"
        text += chunk
    head, _, body = text.partition(b"\r\n\r\n")
    length = re.search(rb"^content-length: (\d+)", head, re.IGNORECASE | re.MULTILINE)
    chunked = re.search(rb"^transfer-encoding: chunked", head, re.IGNORECASE | re.MULTILINE)
    while (length and len(body) < int(length[1])) or (chunked and not body.endswith(b"0\r\n\r\n")):
        chunk = connection.recv(65536)
        assert chunk, "cut off"
        body += chunk
    last = bool(re.search(rb"^connection: close", head, re.IGNORECASE | re.MULTILINE))
    return int(head.split(b" ", 2)[1]), last
