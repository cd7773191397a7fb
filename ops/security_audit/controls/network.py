"""Sections 4 and 5: which connections succeed, and what is negotiated on them."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator

from ops.policies.isolation import EVERYWHERE, PUBLISHED
from ops.security_audit.controls.containers import declared
from ops.security_audit.controls.control import Control, Finding
from ops.security_audit.facts import Connection, Facts, Handshakes
from ops.security_audit.listeners import ports_of
from ops.stack.model import Stack

OLD = ("TLSv1", "TLSv1.1")
LEAST_BITS = {"EC": 256, "RSA": 2048, "ED": 256}
"""CA/Browser Forum, baseline requirements, 6.1.5."""
SHA2 = ("sha256", "sha384", "sha512", "ed25519")
LEAST_DAYS = 7
"""As the alert CertificateExpiresVerySoon."""


def place(stack: Stack, slot: str) -> str:
    """The container whose network a container uses: its own, except for nginx."""
    return stack.service_of(slot).shares or slot


def allowed(stack: Stack, way: Connection) -> bool:
    """Two containers may communicate over a network of both on which the target listens."""
    return way.network in stack.service_of(way.source).networks and way.network in stack.service_of(way.target).listens_on


def _reached(way: Connection, what: str) -> Finding:
    return Finding(way.source, f"{way.target}:{way.port} by {way.network}", what)


def _open_ports(facts: Facts) -> Iterator[Finding]:
    for one, service in declared(facts):
        # nginx and the container that holds its address have one network namespace, and so one table of sockets.
        names = (service.name, service.holds or service.shares or "")
        expected = ports_of(facts.listeners, names[0]) | ports_of(facts.listeners, names[1])
        for port in sorted(one.listens - expected):
            yield Finding(one.slot, str(port), f"port {port} is open to other containers")


def _ways_out(facts: Facts) -> Iterator[Finding]:
    for network in sorted(facts.host.open_networks):
        yield Finding(network, "internal", f"network {network} is not internal")
    internal = {name for name, is_internal in facts.stack.networks.items() if is_internal}
    for one in facts.containers.values():
        for gateway in one.gateways if one.networks <= internal else ():
            yield Finding(one.slot, f"route to {gateway}", f"has a default route to {gateway}")


def published(facts: Facts) -> Iterator[Finding]:
    """Ports of the host that are published and not declared."""
    expected = {(inner, where, facts.ports[key]) for inner, (key, where, _) in PUBLISHED.items() if key in facts.ports}
    for one in facts.containers.values():
        holds = one.service in facts.stack.services and facts.stack.services[one.service].holds
        for inner, where, port in one.published:
            if not holds or (inner, where or EVERYWHERE, port) not in expected:
                at = f"{where or EVERYWHERE}:{port}"
                yield Finding(one.slot, at, f"publishes {inner} at {at}")
    for where, port in sorted(facts.host.listens - {(where, port) for _, where, port in expected}):
        yield Finding("host", f"{where}:{port}", f"listens at {where}:{port} for this project")


def _served_clients(facts: Facts) -> Iterator[Finding]:
    for one in sorted(facts.client_requests):
        if one.served:
            shown = f"with the certificate of {one.client}" if one.shows else "without a certificate"
            at = f"{one.target}:{one.port}"
            yield Finding(one.client, f"{at}{one.path}", f"is served {one.path} by {at} {shown}")


NETWORKS = (
    Control("4.1", "No container reaches another one outside their common networks", part="reach",
            why="The networks are the firewall between the tiers.",
            advice="inv deploy; podman network inspect shows which container is on which network",
            find=lambda facts: (_reached(way, f"reaches {way.target}:{way.port} by {way.network}")
                                for way in sorted(facts.reach.reached) if not allowed(facts.stack, way))),
    Control("4.2", "Every declared connection succeeds", part="reach",
            why="If these fail as well, failing connections prove nothing.",
            advice="inv status; a container that has just started does not accept connections yet",
            find=lambda facts: (_reached(way, f"does not reach {way}")
                                for way in sorted(facts.reach.tried - facts.reach.reached) if allowed(facts.stack, way))),
    Control("4.3", "Containers are on their declared networks only",
            why="Each additional network gives access to another tier.",
            advice="inv deploy, or podman network disconnect",
            find=lambda facts: (
                Finding(one.slot, network, f"is on {network}, which is not declared for it")
                for one, service in declared(facts) for network in sorted(one.networks - set(service.networks))
            )),
    Control("4.4", "Only declared ports are open", _open_ports,
            why="An unknown listener is neither monitored nor limited.",
            advice="stop the program, or declare the port in config/audit/listeners.yaml"),
    Control("4.5", "Internal networks have no route out", _ways_out, part="host",
            why="Without a route an attacker can neither send data out nor fetch programs.",
            advice="inv destroy, then inv deploy, which creates the network again: it cannot be made internal later"),
    Control("4.6", "Containers do not reach the host", part="reach",
            why="Services of the host trust every local connection.",
            advice="inv deploy loads the packet filter; podman network inspect shows whether an internal network has a gateway",
            find=lambda facts: (
                Finding(way.source, f"{way.address}:{way.port}", f"reaches the host at {way.address}:{way.port}")
                for way in sorted(facts.reach.outward)
            )),
    Control("4.9", "Containers have no IPv6 address",
            why="An internal network's bridge has a link-local IPv6 address, where the host's listeners on [::] are reached.",
            advice="inv deploy: the container was created by an older release, or manually",
            find=lambda facts: (Finding(one.slot, address, f"has the IPv6 address {address}")
                                for one in facts.containers.values() for address in one.ipv6)),
    Control("4.10", "The packet filter of the published network is loaded", part="host",
            why="Without it other machines can route past nginx' published ports, and other containers count as the host.",
            advice="inv deploy, or inv start; nft list ruleset shows the kernel's rules",
            find=lambda facts: iter([Finding("host", "firewall", facts.host.firewall)] if facts.host.firewall else [])),
    Control("4.7", "The host publishes the declared ports only", published, part="host",
            why="Every published port is exposed to attacks.",
            advice="remove ports from compose.yaml, and deploy"),
    Control("4.8", "Only containers of this project are on its networks", part="host",
            why="A container of another project could connect to the databases.",
            advice="remove it from the network with podman network disconnect",
            find=lambda facts: (Finding(network, name, f"container {name} is on {network}")
                                for network, names in sorted(facts.host.foreign_containers.items()) for name in names)),
    Control("4.11", "Logs, metrics and alerts are served to their declared clients only", _served_clients,
            why="A compromised container could read all logs, forge log lines and silence alerts.",
            advice="correct client_allowed_sans in its web.yml, or compose/logs/proxy.conf; listeners.yaml lists the clients",
            part="client_requests"),
)  # fmt: skip


def _plain(facts: Facts) -> Iterator[Finding]:
    for listener in sorted(facts.listeners):
        if not listener.encrypted:
            yield Finding(listener.service, str(listener.port), f"{listener} speaks {listener.speaks} without TLS")
    for listener, found in sorted(facts.handshakes.items()):
        if not found.protocols:
            what = f"{listener} is declared as {listener.speaks} and speaks no TLS"
            yield Finding(listener.service, str(listener.port), what)


def _short(key: str) -> bool:
    kind, _, bits = key.partition(" ")
    return int(bits or 0) < LEAST_BITS.get(kind, 1 << 20)


def _tls(
    number: str, title: str, *, why: str, advice: str, find: Callable[[Handshakes], Iterable[tuple[str, str]]]
) -> Control:  # fmt: skip
    """A control of each listener's handshakes. find: (subject, what) of each violation."""

    def findings(facts: Facts) -> Iterator[Finding]:
        for listener, found in sorted(facts.handshakes.items()):
            for subject, what in find(found):
                yield Finding(listener.service, f"{listener.port} {subject}", f"{listener} {what}")

    return Control(number, title, findings, why, advice, part="handshakes")


ENCRYPTION = (
    Control("5.1", "Every listener uses TLS", _plain,
            why="An attacker on a network can read and alter plain text.",
            advice="give it a certificate, and declare it in config/audit/listeners.yaml"),
    _tls("5.2", "No listener accepts a protocol older than TLS 1.2",
         why="TLS 1.0 and 1.1 are broken, and prohibited by RFC 8996.",
         advice="set the minimum protocol to TLS 1.2",
         find=lambda one: ((protocol, f"accepts {protocol}") for protocol in sorted(one.protocols & set(OLD)))),
    _tls("5.3", "Every listener accepts TLS 1.3",
         why="It is the only version without known weak options.",
         advice="enable it in the service's configuration",
         find=lambda one: [("TLSv1.3", f"accepts {', '.join(sorted(one.protocols))} only")]
         if one.protocols and "TLSv1.3" not in one.protocols else []),
    _tls("5.4", "No listener accepts a weak cipher",
         why="Without forward secrecy or authentication, recorded connections can be decrypted later.",
         advice="list the permitted ciphers, as config/nginx/tls.conf does",
         find=lambda one: ((family, f"accepts a cipher with {family}") for family in sorted(one.weak))),
    _tls("5.5", "Certificates pass verification",
         why="A client that does not verify accepts any server.",
         advice="inv deploy issues missing certificates; docs/how-to/trust-the-ca.md",
         find=lambda one: [("certificate", f"has a certificate that clients refuse: {one.problem}")] if one.problem else []),
    _tls("5.6", "Keys are long enough",
         why="A short private key can be computed from the certificate.",
         advice="issue a new certificate",
         find=lambda one: [(one.key, f"has a key of type and size {one.key}")] if one.key and _short(one.key) else []),
    _tls("5.7", "Certificates are signed with SHA-2",
         why="A signature with SHA-1 or MD5 can be forged.",
         advice="issue a new certificate",
         find=lambda one: [(one.signature, f"has a certificate signed with {one.signature}")]
         if one.key and one.signature not in SHA2 else []),
    _tls("5.8", f"Certificates are valid for {LEAST_DAYS} more days",
         why="Clients cannot connect once the certificate has expired.",
         advice="inv deploy renews it",
         find=lambda one: [("expiry", f"has a certificate that expires in {one.days_left:.1f} days")]
         if one.key and one.days_left < LEAST_DAYS else []),
    _tls("5.9", "Listeners serve the stored certificate",
         why="A renewed certificate that is not served leads to an outage.",
         advice="inv deploy; docs/runbooks/CertificateExpiresSoon.md",
         find=lambda one: [("served", "serves another certificate than the stored one")]
         if one.served_is_stored is False else []),
)  # fmt: skip
CONTROLS = (*NETWORKS, *ENCRYPTION)
