"""Requests to the listeners that serve declared clients only, from inside the networks of their neighbours."""

from __future__ import annotations

import http.client
from collections.abc import Iterable, Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor

from ops.certificates.folder import TLS
from ops.core.state import State
from ops.engines.podman.supervisor.health import NamedConnection, network_of
from ops.security_audit.controls.network import allowed, place
from ops.security_audit.facts import Asked, Way
from ops.security_audit.listeners import Listener
from ops.security_audit.probe.reach import Place, addresses
from ops.stack.model import Stack

SECONDS = 5.0
WORKERS = 8


def ask(state: State, pid: int, way: Way, name: str, path: str, shows: str = "", method: str = "GET") -> int:
    """The status of an answer over TLS; 0 where the connection is refused.

    Parameters
    ----------
    pid: a process in whose network the request begins. name: the server's, on its certificate. shows: the service whose
    certificate is shown; empty: none.
    """
    certificate = str(state.certs / shows / TLS) if shows else ""
    roots = str(state.ca / "root.pem")
    connection = NamedConnection(way.address, way.port, name, roots, timeout=SECONDS, certificate=certificate)
    try:
        with network_of(pid):
            connection.connect()
        # With TLS 1.3 a client learns with the first answer that its certificate is refused.
        connection.request(method, path, body=b"" if method == "POST" else None, headers={"User-Agent": "cc03-audit"})
        return connection.getresponse().status
    except (OSError, http.client.HTTPException):
        return 0
    finally:
        connection.close()


def neighbours(stack: Stack, places: Mapping[str, Place], listener: Listener) -> Iterator[tuple[str, Way]]:
    """(service, way) from one container of each service to a listener. nginx stands for what holds its address."""
    target = next((slot for slot in stack.services[listener.service].slots() if slot in places), None)
    for service in stack.services.values() if target else ():
        source = next((slot for slot in service.slots() if slot in places), None)
        if not source or not target or place(stack, source) == place(stack, target) or service.holds:
            continue
        for network, address in addresses(stack, places, target).items():
            way = Way(source, target, network, address, listener.port)
            if allowed(stack, way):
                yield service.name, way


def asked(
    state: State, stack: Stack, places: Mapping[str, Place], listeners: Iterable[Listener]
) -> frozenset[Asked]:  # fmt: skip
    """What each neighbour is answered without a certificate, and with its own where it is no client.

    Raises OSError where nobody could ask anything: that all were refused would prove nothing.
    """
    tries: list[tuple[Listener, Way, str, str]] = []
    for listener in (one for one in listeners if one.clients):
        served = {client for client, _ in listener.clients}
        for service, way in neighbours(stack, places, listener):
            for path in sorted({path for _, path in listener.clients}):
                tries.append((listener, way, path, ""))
                if service not in served and stack.services[service].has_tls:
                    tries.append((listener, way, path, service))
    if not tries:
        raise OSError("no container has a neighbour that serves declared clients only")

    def one(attempt: tuple[Listener, Way, str, str]) -> Asked:
        listener, way, path, shows = attempt
        status = ask(state, places[way.source].pid, way, listener.name, path, shows)
        return Asked(way.source, way.target, way.port, path, bool(shows), status)

    with ThreadPoolExecutor(max_workers=WORKERS) as pool:
        return frozenset(pool.map(one, tries))
