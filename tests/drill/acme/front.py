"""What may stand before an issuer: it passes everything on, until it is told to say that it was asked too often."""

from __future__ import annotations

import http.client
import json
import ssl
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

RETRY_AFTER = 7200
SECONDS = 20.0


class Front(ThreadingHTTPServer):
    """`limited`: whether it answers orders by 429 (RFC 8555, 6.6). `asked`: paths of requests so far."""

    daemon_threads = True

    def __init__(self, behind: int, folder: Path) -> None:
        super().__init__(("127.0.0.1", 0), _Handler)
        self.behind, self.limited = behind, False
        self.asked: list[str] = []
        self.trusting = ssl.create_default_context(cafile=str(folder / "ca.pem"))
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.load_cert_chain(folder / "cert.pem", folder / "key.pem")
        self.socket = context.wrap_socket(self.socket, server_side=True)

    @property
    def port(self) -> int:
        return int(self.server_address[1])


class _Handler(BaseHTTPRequestHandler):
    server: Front
    protocol_version = "HTTP/1.1"

    def _pass_on(self) -> None:
        self.server.asked.append(self.path)
        body = self.rfile.read(int(self.headers.get("Content-Length") or 0))
        if self.server.limited and self.path.startswith("/order"):
            self._refuse()
            return
        behind = http.client.HTTPSConnection("localhost", self.server.behind, context=self.server.trusting, timeout=SECONDS)
        # With the name under which it was asked: Pebble makes its addresses of that.
        behind.request(self.command, self.path, body, dict(self.headers))
        answer = behind.getresponse()
        content = answer.read()
        self.send_response(answer.status)
        for name, value in answer.getheaders():
            if name.lower() not in ("content-length", "transfer-encoding", "connection", "date"):
                self.send_header(name, value)
        self.send_header("Content-Length", str(len(content)))
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(content)

    def _refuse(self) -> None:
        said = {
            "type": "urn:ietf:params:acme:error:rateLimited",
            "detail": "too many certificates already issued",
            "status": 429,
        }
        content = json.dumps(said).encode()
        self.send_response(429)
        self.send_header("Content-Type", "application/problem+json")
        self.send_header("Retry-After", str(RETRY_AFTER))
        self.send_header("Content-Length", str(len(content)))
        self.end_headers()
        self.wfile.write(content)

    do_GET = do_POST = do_HEAD = _pass_on

    def log_message(self, format: str, *args: object) -> None:
        """Nothing: what was asked is kept."""


@contextmanager
def before(port: int, folder: Path) -> Iterator[Front]:
    """`folder`: has ca.pem, cert.pem and key.pem."""
    front = Front(port, folder)
    thread = threading.Thread(target=front.serve_forever)
    thread.start()
    try:
        yield front
    finally:
        front.shutdown()
        front.server_close()
        thread.join()
