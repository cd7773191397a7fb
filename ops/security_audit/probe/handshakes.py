"""Handshakes with every declared listener, from inside its network, by the standard library's own TLS."""

from __future__ import annotations

import ssl
import time
import warnings
from contextlib import AbstractContextManager
from pathlib import Path

from ops.certificates.served.handshake import Listener, handshake, stored
from ops.engines.podman.supervisor.health import present
from ops.security_audit.facts import Handshakes

SECONDS = 10.0
"""A Java that is starved of CPU has taken four for a handshake, and would have been called one that speaks no TLS."""
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
"""Families of ciphers of TLS 1.2 that nobody should agree to (RFC 9325, sections 4.1 and 4.2), in OpenSSL's words."""
ALL = "ALL:COMPLEMENTOFALL:@SECLEVEL=0"


class Speaker:
    """Speaks TLS with one listener.

    Parameters
    ----------
    at: the same listener as clients reach it. pid: a process of its container.
    """

    def __init__(self, at: Listener, pid: int, *, client_certificate: bool) -> None:
        self.at, self.pid, self.client_certificate = at, pid, client_certificate

    def context(self) -> ssl.SSLContext:
        """Trusts everybody: what is looked at is how the other side negotiates."""
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
        context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
        return self.with_own_certificate(context)

    def with_own_certificate(self, context: ssl.SSLContext) -> ssl.SSLContext:
        if self.client_certificate and Path(self.at.file).is_file():
            present(context, self.at.file)
        return context

    def shaken(self, context: ssl.SSLContext) -> AbstractContextManager[ssl.SSLSocket]:
        """A finished handshake. Raises OSError (ssl.SSLError is one) where there is none."""
        return handshake(self.at, self.pid, context, SECONDS)

    def agrees(self, version: ssl.TLSVersion, ciphers: str) -> bool:
        context = self.context()
        with warnings.catch_warnings():
            # What is old is asked for on purpose.
            warnings.simplefilter("ignore", DeprecationWarning)
            context.minimum_version = context.maximum_version = version
        try:
            context.set_ciphers(ciphers)
        except ssl.SSLError:
            return False  # this host's own OpenSSL knows none of them
        try:
            with self.shaken(context):
                return True
        except OSError:
            return False

    def verification(self) -> str:
        """Why a client that trusts what it should does not accept it; empty where it does."""
        context = ssl.create_default_context(cafile=self.at.trusted())
        try:
            with self.shaken(self.with_own_certificate(context)):
                return ""
        except ssl.SSLCertVerificationError as problem:
            return problem.verify_message
        except OSError as problem:
            return f"no handshake: {problem}"

    def served(self) -> bytes:
        """The certificate that it serves, in DER; empty where there is no handshake."""
        try:
            with self.shaken(self.context()) as secured:
                return secured.getpeercert(binary_form=True) or b""
        except OSError:
            return b""


def handshakes(speaker: Speaker) -> Handshakes:
    """How a listener negotiates, and with which certificate."""
    from cryptography import x509
    from cryptography.hazmat.primitives.asymmetric.ec import EllipticCurvePublicKey
    from cryptography.hazmat.primitives.asymmetric.rsa import RSAPublicKey

    protocols = frozenset(name for name, version in VERSIONS.items() if speaker.agrees(version, ALL))
    weak = frozenset(
        family for family, ciphers in WEAK.items() if speaker.agrees(ssl.TLSVersion.TLSv1_2, f"{ciphers}:@SECLEVEL=0")
    )
    problem, served = speaker.verification(), speaker.served()
    if not served:
        return Handshakes(protocols, weak, problem or "it serves no certificate")
    certificate = x509.load_der_x509_certificate(served)
    key = certificate.public_key()
    kind = "EC" if isinstance(key, EllipticCurvePublicKey) else "RSA" if isinstance(key, RSAPublicKey) else "ED"
    hashed = certificate.signature_hash_algorithm
    expected = stored(Path(speaker.at.file))
    return Handshakes(
        protocols, weak, problem, key=f"{kind} {getattr(key, 'key_size', 256)}", signature=hashed.name if hashed else "ed25519",
        days_left=(certificate.not_valid_after_utc.timestamp() - time.time()) / 86400,
        served_is_stored=served == expected if expected else None,
    )  # fmt: skip
