"""Requests to the published listeners as a stranger, a neighbour and an impatient client put them."""

from __future__ import annotations

import http.client
import socket
import ssl
import time
from collections import Counter
from collections.abc import Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager, nullcontext
from dataclasses import dataclass

from ops.engines.podman.supervisor.health import network_of
from ops.security_audit.controls.http import BURSTS, PLAIN, REQUESTS, SITE, Burst, Request
from ops.security_audit.facts import Answer, BurstSeen, Unread

SECONDS = 10.0
REFUSED = 429
KEPT = 4096
"""Bytes of a body that are looked at."""
INNER = {SITE: 8443, "ops": 9443, PLAIN: 8080}
"""Ports at which a neighbour reaches nginx."""
WORKERS = 4
"""Connections at once of a burst: one alone may be slower than the limit."""
AGENT = "cc03-audit"


@dataclass(frozen=True)
class Front:
    """Where the site is. `neighbour`: process of another container on nginx' public network; `inner`: nginx' address there."""

    domain: str
    site: str
    ports: Mapping[str, int]
    neighbour: int
    inner: str

    @contextmanager
    def connection(self, listener: str, *, neighbour: bool) -> Iterator[http.client.HTTPConnection]:
        """HTTP/1.1 with a listener, without a look at its certificate: that is another control's question."""
        port = self.ports[{SITE: "https", PLAIN: "http"}.get(listener, listener)]
        where = (self.inner, INNER[listener]) if neighbour else ("127.0.0.1", port)
        with network_of(self.neighbour) if neighbour else nullcontext():
            raw = socket.create_connection(where, SECONDS)
        connection = http.client.HTTPConnection(*where, timeout=SECONDS)
        try:
            connection.sock = raw if listener == PLAIN else _unverified().wrap_socket(raw, server_hostname=self.name(listener))
            yield connection
        finally:
            connection.close()
            raw.close()

    def name(self, listener: str) -> str:
        return "localhost" if listener == "ops" else self.domain


def _unverified() -> ssl.SSLContext:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
    return context


def send(connection: http.client.HTTPConnection, request: Request, name: str, site: str) -> Answer:
    headers = {"Host": name, "User-Agent": AGENT, **request.headers}
    connection.putrequest(request.method, request.path.replace("{site}", site), skip_host=True, skip_accept_encoding=True)
    body = request.body.encode()
    if body or request.method == "POST":
        headers["Content-Length"] = str(len(body))
    for key, value in headers.items():
        connection.putheader(key, value)
    connection.endheaders(body or None)
    answer = connection.getresponse()
    found: dict[str, str] = {}
    for key, value in answer.getheaders():
        found[key.lower()] = f"{found[key.lower()]}\n{value}" if key.lower() in found else value
    return Answer(answer.status, found, answer.read()[:KEPT].decode(errors="replace"))


def ask(front: Front, request: Request) -> Answer:
    """One request on a connection of its own. Raises OSError or HTTPException where there is no answer."""
    with front.connection(request.listener, neighbour=request.neighbour) as connection:
        return send(connection, request, front.name(request.listener), front.site)


def answers(front: Front) -> Mapping[str, Answer] | Unread:
    """The answers to all requests that the controls know. One that cannot be had leaves the whole unread."""

    def one(name: str) -> tuple[str, Answer]:
        return name, ask(front, REQUESTS[name])

    try:
        with ThreadPoolExecutor(max_workers=8) as pool:
            return dict(pool.map(one, REQUESTS))
    except (OSError, http.client.HTTPException) as problem:
        return Unread(f"the site does not answer: {str(problem) or type(problem).__name__}")


def bursts(front: Front) -> Mapping[str, BurstSeen] | Unread:
    """Ask too often, from another container: its address is limited afterwards for some seconds, and nobody else's."""
    try:
        seen = {kind: burst(front, one) for kind, one in BURSTS.items()}
    except (OSError, http.client.HTTPException) as problem:
        return Unread(f"the site does not answer: {str(problem) or type(problem).__name__}")
    if slow := [kind for kind, one in seen.items() if not BURSTS[kind].proves(one)]:
        return Unread(f"the site answered too slowly for its limits to be reached ({', '.join(slow)})")
    return seen


def burst(front: Front, wanted: Burst) -> BurstSeen:
    """Ask on several connections at once until one request is refused, or more got through than the limit allows."""
    began, statuses = time.monotonic(), Counter[int]()

    def so_far() -> BurstSeen:
        through = sum(number for status, number in statuses.items() if status != REFUSED)
        return BurstSeen(through, time.monotonic() - began, bool(statuses[REFUSED]))

    def worker(_: int) -> None:
        with front.connection(SITE, neighbour=True) as connection:
            while not wanted.proves(seen := so_far()) and seen.seconds < SECONDS:
                request = Request(SITE, wanted.path, wanted.method)
                statuses[send(connection, request, front.domain, front.site).status] += 1

    with ThreadPoolExecutor(max_workers=WORKERS) as pool:
        list(pool.map(worker, range(WORKERS)))
    return so_far()
