"""TLS handshakes with every declared listener, from inside its network, with protocols and ciphers that must be refused."""

from __future__ import annotations

import ssl
import time
import warnings
from contextlib import suppress
from dataclasses import replace
from pathlib import Path

from ops.certificates.served.handshake import shake, stored, unverified
from ops.security_audit.facts import Handshakes
from ops.stack.listener import Listener

SECONDS = 10.0
"""A JVM that is short of CPU has needed four for a handshake."""
RESTART_SECONDS = 2.0
"""A server that has crashed is started again within a second (s6). pgBackRest's has crashed under these very handshakes: it
keeps a list of its processes, and one that ends while another is added can break it (2.55 to 2.59: SIGCHLD within lstAdd). Its
clients do not notice: what they have begun goes on in processes of their own, and they try again to connect."""
VERSIONS = {
    "TLSv1": ssl.TLSVersion.TLSv1, "TLSv1.1": ssl.TLSVersion.TLSv1_1,
    "TLSv1.2": ssl.TLSVersion.TLSv1_2, "TLSv1.3": ssl.TLSVersion.TLSv1_3,
}  # fmt: skip
WEAK = {
    "no forward secrecy": "kRSA:!aNULL:!eNULL",
    "no authentication": "aNULL:!eNULL",
    "no encryption": "eNULL",
    "CBC": "ECDHE+SHA1:ECDHE+SHA256:ECDHE+SHA384:!AESGCM:!CHACHA20:!AESCCM:!aNULL:!eNULL",
    "RC4, DES or export": "RC4:3DES:DES:EXPORT:!aNULL:!eNULL",
}
"""Families of TLS 1.2 ciphers that must not be used (RFC 9325, sections 4.1 and 4.2), in OpenSSL's notation."""
ALL = "ALL:COMPLEMENTOFALL"


def handshakes(at: Listener, pid: int) -> Handshakes:
    """What a listener negotiates, and its certificate. pid: a process of its container."""

    def served(context: ssl.SSLContext) -> bytes:
        with suppress(ConnectionRefusedError):
            return shake(at, pid, context, SECONDS)[0]
        # Nothing listens.
        time.sleep(RESTART_SECONDS)
        return shake(at, pid, context, SECONDS)[0]

    def accepts(version: ssl.TLSVersion, ciphers: str) -> bool:
        context = unverified()
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", DeprecationWarning)  # old versions are tried deliberately
            context.minimum_version = context.maximum_version = version
        try:
            # Fails where this host's own OpenSSL supports none of them.
            context.set_ciphers(f"{ciphers}:@SECLEVEL=0")
            served(context)
        except OSError:
            return False
        return True

    protocols = frozenset(name for name, version in VERSIONS.items() if accepts(version, ALL))
    weak = frozenset(family for family, ciphers in WEAK.items() if accepts(ssl.TLSVersion.TLSv1_2, ciphers))
    certificate, problem = b"", ""
    try:
        certificate = served(ssl.create_default_context(cafile=at.trusted()))
    except OSError as refused:
        problem = refused.verify_message if isinstance(refused, ssl.SSLCertVerificationError) else f"no handshake: {refused}"
        with suppress(OSError):
            certificate = served(unverified())
    if not certificate:
        return Handshakes(protocols, weak, problem or "it serves no certificate")
    return _described(certificate, stored(Path(at.file)), Handshakes(protocols, weak, problem))


def _described(served: bytes, expected: bytes, found: Handshakes) -> Handshakes:
    """The handshakes with what their certificate says. expected: the stored certificate; empty: there is none."""
    from cryptography import x509
    from cryptography.hazmat.primitives.asymmetric.ec import EllipticCurvePublicKey
    from cryptography.hazmat.primitives.asymmetric.rsa import RSAPublicKey

    certificate = x509.load_der_x509_certificate(served)
    key, hashed = certificate.public_key(), certificate.signature_hash_algorithm
    kind = "EC" if isinstance(key, EllipticCurvePublicKey) else "RSA" if isinstance(key, RSAPublicKey) else "ED"
    return replace(
        found, key=f"{kind} {getattr(key, 'key_size', 256)}", signature=hashed.name if hashed else "ed25519",
        days_left=(certificate.not_valid_after_utc.timestamp() - time.time()) / 86400,
        served_is_stored=served == expected if expected else None,
    )  # fmt: skip
