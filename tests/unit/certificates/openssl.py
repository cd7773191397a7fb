"""What OpenSSL makes of a chain, as the client of a server that sends it."""

from __future__ import annotations

import ssl
from collections.abc import Sequence
from pathlib import Path

from cryptography import x509

from ops.certificates import pki


def accepted(file: Path, roots: Sequence[x509.Certificate], name: str) -> bool:
    """Whether OpenSSL, as a client that trusts these roots alone, accepts what a server sends that has this file."""
    theirs, ours = (
        ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER),
        ssl.create_default_context(cadata=b"".join(map(pki.pem, roots)).decode()),
    )
    theirs.load_cert_chain(file)
    up, down = ssl.MemoryBIO(), ssl.MemoryBIO()
    server, client = theirs.wrap_bio(up, down, server_side=True), ours.wrap_bio(down, up, server_hostname=name)
    for side in (client, server, client):
        try:
            side.do_handshake()
        except ssl.SSLWantReadError:
            continue
        except ssl.SSLCertVerificationError:
            return False
    return True
