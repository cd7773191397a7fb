"""Receivers of alerts that tests run themselves: an SMTP server and a webhook."""

from __future__ import annotations

import base64
import json
import socket
import socketserver
import ssl
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from email import message_from_bytes
from email.header import decode_header, make_header
from email.message import Message
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from ipaddress import ip_address
from typing import Any

from ops.security_audit.probe.connections import host_addresses
from ops.stack.allocate import POOL
from tests.smoke.live import Live


@dataclass(frozen=True)
class Closed:
    """What a mail server asks for before it takes a message: TLS, by the certificate of `context`, and this login."""

    context: ssl.SSLContext
    user: str
    password: str

    @property
    def plain(self) -> bytes:
        """RFC 4616, in base64."""
        return base64.b64encode(f"\0{self.user}\0{self.password}".encode())


def mail_server(
    address: str, received: list[str], port: int = 0, bodies: list[str] | None = None, closed: Closed | None = None
) -> socketserver.ThreadingTCPServer:  # fmt: skip
    """`received`: takes addressee and subject of each message. `bodies`: its parts, as text."""

    class Mail(socketserver.StreamRequestHandler):
        """As much of RFC 5321, 3207 and 4954 as one message takes."""

        known = encrypted = False

        def _line(self) -> bytes:
            with suppress(ConnectionError):  # who only connects, to see whether that works
                return self.rfile.readline()
            return b""

        def _take(self) -> None:
            self.wfile.write(b"354 go on\r\n")
            message = message_from_bytes(b"".join(iter(self.rfile.readline, b".\r\n")))
            received.append(f"{message['To']}: {make_header(decode_header(message['Subject']))}")
            parts = [part for part in message.walk() if not part.is_multipart()]
            (bodies if bodies is not None else []).extend(_text(part) for part in parts)

        def _greeting(self) -> bytes:
            if closed is None:
                return b"250 OK"
            return b"250-test\r\n250 AUTH PLAIN" if self.encrypted else b"250-test\r\n250 STARTTLS"

        def _encrypt(self, context: ssl.SSLContext) -> None:
            self.wfile.write(b"220 go on\r\n")
            self.request = context.wrap_socket(self.request, server_side=True)
            self.setup()
            self.encrypted = True

        def _answer(self, verb: bytes, line: bytes) -> bytes:
            if verb == b"EHLO":
                return self._greeting()
            if verb == b"AUTH" and closed:
                self.known = self.encrypted and line.split()[-1] == closed.plain
                return b"235 OK" if self.known else b"535 wrong"
            if verb == b"MAIL" and closed and not self.known:
                return b"530 login first"
            if verb == b"DATA":
                self._take()
            return b"221 bye" if verb == b"QUIT" else b"250 OK"

        def handle(self) -> None:
            self.wfile.write(b"220 test ESMTP\r\n")
            while line := self._line():
                verb = line[:4].upper()
                if verb == b"STAR" and closed:
                    self._encrypt(closed.context)
                    continue
                self.wfile.write(self._answer(verb, line) + b"\r\n")
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
    """The address by which this host reaches others; on a host that reaches none, any that is not one of a stack's."""
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as asked, suppress(OSError):
        asked.connect(("203.0.113.1", 9))  # nothing is sent
        return str(asked.getsockname()[0])
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
