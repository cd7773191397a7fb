"""/health, /metrics and /status: read-only, so that no neighbour on the network can start or stop anything."""

import json
from collections.abc import Callable
from datetime import UTC, datetime
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

from . import metrics
from .report import status
from .settings import Settings
from .state import State, faults

PORT = 9101


def make_server(view: Callable[[], State], settings: Settings, port: int = PORT) -> ThreadingHTTPServer:
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

    server = ThreadingHTTPServer(("", port), Handler)
    server.daemon_threads = True
    return server
