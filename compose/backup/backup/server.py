"""/health, /metrics and /status: read-only, so that no neighbour on the network can start or stop anything."""

import json
import socket
import ssl
from collections.abc import Callable
from datetime import UTC, datetime
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

from . import metrics
from .paths import OWN_CERTIFICATE, ROOTS
from .report import status
from .settings import Settings
from .state import State, faults

PORT = 9101
HANDSHAKE_SECONDS = 5.0
CLIENTS = frozenset({"prometheus", "backup"})
"""Who is served, by the names on their certificates. The backup itself is its health check."""


class Server(ThreadingHTTPServer):
    """Over TLS, to declared clients. Certificate and roots are read for each connection, of which there are a few a minute: new
    ones need no reload."""

    daemon_threads = True

    def __init__(self, port: int, handler: type[BaseHTTPRequestHandler], certificate: Path, roots: Path) -> None:
        super().__init__(("", port), handler)
        self._certificate, self._roots = certificate, roots

    def finish_request(self, request: socket.socket, client_address: object) -> None:
        """In the connection's own thread: a client that is slow to shake hands keeps nobody waiting."""
        request.settimeout(HANDSHAKE_SECONDS)
        try:
            context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
            context.minimum_version = ssl.TLSVersion.TLSv1_3
            context.verify_mode = ssl.CERT_REQUIRED
            context.load_verify_locations(self._roots)
            self._show_certificate(context)
            with context.wrap_socket(request, server_side=True) as secured:
                if names_of(secured) & CLIENTS:
                    super().finish_request(secured, client_address)
        except OSError:
            # Plain text, a client without a certificate or that does not trust this one, or one that has gone.
            return

    def _show_certificate(self, context: ssl.SSLContext) -> None:
        try:
            context.load_cert_chain(self._certificate)
        except ssl.SSLError:
            # OpenSSL opens it once for the chain and once for the key: it may have been replaced in between.
            context.load_cert_chain(self._certificate)


def names_of(secured: ssl.SSLSocket) -> set[str]:
    """The host names on the certificate of the other side."""
    found = (secured.getpeercert() or {}).get("subjectAltName", ())
    return {str(name) for kind, name in found if kind == "DNS"}


def make_server(
    view: Callable[[], State], settings: Settings, port: int = PORT, certificate: Path = OWN_CERTIFICATE, roots: Path = ROOTS
) -> ThreadingHTTPServer:
    class Handler(BaseHTTPRequestHandler):
        server_version = "backup"
        sys_version = ""
        timeout = 10

        def do_GET(self) -> None:
            now = datetime.now(UTC)
            wrong = faults(view(), settings, now)
            if self.path == "/health":
                self._answer(503 if wrong else 200, "application/json", json.dumps({"healthy": not wrong, "problems": wrong}))
            elif self.path == "/metrics":
                self._answer(200, "text/plain; version=0.0.4", metrics.render(view(), not wrong, now))
            elif self.path == "/status":
                self._answer(200, "application/json", json.dumps(status(view(), settings, now), default=datetime.isoformat))
            else:
                self._answer(404, "application/json", json.dumps({"error": "not found"}))

        def _answer(self, code: int, kind: str, body: str) -> None:
            data = f"{body}\n".encode()
            self.send_response(code)
            self.send_header("Content-Type", kind)
            self.send_header("Content-Length", str(len(data)))
            self.end_headers()
            self.wfile.write(data)

        def log_message(self, *args: object) -> None:
            """Probes every few seconds are not worth a line each."""

    return Server(port, Handler, certificate, roots)
