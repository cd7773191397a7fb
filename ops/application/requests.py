"""Requests to an application on a trial's network, which the host itself has no address on."""

from __future__ import annotations

import base64
import http.client
import secrets
import socket
import ssl
from collections.abc import Mapping
from dataclasses import dataclass, field

from ops.application.stage import Stage
from ops.stack.contract import PORTS

TIMEOUT = 5.0
BODY_BYTES = 1 << 20
TEXT_FRAME = 0x81
MASKED = 0x80


@dataclass(frozen=True)
class Reply:
    """An answer. `status` is 0 where there was none; then `body` says why."""

    status: int
    body: str
    headers: Mapping[str, str] = field(default_factory=dict)
    """Names in lower case."""

    @property
    def good(self) -> bool:
        return 200 <= self.status < 300

    def __str__(self) -> str:
        words = " ".join(self.body.split())[:100]
        return f"HTTP {self.status} {words}".rstrip() if self.status else words


def connected(stage: Stage) -> socket.socket:
    """A TCP connection to the application. Raises OSError."""
    return stage.engine.connect("app", PORTS[stage.part], TIMEOUT, stage.address("app"))


def secured(stage: Stage, plain: socket.socket) -> ssl.SSLSocket:
    """TLS 1.3 on a connection, verified for the name of the service, as nginx speaks it. Raises OSError."""
    context = ssl.create_default_context(cafile=str(stage.roots))
    context.minimum_version = ssl.TLSVersion.TLSv1_3
    return context.wrap_socket(plain, server_hostname=stage.part)


def shown_certificate(stage: Stage) -> bytes:
    """The certificate of a new connection. Raises OSError."""
    with connected(stage) as plain, secured(stage, plain) as secure:
        return secure.getpeercert(binary_form=True) or b""


def opened(stage: Stage) -> http.client.HTTPConnection:
    """A connection that may carry several requests. Raises OSError."""
    connection = http.client.HTTPConnection(stage.address("app"), timeout=TIMEOUT)
    connection.sock = secured(stage, connected(stage))
    return connection


def ask(
    stage: Stage, path: str, method: str = "GET", headers: Mapping[str, str] | None = None, body: bytes | None = None,
    on: http.client.HTTPConnection | None = None,
) -> Reply:  # fmt: skip
    """One request with the headers that nginx sets. `on`: a connection that stays open; absent: one of its own."""
    connection = on
    try:
        connection = on or opened(stage)
        sent = {"Host": stage.project.settings.domain, "X-Request-ID": secrets.token_hex(16), **(headers or {})}
        connection.request(method, path, body, sent)
        answer = connection.getresponse()
        content = answer.read(BODY_BYTES)
        found = {name.lower(): value for name, value in answer.getheaders()}
        return Reply(answer.status, content.decode(errors="replace"), found)
    except (OSError, http.client.HTTPException) as problem:
        return Reply(0, f"no answer: {str(problem) or type(problem).__name__}")
    finally:
        if connection and not on:
            connection.close()


def echoed(stage: Stage, path: str, text: str = "trial") -> str:
    """Why a WebSocket (RFC 6455) does not send back a text message; empty where it does. `HTTP n` where it opens none."""
    key = base64.b64encode(secrets.token_bytes(16)).decode()
    head = (
        f"GET {path} HTTP/1.1\r\nHost: {stage.project.settings.domain}\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
        f"Sec-WebSocket-Key: {key}\r\nSec-WebSocket-Version: 13\r\n\r\n"
    )
    mask, data = secrets.token_bytes(4), text.encode()
    frame = bytes([TEXT_FRAME, MASKED | len(data)]) + mask + bytes(one ^ mask[at % 4] for at, one in enumerate(data))
    try:
        with secured(stage, connected(stage)) as secure, secure.makefile("rb") as said:
            secure.sendall(head.encode())
            status = said.readline().decode(errors="replace").split(" ", 2)[1:2]
            if status != ["101"]:
                return f"HTTP {status[0] if status else 0}"
            while said.readline().strip():
                pass
            secure.sendall(frame)
            answer = said.read(2 + len(data))
    except OSError as problem:
        return f"no answer: {str(problem) or type(problem).__name__}"
    return "" if answer == bytes([TEXT_FRAME, len(data)]) + data else f"it sent {answer[:20]!r}"
