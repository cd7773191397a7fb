"""Receivers of alerts that tests run themselves: an SMTP server and a webhook."""

from __future__ import annotations

import json
import socket
import socketserver
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from email import message_from_bytes
from email.header import decode_header, make_header
from email.message import Message
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from ipaddress import ip_address
from typing import Any

from ops.security_audit.probe.connections import host_addresses
from ops.stack.allocate import POOL
from tests.smoke.live import Live


def mail_server(
    address: str, received: list[str], port: int = 0, bodies: list[str] | None = None
) -> socketserver.ThreadingTCPServer:  # fmt: skip
    """`received`: takes addressee and subject of each message. `bodies`: its parts, as text."""

    class Mail(socketserver.StreamRequestHandler):
        """As much of RFC 5321 as one message takes."""

        def _line(self) -> bytes:
            with suppress(ConnectionError):  # who only connects, to see whether that works
                return self.rfile.readline()
            return b""

        def handle(self) -> None:
            self.wfile.write(b"220 test ESMTP\r\n")
            while line := self._line():
                verb = line[:4].upper()
                if verb == b"DATA":
                    self.wfile.write(b"354 go on\r\n")
                    message = message_from_bytes(b"".join(iter(self.rfile.readline, b".\r\n")))
                    received.append(f"{message['To']}: {make_header(decode_header(message['Subject']))}")
                    parts = [part for part in message.walk() if not part.is_multipart()]
                    (bodies if bodies is not None else []).extend(_text(part) for part in parts)
                self.wfile.write(b"221 bye\r\n" if verb == b"QUIT" else b"250 OK\r\n")
                if verb == b"QUIT":
                    return

    class Server(socketserver.ThreadingTCPServer):
        allow_reuse_address = True

    return Server((address, port), Mail)


def _text(part: Message) -> str:
    payload = part.get_payload(decode=True)
    return payload.decode() if isinstance(payload, bytes) else str(payload)


def hook_server(address: str, received: list[str], port: int = 0, bodies: list[Any] | None = None) -> ThreadingHTTPServer:
    """`received`: takes path, status and name of each notice. `bodies`: its JSON."""

    class Hook(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            body = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
            name = body.get("commonLabels", {}).get("alertname", "")
            received.append(f"{self.path} {body.get('status', '')} {name}")
            if bodies is not None:
                bodies.append((time.time(), self.path, body))
            self.send_response(200)
            self.end_headers()

        def log_message(self, format: str, *args: Any) -> None:
            """Not printed."""

    return ThreadingHTTPServer((address, port), Hook)


@contextmanager
def serving(server: socketserver.ThreadingTCPServer | ThreadingHTTPServer) -> Iterator[str]:
    """Serves during the block, at the address that it yields."""
    server.daemon_threads = True
    threading.Thread(target=server.serve_forever, daemon=True).start()
    try:
        yield "{}:{}".format(*server.server_address[:2])
    finally:
        server.shutdown()
        server.server_close()


def own_address() -> str:
    """An address of this host that is not one of a stack's."""
    return next(address for address in sorted(host_addresses()) if ip_address(address) not in POOL)


def reached(live: Live, where: str) -> bool:
    """Whether a connection comes about from Alertmanager's networks."""
    host, _, port = where.rpartition(":")
    with live.network("alertmanager"):
        try:
            socket.create_connection((host, int(port)), 2).close()
        except OSError:
            return False
    return True
