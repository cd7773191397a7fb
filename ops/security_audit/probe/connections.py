"""TCP sockets and routes of a network namespace, by the kernel's tables, and which connections between containers succeed."""

from __future__ import annotations

import re
import selectors
import socket
import struct
import time
from collections.abc import Iterable, Iterator, Mapping
from contextlib import suppress
from dataclasses import dataclass
from ipaddress import IPv6Address
from pathlib import Path

from ops.engines.podman.supervisor.health import network_of
from ops.security_audit.controls.network import allowed, place
from ops.security_audit.facts import Connection, Reach
from ops.security_audit.listeners import Listener, ports_of
from ops.stack.applied_settings import ALERTING
from ops.stack.firewall_rules import published_networks
from ops.stack.model import Stack

LISTENING = "0A"
"""State of a listening socket in /proc/net/tcp, from the kernel's tcp_states.h."""
LOOPBACK = "127.0.0.1"
_LOCAL = re.compile(r"^(?:127\.|0\.0\.0\.0$)")
ALLOWED_TAKES, FORBIDDEN_GETS = 5.0, 1.0
"""Seconds. A connection between two containers takes well under a millisecond."""
HOST = "host"
FIRST_PORT, PORTS = 10_000, 15_000
"""Range of the first source port: below those that the kernel assigns (32768 and above)."""


@dataclass(frozen=True)
class Entry:
    """One line of the kernel's table of TCP sockets."""

    address: str
    port: int
    peer_port: int
    listens: bool
    inode: str


def sockets_of(process: int | str) -> list[Entry]:
    """TCP sockets in the network namespace of a process (`self`: of this one). Raises OSError where the process has ended."""
    found = []
    for table in ("tcp", "tcp6"):
        for line in Path(f"/proc/{process}/net/{table}").read_text().splitlines()[1:]:
            fields = line.split()
            where, _, port = fields[1].rpartition(":")
            address = LOOPBACK if where == f"{0:024}01000000" else _address(where[-8:])  # ::1
            peer = int(fields[2].rpartition(":")[2], 16)
            found.append(Entry(address, int(port, 16), peer, fields[3] == LISTENING, fields[9]))
    return found


def _address(hexadecimal: str) -> str:
    return socket.inet_ntoa(struct.pack("<L", int(hexadecimal, 16)))


def listening(process: int) -> frozenset[int]:
    """TCP ports in the network namespace of a process that are open to other containers."""
    return frozenset(entry.port for entry in sockets_of(process) if entry.listens and not entry.address.startswith("127."))


def gateways(process: int) -> tuple[str, ...]:
    """Gateways of the default routes of a process."""
    rows = [line.split() for line in Path(f"/proc/{process}/net/route").read_text().splitlines()[1:]]
    return tuple(_address(row[2]) for row in rows if row[1] == "00000000")


def ipv6_addresses(process: int | str) -> tuple[str, ...]:
    """IPv6 addresses of a network namespace (`self`: of this process) except loopback; none where the kernel has no IPv6."""
    table = Path(f"/proc/{process}/net/if_inet6")
    rows = [line.split() for line in table.read_text().splitlines()] if table.exists() else []
    return tuple(str(IPv6Address(bytes.fromhex(row[0]))) for row in rows if row[5] != "lo")


def host_addresses() -> frozenset[str]:
    """The host's IPv4 addresses except loopback, from its local routing table."""
    lines = Path("/proc/net/fib_trie").read_text().splitlines()
    found = {lines[index - 1].split()[-1] for index, line in enumerate(lines) if "/32 host LOCAL" in line}
    return frozenset(address for address in found if not _LOCAL.match(address))


def held_by(process: int) -> Iterator[tuple[str, int]]:
    """(address, port) that a process of the host listens on."""
    inodes = set()
    for descriptor in Path(f"/proc/{process}/fd").iterdir():
        with suppress(OSError):  # closed meanwhile
            inodes.add(str(descriptor.readlink()).removeprefix("socket:[").removesuffix("]"))
    yield from ((entry.address, entry.port) for entry in sockets_of("self") if entry.listens and entry.inode in inodes)


# ---- Connections between containers


@dataclass(frozen=True)
class Place:
    """A running container: its main process, its service, and its addresses by network."""

    pid: int
    service: str
    addresses: Mapping[str, str]


def addresses(stack: Stack, places: Mapping[str, Place], slot: str) -> Mapping[str, str]:
    """Network -> address of a container, or of the one whose network it shares."""
    holder = places.get(place(stack, slot))
    return holder.addresses if holder else {}


def possible(stack: Stack, places: Mapping[str, Place], listeners: Iterable[Listener]) -> Iterator[Connection]:
    """Every connection that can be tried between declared, running containers."""
    ports = {name: sorted(ports_of(listeners, name)) for name in stack.services}
    known = [slot for slot in places if slot in stack.slots()]
    for source in known:
        for target in known:
            # The container that holds nginx' address has no listener: its connections are nginx'.
            if place(stack, source) == place(stack, target) or stack.service_of(target).holds:
                continue
            for network, address in addresses(stack, places, target).items():
                for port in ports[stack.service_of(target).name]:
                    yield Connection(source, target, network, address, port)


def reach(stack: Stack, places: Mapping[str, Place], listeners: Iterable[Listener], port: int) -> Reach:
    """Try all connections at the same time. port: a published one of the host, which containers must not reach."""
    tried = frozenset(possible(stack, places, listeners))
    closed = {*published_networks(stack), ALERTING} | {name for name, is_internal in stack.networks.items() if is_internal}
    enclosed = [slot for slot in places if slot in stack.slots() and set(stack.service_of(slot).networks) <= closed]
    outward = frozenset(Connection(slot, HOST, HOST, address, port) for slot in enclosed for address in host_addresses())
    pending: dict[Connection, socket.socket] = {}
    try:
        first = FIRST_PORT + int(time.monotonic()) % PORTS
        for number, way in enumerate(sorted(tried | outward)):
            pending[way] = _started(places[way.source].pid, way, first + number)
        done = _succeeded(pending, {way for way in tried if allowed(stack, way)})
        return Reach(tried, frozenset(_accepted_by_target(places, pending, done & tried)), frozenset(done & outward))
    finally:
        for started in pending.values():
            started.close()


def _started(pid: int, way: Connection, own_port: int) -> socket.socket:
    """A connection that is being established from a container's network. own_port: unique; the kernel replaces a taken one."""
    # A socket belongs to the network namespace in which it is created.
    with network_of(pid):
        started = socket.socket()
        started.setblocking(False)
        # It is closed without TIME_WAIT: the next audit may need the same port.
        started.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        with suppress(OSError):
            started.bind(("", own_port))
        started.connect_ex((way.address, way.port))
    return started


def _succeeded(pending: Mapping[Connection, socket.socket], expected: set[Connection]) -> set[Connection]:
    """The established ones. Waits for those that must succeed, and a short time for those that must not."""
    done: set[Connection] = set()
    began = time.monotonic()
    with selectors.DefaultSelector() as selector:
        for way, started in pending.items():
            selector.register(started, selectors.EVENT_WRITE, way)
        while selector.get_map():
            if time.monotonic() - began > (FORBIDDEN_GETS if expected <= done else ALLOWED_TAKES):
                break
            for key, _ in selector.select(0.1):
                selector.unregister(key.fileobj)
                if _is_established(pending[key.data]):
                    done.add(key.data)
    return done


def _is_established(started: socket.socket) -> bool:
    with suppress(OSError):
        return started.getsockopt(socket.SOL_SOCKET, socket.SO_ERROR) == 0 and bool(started.getpeername())
    return False


def _accepted_by_target(
    places: Mapping[str, Place], pending: Mapping[Connection, socket.socket], done: set[Connection]
) -> set[Connection]:  # fmt: skip
    """Those that the target's own table of sockets contains. A gateway beyond the host may accept a connection instead.

    The source port identifies a connection: address translation keeps it, and it is unique.
    """
    known = {
        slot: {(entry.address, entry.port, entry.peer_port) for entry in sockets_of(one.pid)} for slot, one in places.items()
    }
    return {way for way in done if (way.address, way.port, pending[way].getsockname()[1]) in known[way.target]}
