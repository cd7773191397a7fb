"""Containers reach each other exactly where compose.yaml puts them on one network: every ordered pair, every port."""

from __future__ import annotations

import selectors
import socket
import struct
import time
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest
import yaml

from ops.machine.health import network_of
from ops.machine.host import REPOSITORY
from tests.smoke.live import Live

SERVICES = tuple(yaml.safe_load((REPOSITORY / "compose" / "compose.yaml").read_text())["services"])
LISTENS = {
    "nginx": {8080, 8443, 9443, 8081}, "frontend": {8080}, "backend": {8000}, "keycloak": {8443, 9000},
    "postgres": {5432, 8432}, "redis": {6379}, "prometheus": {9090}, "grafana": {3000}, "alertmanager": {9093},
    "cadvisor": {8080, 9100}, "backup": {8432, 9101}, "logs": {9428},
}  # fmt: skip
LISTENS["edge"] = LISTENS["nginx"]  # one network: what nginx listens on is open at the address that edge holds
"""Ports that a service opens to its neighbours; whatever else it runs listens on its own loopback."""
ALLOWED_TAKES = 5.0
FORBIDDEN_GETS = 1.0
"""Seconds. A connection between two containers takes well under a millisecond."""


@dataclass(frozen=True)
class Way:
    """One try: from a container to a port of another one at one of its addresses."""

    source: str
    target: str
    network: str
    address: str
    port: int

    def __str__(self) -> str:
        return f"{self.source} -> {self.target}:{self.port} by {self.network} ({self.address})"


def place(live: Live, slot: str) -> str:
    """The container that has the network in which a container stands: itself, but for nginx."""
    return live.project.stack.service_of(slot).shares or slot


def addresses(live: Live, slot: str) -> dict[str, str]:
    """Network -> address of a container, or of the one whose network it shares."""
    attached = live.container(place(live, slot))["NetworkSettings"]["Networks"]
    return {name.removeprefix(f"{live.project.name}-"): str(one["IPAddress"]) for name, one in attached.items()}


def ways(live: Live) -> Iterator[Way]:
    for source in live.containers:
        for target, item in live.containers.items():
            # What holds nginx' address has no program that listens: nginx is whom one reaches there.
            if place(live, source) != place(live, target) and not live.project.stack.service_of(target).holds:
                for network, address in addresses(live, target).items():
                    for port in sorted(LISTENS[item["Config"]["Labels"]["cc03.service"]]):
                        yield Way(source, target, network, address, port)


def networks_of(live: Live, slot: str) -> tuple[str, ...]:
    return live.project.stack.service_of(slot).networks


def attempt(pid: int, address: str, port: int) -> socket.socket:
    """A connection that has been started from inside a container's network; how it ends is seen later."""
    # A socket belongs to the network in which it is made.
    with network_of(pid):
        started = socket.socket()
        started.setblocking(False)
        started.connect_ex((address, port))
    return started


def connected(pending: dict[Way, socket.socket], awaited: set[Way]) -> set[Way]:
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
                if started.getsockopt(socket.SOL_SOCKET, socket.SO_ERROR) == 0 and has_peer(started):
                    done.add(key.data)
    return done


def has_peer(started: socket.socket) -> bool:
    try:
        started.getpeername()
    except OSError:
        return False
    return True


@dataclass(frozen=True)
class Entry:
    """One line of the kernel's table of TCP sockets in a network."""

    address: str
    port: int
    peer_port: int
    listens: bool


def sockets_of(pid: int) -> list[Entry]:
    found = []
    for table in ("tcp", "tcp6"):
        for line in Path(f"/proc/{pid}/net/{table}").read_text().splitlines()[1:]:
            local, peer, state = line.split()[1:4]
            where, _, port = local.rpartition(":")
            address = socket.inet_ntoa(struct.pack("<L", int(where[-8:], 16)))
            if where == f"{0:024}01000000":
                address = "127.0.0.1"  # ::1
            found.append(Entry(address, int(port, 16), int(peer.rpartition(":")[2], 16), state == "0A"))
    return found


def arrived(live: Live, pending: dict[Way, socket.socket], done: set[Way]) -> set[Way]:
    """Those of the connections that the target itself knows of. A gateway beyond the host may accept in its place.

    Told apart by the source's port, which address translation keeps.
    """
    known = {
        slot: {(entry.address, entry.port, entry.peer_port) for entry in sockets_of(live.pid(slot))} for slot in live.containers
    }
    return {way for way in done if (way.address, way.port, pending[way].getsockname()[1]) in known[way.target]}


@pytest.fixture(scope="module")
def tried(live: Live) -> dict[str, tuple[set[Way], set[Way]]]:
    """Service -> (the ways from it that are declared, the ways that exist)."""
    everything = list(ways(live))
    declared = {way for way in everything if way.network in networks_of(live, way.source)}
    pending = {way: attempt(live.pid(way.source), way.address, way.port) for way in everything}
    try:
        found = arrived(live, pending, connected(pending, declared))
    finally:
        for started in pending.values():
            started.close()

    def of(service: str, some: Iterable[Way]) -> set[Way]:
        return {way for way in some if live.project.stack.service_of(way.source).name == service}

    return {service: (of(service, declared), of(service, found)) for service in SERVICES}


@pytest.mark.parametrize("service", SERVICES)
def test_service_reaches_what_is_declared_and_nothing_else(
    live: Live, service: str, tried: dict[str, tuple[set[Way], set[Way]]]
) -> None:
    declared, found = tried[service]

    assert sorted(map(str, found - declared)) == [], "reached although they share no network"
    assert sorted(map(str, declared - found)) == [], "not reached although they share a network"
    if service in live.containers or service != "grafana":
        assert declared, "nothing was tried"


def test_containers_are_on_the_networks_that_are_declared(live: Live) -> None:
    for slot in live.containers:
        assert set(addresses(live, slot)) == set(networks_of(live, slot)), slot


def listening(pid: int) -> set[int]:
    """TCP ports that are open to others than the container itself."""
    return {entry.port for entry in sockets_of(pid) if entry.listens and entry.address != "127.0.0.1"}


def test_no_other_port_is_open(live: Live) -> None:
    for slot, item in live.containers.items():
        assert listening(live.pid(slot)) == LISTENS[item["Config"]["Labels"]["cc03.service"]], slot


# ---- The way out


def gateways(pid: int) -> list[str]:
    """Default routes of a container."""
    rows = [line.split() for line in Path(f"/proc/{pid}/net/route").read_text().splitlines()[1:]]
    return [socket.inet_ntoa(struct.pack("<L", int(row[2], 16))) for row in rows if row[1] == "00000000"]


def host_addresses() -> set[str]:
    """The host's own addresses, read from its local routing table."""
    lines = Path("/proc/net/fib_trie").read_text().splitlines()
    found = {lines[index - 1].split()[-1] for index, line in enumerate(lines) if "/32 host LOCAL" in line}
    return {address for address in found if not address.startswith("127.")}


def test_internal_networks_have_no_way_out(live: Live) -> None:
    internal = {name for name, is_internal in live.project.stack.networks.items() if is_internal}
    enclosed = [slot for slot in live.containers if set(networks_of(live, slot)) <= internal]
    port = live.ports["https"]
    assert {"postgres", "redis", "keycloak", "prometheus"} <= set(enclosed)
    assert host_addresses()

    assert {slot: gateways(live.pid(slot)) for slot in enclosed} == {slot: [] for slot in enclosed}
    out = [Way(slot, "outside", "host", address, port) for slot in enclosed for address in host_addresses()]
    pending = {way: attempt(live.pid(way.source), way.address, way.port) for way in out}
    try:
        assert sorted(map(str, connected(pending, set()))) == []
    finally:
        for started in pending.values():
            started.close()


def test_the_host_itself_is_reached_from_outside_only(live: Live) -> None:
    """What the test above finds closed is open to others: its failures to connect mean something."""
    for address in host_addresses():
        if not address.startswith(tuple(subnet.rpartition(".")[0] for subnet in live.project.allocation.subnets.values())):
            with socket.create_connection((address, live.ports["https"]), 5):
                return
    pytest.fail("the host has no address that the site is published on")
