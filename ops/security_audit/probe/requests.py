"""HTTP requests to the published listeners, and from container to container to listeners that serve declared clients only."""

from __future__ import annotations

import http.client
import socket
import time
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager, nullcontext
from dataclasses import dataclass

from ops.certificates.served.handshake import unverified
from ops.core.state import State
from ops.engines.podman.supervisor.health import NamedConnection, network_of
from ops.security_audit.controls.http import BURSTS, PLAIN, REQUESTS, SITE, Burst, Request
from ops.security_audit.controls.network import allowed, place
from ops.security_audit.facts import Answer, BurstResult, ClientRequest, Connection, Unread
from ops.security_audit.listeners import Listener
from ops.security_audit.probe.connections import Place, addresses
from ops.stack.certificates import TLS
from ops.stack.model import Stack

SECONDS, NEIGHBOURS_SECONDS = 10.0, 5.0
REFUSED = 429
KEPT = 4096
"""Bytes of a body that are kept."""
INNER = {SITE: 8443, "ops": 9443, PLAIN: 8080}
"""Ports at which other containers reach nginx."""
BURST_WORKERS, WORKERS = 4, 8
"""Connections at the same time. A burst needs several: a single one may be slower than the limit."""
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
        """HTTP/1.1 with a listener, without verifying its certificate, which is the subject of another control."""
        port = self.ports[{SITE: "https", PLAIN: "http"}.get(listener, listener)]
        where = (self.inner, INNER[listener]) if neighbour else ("127.0.0.1", port)
        with network_of(self.neighbour) if neighbour else nullcontext():
            raw = socket.create_connection(where, SECONDS)
        connection = http.client.HTTPConnection(*where, timeout=SECONDS)
        try:
            connection.sock = raw if listener == PLAIN else unverified().wrap_socket(raw, server_hostname=self.name(listener))
            yield connection
        finally:
            connection.close()
            raw.close()

    def name(self, listener: str) -> str:
        return "localhost" if listener == "ops" else self.domain


def send(connection: http.client.HTTPConnection, request: Request, name: str, site: str) -> Answer:
    """The response to one request. Raises OSError or HTTPException where there is none."""
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


def answers(front: Front) -> Mapping[str, Answer]:
    """The responses to all requests of the controls. Raises Unread where one has no response."""

    def one(name: str) -> tuple[str, Answer]:
        request = REQUESTS[name]
        with front.connection(request.listener, neighbour=request.neighbour) as connection:
            return name, send(connection, request, front.name(request.listener), front.site)

    with _responsive(), ThreadPoolExecutor(max_workers=WORKERS) as pool:
        return dict(pool.map(one, REQUESTS))


def bursts(front: Front) -> Mapping[str, BurstResult]:
    """Excessive requests from another container: only its address is limited afterwards, for some seconds."""
    with _responsive():
        found = {kind: _burst(front, one) for kind, one in BURSTS.items()}
    if slow := [kind for kind, one in found.items() if not BURSTS[kind].proves(one)]:
        raise Unread(f"the site responded too slowly to reach its limits ({', '.join(slow)})")
    return found


@contextmanager
def _responsive() -> Iterator[None]:
    try:
        yield
    except (OSError, http.client.HTTPException) as problem:
        raise Unread(f"the site does not respond: {str(problem) or type(problem).__name__}") from problem


def _burst(front: Front, wanted: Burst) -> BurstResult:
    """Requests on several connections until one is refused, or more succeeded than the limit allows."""
    began, statuses = time.monotonic(), Counter[int]()

    def so_far() -> BurstResult:
        through = sum(number for status, number in statuses.items() if status != REFUSED)
        return BurstResult(through, time.monotonic() - began, bool(statuses[REFUSED]))

    def worker(_: int) -> None:
        with front.connection(SITE, neighbour=True) as connection:
            while not wanted.proves(found := so_far()) and found.seconds < SECONDS:
                request = Request(SITE, wanted.path, wanted.method)
                statuses[send(connection, request, front.domain, front.site).status] += 1

    with ThreadPoolExecutor(max_workers=BURST_WORKERS) as pool:
        list(pool.map(worker, range(BURST_WORKERS)))
    return so_far()


# ---- Listeners that serve declared clients only


def ask(state: State, pid: int, way: Connection, name: str, path: str, shows: str = "", method: str = "GET") -> int:
    """The status of a response over TLS; 0 where the connection is refused.

    pid: a process in whose network the request begins. name: the server's, on its certificate. shows: the service whose
    certificate the client shows; empty: none.
    """
    certificate = str(state.certs / shows / TLS) if shows else ""
    roots = str(state.ca / "root.pem")
    connection = NamedConnection(way.address, way.port, name, roots, timeout=NEIGHBOURS_SECONDS, certificate=certificate)
    try:
        with network_of(pid):
            connection.connect()
        # With TLS 1.3 a client learns with the first response that its certificate is refused.
        connection.request(method, path, body=b"" if method == "POST" else None, headers={"User-Agent": AGENT})
        return connection.getresponse().status
    except (OSError, http.client.HTTPException):
        return 0
    finally:
        connection.close()


def _neighbours(stack: Stack, places: Mapping[str, Place], listener: Listener) -> Iterator[tuple[str, Connection]]:
    """A connection from one container of each service to a listener. nginx represents the holder of its address."""
    target = next((slot for slot in stack.services[listener.service].slots() if slot in places), None)
    for service in stack.services.values() if target else ():
        source = next((slot for slot in service.slots() if slot in places), None)
        if not source or not target or place(stack, source) == place(stack, target) or service.holds:
            continue
        for network, address in addresses(stack, places, target).items():
            way = Connection(source, target, network, address, listener.port)
            if allowed(stack, way):
                yield service.name, way


def client_requests(
    state: State, stack: Stack, places: Mapping[str, Place], listeners: Iterable[Listener]
) -> frozenset[ClientRequest]:  # fmt: skip
    """The responses to each neighbour without a certificate, and with its own where it is no declared client.

    Raises Unread where no request could be made: that none was served would prove nothing.
    """
    tries: list[tuple[Listener, Connection, str, str]] = []
    for listener in (one for one in listeners if one.clients):
        declared = {client for client, _ in listener.clients}
        for service, way in _neighbours(stack, places, listener):
            for path in sorted({path for _, path in listener.clients}):
                tries.append((listener, way, path, ""))
                if service not in declared and stack.services[service].has_tls:
                    tries.append((listener, way, path, service))
    if not tries:
        raise Unread("no container has a neighbour that serves declared clients only")

    def one(attempt: tuple[Listener, Connection, str, str]) -> ClientRequest:
        listener, way, path, shows = attempt
        status = ask(state, places[way.source].pid, way, listener.name, path, shows)
        return ClientRequest(way.source, way.target, way.port, path, bool(shows), status)

    with ThreadPoolExecutor(max_workers=WORKERS) as pool:
        return frozenset(pool.map(one, tries))
