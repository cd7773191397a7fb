"""The one thing of Keycloak that a backend needs to become ready: the keys of its realm, over TLS."""

from __future__ import annotations

import base64
import json
import socket
import ssl
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

from cryptography.hazmat.primitives.asymmetric import rsa

from ops.engines.podman.supervisor.health import network_of
from ops.stack.certificates import TLS

PORT = 8443


def _number(value: int) -> str:
    content = value.to_bytes((value.bit_length() + 7) // 8, "big")
    return base64.urlsafe_b64encode(content).rstrip(b"=").decode()


def key_set() -> bytes:
    """A JSON Web Key Set (RFC 7517) with one key that nothing is signed with."""
    numbers = rsa.generate_private_key(65537, 2048).public_key().public_numbers()
    key = {"kid": "trial", "kty": "RSA", "alg": "RS256", "use": "sig", "n": _number(numbers.n), "e": _number(numbers.e)}
    return json.dumps({"keys": [key]}).encode()


@contextmanager
def realm_keys(pid: int, address: str, certificates: Path) -> Iterator[None]:
    """Serve them while the block runs, in the network of a container.

    Parameters
    ----------
    pid: a process of that container. address: its own. certificates: folder with the certificate to show.
    """
    content = key_set()

    class Keys(BaseHTTPRequestHandler):
        timeout = 5.0

        def do_GET(self) -> None:
            self.send_response(200)
            self.send_header("Content-Type", "application/json")
            self.send_header("Content-Length", str(len(content)))
            self.end_headers()
            self.wfile.write(content)

        def log_message(self, format: str, *args: object) -> None:
            """Nobody reads it."""

    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(certificates / TLS)
    server = ThreadingHTTPServer((address, PORT), Keys, bind_and_activate=False)
    server.socket.close()
    with network_of(pid):
        listening = socket.create_server((address, PORT))
    server.socket = context.wrap_socket(listening, server_side=True)
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.1}, daemon=True)
    thread.start()
    try:
        yield
    finally:
        server.shutdown()
        server.server_close()
