"""What is served on the wire: one handshake per listener, as a strict client makes it."""

from __future__ import annotations

import re
import socket
import ssl
import struct
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ops.certificates.served.renewal import renew_at
from ops.engines.podman.supervisor.health import network_of, present
from ops.stack.listener import Listener

HANDSHAKE_SECONDS = 4.0
PLAIN, POSTGRES, PROXY = "tls", "postgres", "proxy"
SSL_REQUEST = struct.pack("!II", 8, 80877103)
"""PostgreSQL's frontend/backend protocol, SSLRequest: TLS begins once the server has answered `S`."""
PROXY_UNKNOWN = b"PROXY UNKNOWN\r\n"
"""PROXY protocol, version 1, of a connection for no client (section 2.1)."""
_CERTIFICATE = re.compile(rb"-----BEGIN CERTIFICATE-----.+?-----END CERTIFICATE-----", re.DOTALL)


@dataclass(frozen=True)
class Served:
    """What a listener showed.

    `certificate`: the leaf, DER; empty where there was no handshake. `refused`: why a client with the roots that it should
    trust refuses it; empty where it does not. `expires`, `renew_after`: seconds of the epoch; None where it was refused.
    """

    certificate: bytes
    refused: str
    expires: float | None = None
    renew_after: float | None = None


def look(listener: Listener, pid: int, ca: str = "") -> Served:
    """Shake hands as a client that verifies; once more, without verifying, where that fails, to see what is there. `pid`: a
    process of the container. `ca`: file of roots to trust instead of the listener's own."""
    try:
        strict = ssl.create_default_context(cafile=ca or listener.trusted())
        certificate, said = shake(listener, pid, strict)
        begins, expires = (float(ssl.cert_time_to_seconds(str(said[key]))) for key in ("notBefore", "notAfter"))
        return Served(certificate, "", expires, renew_at(begins, expires, int(str(said["serialNumber"]), 16)))
    except (OSError, ssl.SSLError) as problem:
        refused = _words(problem)
    try:
        return Served(shake(listener, pid, unverified())[0], refused)
    except (OSError, ssl.SSLError):
        return Served(b"", refused)


def _words(problem: Exception) -> str:
    if isinstance(problem, ssl.SSLCertVerificationError):
        return f"clients refuse it: {problem.verify_message}"
    return f"no handshake: {getattr(problem, 'strerror', None) or str(problem) or type(problem).__name__}"


def unverified() -> ssl.SSLContext:
    """The context of a client that accepts every certificate."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
    return context


def shake(
    listener: Listener, pid: int, context: ssl.SSLContext, seconds: float = HANDSHAKE_SECONDS
) -> tuple[bytes, Mapping[str, Any]]:
    """The served certificate, in DER and parsed where it was verified. Raises OSError where no handshake succeeds."""
    # A server that asks for a certificate is shown its own, which identifies no client.
    if not listener.public and Path(listener.file).is_file():
        present(context, listener.file)
    with handshake(listener, pid, context, seconds) as secured:
        return secured.getpeercert(binary_form=True) or b"", secured.getpeercert() or {}


@contextmanager
def handshake(
    listener: Listener, pid: int, context: ssl.SSLContext, seconds: float = HANDSHAKE_SECONDS
) -> Iterator[ssl.SSLSocket]:  # fmt: skip
    """A finished handshake, from within the network of a process. Raises OSError (ssl.SSLError is one) where there is none."""
    with network_of(pid):
        raw = socket.create_connection((listener.address, listener.port), seconds)
    with raw:
        if listener.protocol == PROXY:
            raw.sendall(PROXY_UNKNOWN)
        if listener.protocol == POSTGRES:
            raw.sendall(SSL_REQUEST)
            if raw.recv(1) != b"S":
                raise OSError("it offers no TLS")
        with context.wrap_socket(raw, server_hostname=listener.server_name) as secured:
            yield secured


def stored(file: Path) -> bytes:
    """The first certificate of a PEM file, DER; empty where there is none."""
    try:
        found = _CERTIFICATE.search(file.read_bytes())
        return ssl.PEM_cert_to_DER_cert(found[0].decode()) if found else b""
    except (OSError, ValueError):
        return b""


def difference(listener: Listener, served: Served) -> str:
    """Why what is served is not as it should be; empty where it is."""
    if served.refused:
        return served.refused
    return "" if served.certificate == stored(Path(listener.file)) else "it serves another certificate than the stored one"
