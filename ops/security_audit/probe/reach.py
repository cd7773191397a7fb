"""Who reaches whom: a connection is tried from every container to every declared port of every other one, at each address."""

from __future__ import annotations

import selectors
import socket
import struct
import time
from collections.abc import Iterable, Iterator, Mapping
from contextlib import suppress
from dataclasses import dataclass

from ops.engines.podman.firewall_rules import published_networks
from ops.engines.podman.supervisor.health import network_of
from ops.security_audit.controls.network import allowed, place
from ops.security_audit.facts import Reach, Way
from ops.security_audit.listeners import Listener, ports_of
from ops.security_audit.probe.sockets import host_addresses, sockets_of
from ops.stack.alerting import NETWORK as ALERTING
from ops.stack.model import Stack

ALLOWED_TAKES, FORBIDDEN_GETS = 5.0, 1.0
"""Seconds. A connection between two containers takes well under a millisecond."""
HOST = "host"
FIRST_PORT, PORTS = 10_000, 15_000
"""Where the attempts' own ports begin: below those that the kernel gives out (32768 and more)."""


@dataclass(frozen=True)
class Place:
    """A running container: its main process, its service, and its addresses by network. Nothing where it has no network."""

    pid: int
    service: str
    addresses: Mapping[str, str]


def ways(stack: Stack, places: Mapping[str, Place], listeners: Iterable[Listener]) -> Iterator[Way]:
    """Every connection that could be tried between declared containers that run."""
    ports = {name: sorted(ports_of(listeners, name)) for name in stack.services}
    known = [slot for slot in places if slot in stack.slots()]
    for source in known:
        for target in known:
            # What holds nginx' address has no program that listens: nginx is whom one reaches there.
            if place(stack, source) == place(stack, target) or stack.service_of(target).holds:
                continue
            for network, address in addresses(stack, places, target).items():
                yield from (Way(source, target, network, address, port) for port in ports[stack.service_of(target).name])


def addresses(stack: Stack, places: Mapping[str, Place], slot: str) -> Mapping[str, str]:
    """Network -> address of a container, or of the one whose network it shares."""
    held = places.get(place(stack, slot))
    return held.addresses if held else {}


def attempt(pid: int, way: Way, own_port: int) -> socket.socket:
    """A connection that has been started from inside a container's network; how it ends is seen later.

    Parameters
    ----------
    own_port: from which it starts, that of no other attempt. One that is taken is left to the kernel to replace.
    """
    # A socket belongs to the network in which it is made.
    with network_of(pid):
        started = socket.socket()
        started.setblocking(False)
        # Ends at once and leaves nothing behind: the next audit may want the same port.
        started.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        with suppress(OSError):
            started.bind(("", own_port))
        started.connect_ex((way.address, way.port))
    return started


def connected(pending: Mapping[Way, socket.socket], awaited: set[Way]) -> set[Way]:
    """Which of the started connections come about. Waits for those that must, and a little for those that must not."""
    done: set[Way] = set()
    began = time.monotonic()
    with selectors.DefaultSelector() as selector:
        for way, started in pending.items():
            selector.register(started, selectors.EVENT_WRITE, way)
        while selector.get_map():
            passed = time.monotonic() - began
            if passed > (FORBIDDEN_GETS if awaited <= done else ALLOWED_TAKES):
                break
            for key, _ in selector.select(0.1):
                selector.unregister(key.fileobj)
                started = pending[key.data]
                if started.getsockopt(socket.SOL_SOCKET, socket.SO_ERROR) == 0 and _has_peer(started):
                    done.add(key.data)
    return done


def _has_peer(started: socket.socket) -> bool:
    try:
        started.getpeername()
    except OSError:
        return False
    return True


def _arrived(places: Mapping[str, Place], pending: Mapping[Way, socket.socket], done: set[Way]) -> set[Way]:
    """Those of the connections that the target itself knows of. A gateway beyond the host may accept in its place.

    Told apart by the source's port, which address translation keeps, and which no other attempt has.
    """
    known = {
        slot: {(entry.address, entry.port, entry.peer_port) for entry in sockets_of(one.pid)} for slot, one in places.items()
    }
    return {way for way in done if (way.address, way.port, pending[way].getsockname()[1]) in known[way.target]}


def reach(stack: Stack, places: Mapping[str, Place], listeners: Iterable[Listener], port: int) -> Reach:
    """Try all of it at once. `port`: one that the host publishes, which containers must not reach."""
    tried = frozenset(ways(stack, places, listeners))
    closed = {*published_networks(stack), ALERTING} | {name for name, is_internal in stack.networks.items() if is_internal}
    enclosed = [slot for slot in places if slot in stack.slots() and set(stack.service_of(slot).networks) <= closed]
    outward = frozenset(Way(slot, HOST, HOST, address, port) for slot in enclosed for address in host_addresses())
    pending: dict[Way, socket.socket] = {}
    try:
        first = FIRST_PORT + int(time.monotonic()) % PORTS
        for number, way in enumerate(sorted(tried | outward)):
            pending[way] = attempt(places[way.source].pid, way, first + number)
        done = connected(pending, {way for way in tried if allowed(stack, way)})
        return Reach(tried, frozenset(_arrived(places, pending, done & tried)), frozenset(done & outward))
    finally:
        for started in pending.values():
            started.close()
