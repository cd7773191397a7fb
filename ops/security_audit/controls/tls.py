"""Section 5: what is spoken on the wire, by handshakes that were tried with every declared listener."""

from __future__ import annotations

from collections.abc import Iterator

from ops.security_audit.controls.control import Found, control
from ops.security_audit.facts import Facts, Handshakes
from ops.security_audit.listeners import Listener

OLD = ("TLSv1", "TLSv1.1")
LEAST_BITS = {"EC": 256, "RSA": 2048, "ED": 256}
"""As the CA/Browser Forum's baseline requirements demand (6.1.5)."""
LEAST_DAYS = 7
"""As the alert CertificateExpiresVerySoon."""


def seen(facts: Facts) -> Iterator[tuple[Listener, Handshakes]]:
    if isinstance(facts.handshakes, dict):
        yield from sorted(facts.handshakes.items())


@control(
    "5.1",
    "Every listener is encrypted",
    why="who gets onto a network reads and alters what others say there",
    cure="give it a certificate, and declare it in config/audit/listeners.yaml",
)
def encrypted(facts: Facts) -> Iterator[Found]:
    for listener in sorted(facts.listeners):
        if not listener.encrypted:
            yield Found(listener.service, str(listener.port), f"{listener} speaks {listener.speaks} without TLS")
    for listener, found in seen(facts):
        if not found.protocols:
            yield Found(listener.service, str(listener.port), f"{listener} is declared as {listener.speaks} and speaks no TLS")


@control(
    "5.2",
    "No protocol older than TLS 1.2",
    why="TLS 1.0 and 1.1 are broken, and forbidden by RFC 8996",
    cure="set the least protocol to TLS 1.2",
    part="handshakes",
)
def old_protocols(facts: Facts) -> Iterator[Found]:
    for listener, found in seen(facts):
        for protocol in sorted(found.protocols & set(OLD)):
            yield Found(listener.service, f"{listener.port} {protocol}", f"{listener} agrees to {protocol}")


@control(
    "5.3",
    "TLS 1.3 is spoken",
    why="it is the only version without known weak choices",
    cure="allow it in the service's configuration",
    part="handshakes",
)
def newest_protocol(facts: Facts) -> Iterator[Found]:
    for listener, found in seen(facts):
        if found.protocols and "TLSv1.3" not in found.protocols:
            spoken = ", ".join(sorted(found.protocols))
            yield Found(listener.service, f"{listener.port} TLSv1.3", f"{listener} speaks {spoken}")


@control(
    "5.4",
    "No weak cipher",
    why="without forward secrecy or authentication what is recorded today is read tomorrow",
    cure="list the ciphers that are meant, as config/nginx/tls.conf does",
    part="handshakes",
)
def ciphers(facts: Facts) -> Iterator[Found]:
    for listener, found in seen(facts):
        for family in sorted(found.weak):
            yield Found(listener.service, f"{listener.port} {family}", f"{listener} agrees to a cipher with {family}")


@control(
    "5.5",
    "Certificates are accepted by who verifies them",
    why="a client that has to look away is open to everybody",
    cure="inv deploy issues what is missing; docs/how-to/trust-the-ca.md",
    part="handshakes",
)
def certificates(facts: Facts) -> Iterator[Found]:
    for listener, found in seen(facts):
        if found.problem:
            yield Found(listener.service, f"{listener.port} certificate", f"{listener}: {found.problem}")


@control(
    "5.6",
    "Keys are long enough",
    why="a short key is computed from the certificate that everybody is sent",
    cure="issue the certificate anew",
    part="handshakes",
)
def keys(facts: Facts) -> Iterator[Found]:
    for listener, found in seen(facts):
        kind, _, bits = found.key.partition(" ")
        if found.key and int(bits or 0) < LEAST_BITS.get(kind, 1 << 20):
            yield Found(listener.service, f"{listener.port} {found.key}", f"{listener} has a key of kind and size {found.key}")


@control(
    "5.7",
    "Certificates are signed with SHA-2",
    why="a signature by SHA-1 or MD5 can be forged",
    cure="issue the certificate anew",
    part="handshakes",
)
def signatures(facts: Facts) -> Iterator[Found]:
    for listener, found in seen(facts):
        if found.key and found.signature not in ("sha256", "sha384", "sha512", "ed25519"):
            yield Found(listener.service, f"{listener.port} {found.signature}", f"{listener} is signed with {found.signature}")


@control(
    "5.8",
    f"No certificate ends within {LEAST_DAYS} days",
    why="when it has ended nobody is served",
    cure="inv deploy renews it",
    part="handshakes",
)
def expiry(facts: Facts) -> Iterator[Found]:
    for listener, found in seen(facts):
        if found.key and found.days_left < LEAST_DAYS:
            yield Found(listener.service, f"{listener.port} expiry", f"{listener}: {found.days_left:.1f} days are left")


@control(
    "5.9",
    "The certificate that is served is the stored one",
    why="a renewal that is not served ends in an outage",
    cure="inv deploy; docs/runbooks/CertificateExpiresSoon.md",
    part="handshakes",
)
def served(facts: Facts) -> Iterator[Found]:
    for listener, found in seen(facts):
        if found.served_is_stored is False:
            yield Found(listener.service, f"{listener.port} served", f"{listener} serves another certificate than is stored")
