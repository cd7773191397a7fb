"""As much of RFC 6455 as a test needs: one TLS connection, text frames, no fragments."""

from __future__ import annotations

import base64
import json
import secrets
import socket
import ssl
import struct
from types import TracebackType
from typing import Any, Self

from tests.smoke.live import Live

TEXT, CLOSE, PING = 1, 8, 9


class Closed(Exception):
    """The server has closed the connection; the argument is the close code."""


class WebSocket:
    def __init__(self, live: Live, path: str, timeout: float = 10, over: socket.socket | None = None) -> None:
        """`over`: a connection to nginx that is there already; otherwise one is opened from this host."""
        context = ssl.create_default_context(cafile=str(live.ca))
        raw = over or socket.create_connection(("127.0.0.1", live.ports["https"]), timeout)
        self._socket = context.wrap_socket(raw, server_hostname=live.domain)
        self._input = self._socket.makefile("rb")
        key = base64.b64encode(secrets.token_bytes(16)).decode()
        self._socket.sendall(
            f"GET {path} HTTP/1.1\r\nHost: {live.domain}\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
            f"Sec-WebSocket-Key: {key}\r\nSec-WebSocket-Version: 13\r\n\r\n".encode()
        )
        status = self._input.readline().decode().strip()
        assert " 101 " in status, status
        while self._input.readline().strip():
            pass

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, problem: BaseException | None, trace: TracebackType | None) -> None:
        self._input.close()
        self._socket.close()

    def send(self, message: dict[str, Any]) -> None:
        data, mask = json.dumps(message).encode(), secrets.token_bytes(4)
        length = struct.pack("!B", 128 | len(data)) if len(data) < 126 else struct.pack("!BH", 128 | 126, len(data))
        masked = bytes(byte ^ mask[index % 4] for index, byte in enumerate(data))
        self._socket.sendall(bytes([128 | TEXT]) + length + mask + masked)

    def receive(self) -> dict[str, Any]:
        """The next message. Raises Closed when there is none any more, TimeoutError when none comes."""
        while True:
            kind, length = self._input.read(1)[0] & 15, self._input.read(1)[0]
            if length >= 126:
                (length,) = struct.unpack("!H", self._input.read(2))
            data = self._input.read(length)
            if kind == CLOSE:
                raise Closed(struct.unpack("!H", data[:2])[0])
            if kind == TEXT:
                message: dict[str, Any] = json.loads(data)
                return message
