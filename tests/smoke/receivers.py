"""Receivers of alerts that tests run themselves: an SMTP server and a webhook."""

from __future__ import annotations

import json
import socket
import socketserver
import threading
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from email import message_from_bytes
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from ipaddress import ip_address
from typing import Any

from ops.security_audit.probe.connections import host_addresses
from ops.stack.allocate import POOL
from tests.smoke.live import Live


def mail_server(address: str, received: list[str], port: int = 0) -> socketserver.ThreadingTCPServer:
    """`received`: takes addressee and subject of each message."""

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
                    received.append(f"{message['To']}: {message['Subject']}")
                self.wfile.write(b"221 bye\r\n" if verb == b"QUIT" else b"250 OK\r\n")
                if verb == b"QUIT":
                    return

    return socketserver.ThreadingTCPServer((address, port), Mail)


def hook_server(address: str, received: list[str], port: int = 0) -> ThreadingHTTPServer:
    """`received`: takes path, status and name of each notice."""

    class Hook(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            body = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
            received.append(f"{self.path} {body['status']} {body['commonLabels']['alertname']}")
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
