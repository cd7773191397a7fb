"""Section 4: who reaches whom, by connections that were tried."""

from __future__ import annotations

from collections.abc import Iterator

from ops.security_audit.controls.containers import declared
from ops.security_audit.controls.control import Found, control
from ops.security_audit.facts import Facts, HostFiles, Reach, Way
from ops.security_audit.listeners import ports_of
from ops.stack.model import Stack

LOOPBACK, EVERYWHERE = "127.0.0.1", "0.0.0.0"  # noqa: S104  (compared with, never listened on)
PUBLISHED = {
    "8080/tcp": ("http", EVERYWHERE), "8443/tcp": ("https", EVERYWHERE), "8444/tcp": ("proxy_protocol", EVERYWHERE),
    "9443/tcp": ("ops", LOOPBACK),
}  # fmt: skip
"""Port of nginx -> (key below `ports`, address of the host)."""


def place(stack: Stack, slot: str) -> str:
    """The container that has the network in which another one stands: itself, but for nginx."""
    return stack.service_of(slot).shares or slot


def allowed(stack: Stack, way: Way) -> bool:
    """Two containers may talk where they share a network on which the target listens."""
    return way.network in stack.service_of(way.source).networks and way.network in stack.service_of(way.target).listens_on


def _told(way: Way) -> Found:
    return Found(way.source, f"{way.target}:{way.port} by {way.network}", f"reaches {way.target}:{way.port} by {way.network}")


@control(
    "4.1",
    "No container reaches another one on a network that it is not on, or on which that one does not listen",
    why="the networks are the firewall between the tiers",
    cure="inv deploy; podman network inspect shows who stands where",
    part="reach",
)
def forbidden(facts: Facts) -> Iterator[Found]:
    if isinstance(facts.reach, Reach):
        for way in sorted(facts.reach.reached):
            if not allowed(facts.stack, way):
                yield _told(way)


@control(
    "4.2",
    "Every declared way is there",
    why="else that the others are closed would prove nothing",
    cure="inv status; a container that has just started is not reached yet",
    part="reach",
)
def missing(facts: Facts) -> Iterator[Found]:
    if isinstance(facts.reach, Reach):
        for way in sorted(facts.reach.tried - facts.reach.reached):
            if allowed(facts.stack, way):
                yield Found(way.source, f"{way.target}:{way.port} by {way.network}", f"does not reach {way}")


@control(
    "4.3",
    "Containers are on their declared networks only",
    why="each network more opens a tier",
    cure="inv deploy, or podman network disconnect",
)
def attached(facts: Facts) -> Iterator[Found]:
    for seen, service in declared(facts):
        for network in sorted(seen.networks - set(service.networks)):
            yield Found(seen.slot, network, f"stands on {network}, which is not declared for it")


@control(
    "4.4",
    "No port is open beside the declared ones",
    why="what listens unknown is neither watched nor limited",
    cure="end the program, or declare the port in config/audit/listeners.yaml",
)
def open_ports(facts: Facts) -> Iterator[Found]:
    for seen, service in declared(facts):
        # nginx and what holds its address have one network, and so one table of sockets.
        names = (service.name, service.holds or service.shares or "")
        expected = ports_of(facts.listeners, names[0]) | ports_of(facts.listeners, names[1])
        for port in sorted(seen.listens - expected):
            yield Found(seen.slot, str(port), f"port {port} is open to its neighbours")


@control(
    "4.5",
    "Internal networks have no way out",
    why="what is stolen cannot be sent anywhere, and no program can be fetched",
    cure="inv destroy, then inv deploy makes the network anew: it is internal for good or not at all",
    part="host",
)
def way_out(facts: Facts) -> Iterator[Found]:
    if isinstance(facts.host, HostFiles):
        for network in sorted(facts.host.open_networks):
            yield Found(network, "internal", f"network {network} is not internal")
    internal = {name for name, is_internal in facts.stack.networks.items() if is_internal}
    for seen in facts.containers.values():
        if seen.networks <= internal:
            for gateway in seen.gateways:
                yield Found(seen.slot, f"route to {gateway}", f"has a default route to {gateway}")


@control(
    "4.6",
    "Containers do not reach the host",
    why="its services trust whoever is on the host",
    cure="inv deploy loads the packet filter; podman network inspect: does an internal network have a gateway?",
    part="reach",
)
def to_the_host(facts: Facts) -> Iterator[Found]:
    if isinstance(facts.reach, Reach):
        for way in sorted(facts.reach.outward):
            yield Found(way.source, f"{way.address}:{way.port}", f"reaches the host at {way.address}:{way.port}")


@control(
    "4.9",
    "Containers have no IPv6 address",
    why="the bridge of an internal network has a link-local IPv6 address of the host: what listens on [::] there is reached",
    cure="inv deploy: the container was made by an older release, or by hand",
)
def no_ipv6(facts: Facts) -> Iterator[Found]:
    for seen in facts.containers.values():
        for address in seen.ipv6:
            yield Found(seen.slot, address, f"has the IPv6 address {address}")


@control(
    "4.10",
    "The packet filter of the published network is in force",
    why="without it other machines route to nginx' address past its published ports, and other containers count as the host",
    cure="inv deploy, or inv start; nft list ruleset shows what the kernel has",
    part="host",
)
def filtered(facts: Facts) -> Iterator[Found]:
    if isinstance(facts.host, HostFiles) and facts.host.firewall:
        yield Found("host", "firewall", facts.host.firewall)


@control(
    "4.7",
    "The host publishes the declared ports only",
    why="what is published is attacked",
    cure="drop ports from compose.yaml, and deploy",
    part="host",
)
def published(facts: Facts) -> Iterator[Found]:
    expected = {(inner, where, facts.ports[key]) for inner, (key, where) in PUBLISHED.items() if key in facts.ports}
    for seen in facts.containers.values():
        holds = seen.service in facts.stack.services and facts.stack.services[seen.service].holds
        for inner, where, port in seen.published:
            if not holds or (inner, where or EVERYWHERE, port) not in expected:
                yield Found(seen.slot, f"{where or EVERYWHERE}:{port}", f"publishes {inner} at {where or EVERYWHERE}:{port}")
    if isinstance(facts.host, HostFiles):
        declared_here = {(where, port) for _, where, port in expected}
        for where, port in sorted(facts.host.listens - declared_here):
            yield Found("host", f"{where}:{port}", f"listens at {where}:{port} on behalf of this project")


@control(
    "4.8",
    "Nobody else stands on the project's networks",
    why="a foreign container there is a neighbour of the databases",
    cure="podman network disconnect it",
    part="host",
)
def strangers(facts: Facts) -> Iterator[Found]:
    if isinstance(facts.host, HostFiles):
        for network, names in sorted(facts.host.strangers.items()):
            for name in names:
                yield Found(network, name, f"container {name} stands on {network}")


@control(
    "4.11",
    "Logs, metrics and alerts are served to their declared clients alone",
    why="who takes over a neighbour reads every log line, writes some, and silences alerts",
    cure="client_allowed_sans of its web.yml, or compose/logs/proxy.conf; config/audit/listeners.yaml declares the clients",
    part="asked",
)
def clients(facts: Facts) -> Iterator[Found]:
    for asked in sorted(facts.asked) if isinstance(facts.asked, frozenset) else ():
        if asked.served:
            shown = f"with the certificate of {asked.client}" if asked.shows else "without a certificate"
            yield Found(
                asked.client, f"{asked.target}:{asked.port}{asked.path}",
                f"is served {asked.path} by {asked.target}:{asked.port} {shown}",
            )  # fmt: skip
