"""/health, /metrics and /status: read-only, so that no neighbour on the network can start or stop anything."""

import json
from collections.abc import Callable
from dataclasses import asdict
from datetime import UTC, datetime
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

from . import metrics
from .settings import Settings
from .state import State, problems

PORT = 9101


def status(state: State, settings: Settings) -> dict:
    found = problems(state, settings, datetime.now(UTC))
    return {
        "healthy": not found,
        "problems": found,
        "running": state.running,
        "last_success": asdict(state.done),
        "repository": asdict(state.repository),
        "jobs": {job: asdict(entry) for job, entry in state.journal.items()},
        "seen": state.seen,
    }


def make_server(view: Callable[[], State], settings: Settings, port: int = PORT) -> ThreadingHTTPServer:
    class Handler(BaseHTTPRequestHandler):
        server_version = "backup"
        sys_version = ""
        timeout = 10

        def do_GET(self) -> None:
            report = status(view(), settings)
            if self.path == "/health":
                body = json.dumps({"healthy": report["healthy"], "problems": report["problems"]})
                self._answer(200 if report["healthy"] else 503, "application/json", body)
            elif self.path == "/metrics":
                self._answer(200, "text/plain; version=0.0.4", metrics.render(view(), report["healthy"]))
            elif self.path == "/status":
                self._answer(200, "application/json", json.dumps(report, default=datetime.isoformat))
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
