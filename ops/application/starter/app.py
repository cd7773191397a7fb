"""The smallest backend that fulfils the contract (inv app.check): the standard library, no database.

app.py                      serves
app.py migrate [--check]    brings the schema up to date; there is none
"""

import json
import os
import signal
import socket
import ssl
import sys
import threading
import time
from collections import Counter
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from types import FrameType

ADDRESS = ("", 8000)
CERTIFICATE = "/etc/tls/tls.pem"
DRAIN_SECONDS = 2.0
"""Longer than nginx keeps an idle connection (1 s): it may be sending a request on one."""
LAST_REQUEST_SECONDS = 0.3
"""For a request on a connection that was accepted last."""
FINISH_SECONDS = 20.0

draining = threading.Event()
tls = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
tls.minimum_version = ssl.TLSVersion.TLSv1_3
guard = threading.Lock()
answers: Counter[int] = Counter()
busy: set[object] = set()
"""Connections with a request under way. The others may be silent for long: Prometheus keeps one between two scrapes."""


def log(message: str, level: str = "info", **fields: object) -> None:
    print(json.dumps({"level": level, "message": message, **fields}), flush=True)


class Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    timeout = 75.0

    def parse_request(self) -> bool:
        with guard:
            busy.add(self)
        return super().parse_request()

    def handle_one_request(self) -> None:
        try:
            super().handle_one_request()
        finally:
            with guard:
                busy.discard(self)

    def do_GET(self) -> None:
        path = self.path.partition("?")[0]
        if path == "/api/v1/health/live":
            self.answer(200, {"status": "ok"})
        elif path == "/api/v1/health/ready":
            self.answer(503 if draining.is_set() else 200, {"status": "draining" if draining.is_set() else "ok"})
        elif path == "/metrics":
            with guard:
                counted = [f'http_requests_total{{status="{status}"}} {number}' for status, number in answers.items()]
            self.answer(200, "# TYPE http_requests_total counter\n" + "\n".join(counted) + "\n")
        elif path == "/api/v1/hello":
            self.answer(200, {"hello": "world"})
        else:
            self.answer(404, {"title": "Not Found", "status": 404})

    def do_POST(self) -> None:
        self.rfile.read(int(self.headers.get("Content-Length") or 0))
        self.answer(405, {"title": "Method Not Allowed", "status": 405})

    def answer(self, status: int, content: dict[str, object] | str) -> None:
        body = (content if isinstance(content, str) else json.dumps(content)).encode()
        with guard:
            answers[status] += 1
        self.send_response(status)
        self.send_header("Content-Type", "text/plain" if isinstance(content, str) else "application/json")
        self.send_header("Content-Length", str(len(body)))
        if draining.is_set():
            self.send_header("Connection", "close")
        self.end_headers()
        self.wfile.write(body)
        path = self.path.partition("?")[0]
        if not path.startswith("/api/v1/health/") and path != "/metrics":
            log(f"{self.command} {path} {status}", request_id=self.headers.get("X-Request-ID"), status=status)

    def log_message(self, format: str, *args: object) -> None:
        """answer() writes the log."""


class Server(ThreadingHTTPServer):
    request_queue_size = 1024

    def finish_request(self, request: socket.socket, client_address: object) -> None:  # type: ignore[override]
        # In the thread of the connection: a client that is slow to shake hands holds up nobody else.
        try:
            request.settimeout(10)
            with tls.wrap_socket(request, server_side=True) as secure:
                super().finish_request(secure, client_address)
        except OSError:
            pass  # The client has gone.


def renew(number: int, frame: FrameType | None) -> None:
    """SIGHUP: another certificate lies there. Connections stay, later ones use it."""
    tls.load_cert_chain(CERTIFICATE)
    log("certificate taken up")


def drain(server: Server) -> None:
    """SIGTERM: go on answering until nginx knows, then refuse what is new and finish what has begun."""
    log("draining")
    draining.set()
    time.sleep(DRAIN_SECONDS)
    server.shutdown()
    # Left open, the kernel would go on taking connections that nobody answers.
    server.socket.close()
    time.sleep(LAST_REQUEST_SECONDS)
    end = time.monotonic() + FINISH_SECONDS
    while busy and time.monotonic() < end:
        time.sleep(0.05)
    log("stopped")
    os._exit(0)


def serve() -> None:
    tls.load_cert_chain(CERTIFICATE)
    server = Server(ADDRESS, Handler)
    signal.signal(signal.SIGHUP, renew)
    signal.signal(signal.SIGUSR1, signal.SIG_IGN)  # It has no WebSockets to close.
    signal.signal(signal.SIGTERM, lambda number, frame: threading.Thread(target=drain, args=(server,)).start())
    log("serving")
    server.serve_forever(poll_interval=0.1)
    threading.Event().wait()  # drain ends the process.


def migrate(check: bool) -> None:
    print(json.dumps({"revision": None, **({"pending": []} if check else {"applied": []})}))


if __name__ == "__main__":
    if sys.argv[1:2] == ["migrate"]:
        migrate("--check" in sys.argv)
    else:
        serve()
