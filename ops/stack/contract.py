"""The contract of a replaced application: what the deployer asks of the images of backend and frontend. Pure.

`inv app.check` tries each row, and docs/how-to/replace-the-application.md lists the same rows: a test compares the two.
"""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from urllib.parse import urlsplit

from ops.stack.settings import Settings

BACKEND, FRONTEND = "backend", "frontend"
PARTS = (BACKEND, FRONTEND)
PORTS: Mapping[str, int] = {BACKEND: 8000, FRONTEND: 8080}
READY: Mapping[str, str] = {BACKEND: "/api/v1/health/ready", FRONTEND: "/healthz"}
LIVE = "/api/v1/health/live"
OK, FAILED, ABSENT, UNTRIED = "ok", "failed", "absent", "not tried"
PAGE = "docs/how-to/replace-the-application.md"


@dataclass(frozen=True)
class Row:
    """One demand. `needed`: False where an application may lack it. `mend`: what to change where it is not met."""

    name: str
    parts: tuple[str, ...]
    expected: str
    mend: str
    needed: bool = True


ROWS = (
    Row("signals", PARTS, "`bash` is in the image: signals are sent by its `kill`",
        "install bash in the Containerfile, or build on the common base"),
    Row("migrate", (BACKEND,), "`migrate --check` and `migrate` exit 0; the last line is a JSON object ([below](#migrations))",
        "let the entry point accept `migrate`; without a database, print {\"revision\": null, \"pending\": []}"),
    Row("listens", PARTS,
        "without arguments it listens on all addresses: backend 8000, frontend 8080. It runs as 60703:60703, frontend "
        "60702:60702, without capabilities, on a read-only root; `/tmp` and `/run` are writable",
        "read its last log lines; write only below /tmp and /run; listen on 0.0.0.0"),
    Row("tls", PARTS, "TLS 1.3 there, with key and chain of `/etc/tls/tls.pem`",
        "load /etc/tls/tls.pem as certificate and key, and allow TLS 1.3"),
    Row("ready", PARTS,
        "backend `GET /api/v1/health/ready`, frontend `GET /healthz`: 2xx when requests can be answered, 503 otherwise; after "
        "120 s at most (`deadlines.start`)", "answer 2xx there, without a token"),
    Row("healthy", PARTS, "`/usr/local/bin/healthy` exits 0 within 5 s",
        "add an executable /usr/local/bin/healthy that requests the ready path"),
    Row("smoke", PARTS,
        "backend `GET` of `prober.get` ([below](#what-the-prober-requests)), frontend `GET /`: 2xx without a token",
        "answer 2xx there, or name in prober.get (config/stack.yaml) a path that does"),
    Row("logged-in", (BACKEND,),
        "`/usr/local/bin/logged-in NAME` exits 0 once this container can log in with the secret `NAME` (`postgres-app`, "
        "`redis-app`), or if it does not use it; run in each rotation",
        "add an executable /usr/local/bin/logged-in that tests the named secret"),
    Row("check-config", (FRONTEND,),
        "`/usr/local/bin/check-config FILE` exits 0 for a good `config.json`; run before it goes live",
        "add an executable /usr/local/bin/check-config; `exec true` accepts everything"),
    Row("metrics", (BACKEND,), "`GET /metrics` in Prometheus' format, with `http_requests_total{status}`",
        "count requests by status in http_requests_total at /metrics"),
    Row("logs", PARTS, "each line is a JSON object with `level` and `message`",
        "write one JSON object per line to standard output, also for the lines of libraries"),
    Row("request id", PARTS, "lines of a request carry `request_id`, from its header `X-Request-ID`",
        "log the header X-Request-ID as request_id", needed=False),
    Row("live", (BACKEND,),
        "`GET /api/v1/health/live` answers 2xx while the process works; without it, a busy container is restarted sooner",
        "answer 2xx there, whatever the state of the database", needed=False),
    Row("writes", (BACKEND,), "`POST` of `prober.post`: 2xx",
        "name another path in prober.post, or leave it empty", needed=False),
    Row("socket", (BACKEND,), "WebSocket of `prober.websocket`: echoes each text message",
        "name another path in prober.websocket, or leave it empty", needed=False),
    Row("download", (BACKEND,), "`GET` of `prober.download`: `Content-Length` and `Connection: close`, takes seconds",
        "name another path in prober.download, or leave it empty", needed=False),
    Row("reconnect", (BACKEND,), "process 1 survives SIGUSR1 and closes its WebSockets with 1012",
        "handle SIGUSR1, or ignore it"),
    Row("certificate", PARTS,
        "new connections get the new certificate after the file changes: backend after SIGHUP to process 1, frontend by "
        "itself",
        "reload /etc/tls/tls.pem at SIGHUP, or at each handshake"),
    Row("stop", PARTS,
        "backend, SIGTERM: answers on open connections for more than a second, each time with `Connection: close`, answers or "
        "refuses new ones, and ends within 30 s; frontend, SIGQUIT: ends within 15 s",
        "handle the signal in process 1 (exec in scripts): answer for more than a second, close the port, finish, end"),
)  # fmt: skip
"""In the order in which they are tried."""


def rows_of(part: str) -> tuple[Row, ...]:
    return tuple(row for row in ROWS if part in row.parts)


@dataclass(frozen=True)
class Found:
    """What the trial of a row showed."""

    row: Row
    result: str
    said: str = ""

    @property
    def bad(self) -> bool:
        return self.result in (FAILED, UNTRIED) and (self.row.needed or self.result == FAILED)


def smoke_path(part: str, reference: bool, settings: Settings) -> str:
    """The path that a new container must answer through nginx before an old one is touched.

    reference: whether the image is built from this repository's own folder, which has the default paths of the prober.
    """
    if part == FRONTEND:
        return "/"
    chosen = settings.prober.get
    return chosen if chosen and (reference or "get" in settings.prober.model_fields_set) else READY[part]


TRANSIENT = frozenset({408, 425, 429})


def is_refusal(status: int) -> bool:
    """Whether an answer is one that waiting does not change: the path is another one, or needs a token."""
    return 300 <= status < 500 and status not in TRANSIENT


def path_of(url: str) -> str:
    return urlsplit(url).path or "/"


def judge_logs(lines: Iterable[str]) -> str:
    """The first line that is not as the log store expects it, and why; empty: none."""
    for line in lines:
        try:
            entry = json.loads(line)
        except ValueError:
            return f"not JSON: {line[:100]}"
        if not isinstance(entry, dict):
            return f"not an object: {line[:100]}"
        if missing := [key for key in ("level", "message") if key not in entry]:
            return f"without {' and '.join(missing)}: {line[:100]}"
    return ""


def carries_request_id(lines: Iterable[str], request_id: str) -> bool:
    """Whether a line names a request by its id."""
    for line in lines:
        try:
            entry = json.loads(line)
        except ValueError:
            continue
        if isinstance(entry, dict) and entry.get("request_id") == request_id:
            return True
    return False


def judge_metrics(text: str) -> str:
    """What /metrics lacks; empty: nothing."""
    counted = [line for line in text.splitlines() if line.startswith("http_requests_total{")]
    if not counted:
        return "it has no http_requests_total with labels"
    return "" if any('status="' in line for line in counted) else "http_requests_total has no label status"


def judge_migration(check: Mapping[str, object] | None, done: Mapping[str, object] | None) -> str:
    """What the last lines of `migrate --check` and `migrate` lack; empty: nothing.

    check, done: those lines as JSON objects; None where they are none.
    """
    if check is None or not {"revision", "pending"} <= set(check):
        return "migrate --check: its last line is no JSON object with revision and pending"
    if not isinstance(check["pending"], list):
        return "migrate --check: pending is no list"
    if done is None or not {"revision", "applied"} <= set(done):
        return "migrate: its last line is no JSON object with revision and applied"
    return ""


REFUSED_SECONDS = 4.0
"""An application may register its paths after it is ready; not for this long."""


class Steady:
    """Whether one and the same refusal has come for REFUSED_SECONDS, without another answer in between."""

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._status, self._since = 0, 0.0

    def refuses(self, status: int) -> bool:
        """`status`: of the answer that has just come; 0 where there was none."""
        if status != self._status:
            self._status, self._since = status, self._clock()
        return is_refusal(status) and self._clock() - self._since >= REFUSED_SECONDS
