"""Between all containers: every open port speaks TLS under its service's name, and nothing else."""

from __future__ import annotations

import dataclasses
import socket
import ssl
from collections.abc import Iterator

import pytest

from ops.certificates.facts import leaves_of
from ops.certificates.served.handshake import POSTGRES, SSL_REQUEST, look
from ops.security_audit.probe.connections import listening
from ops.stack.certificates import listeners
from ops.stack.listener import Listener
from tests.smoke.live import Live
from tests.smoke.test_isolation import SERVICES

PLAIN = {("nginx", 8080)}
"""Redirects to HTTPS and serves the authority's certificate, which nobody can verify before he has it."""
OWN = [service for service in SERVICES if service != "edge"]
SECONDS = 5.0


def of(live: Live, service: str) -> list[Listener]:
    """Every listener of a service's containers, of its own certificate; none where it is optional and not there."""
    wanted = live.project.deployed
    own = [leaf for leaf in leaves_of(live.project) if leaf.name == service]
    return list(listeners(live.project.state.root, live.project.stack, wanted.allocation, own))


def connected(live: Live, at: Listener) -> socket.socket:
    with live.network(at.slot):
        return socket.create_connection((at.address, at.port), SECONDS)


def heard(plain: socket.socket) -> bytes:
    """What is answered until the connection ends. Empty: nothing."""
    said = b""
    try:
        while part := plain.recv(4096):
            said += part
    except (ConnectionError, TimeoutError):
        pass
    return said


@pytest.mark.parametrize("service", OWN)
def test_every_open_port_is_declared_as_one_that_speaks_tls(live: Live, service: str) -> None:
    for slot in live.slots(service) if service in live.containers or service != "grafana" else ():
        declared = {at.port for at in of(live, service) if at.slot == slot} | {port for name, port in PLAIN if name == service}
        assert listening(live.pid(slot)) == declared, slot


@pytest.mark.parametrize("service", OWN)
def test_strict_client_accepts_it_under_its_name_and_no_other(live: Live, service: str) -> None:
    for at in of(live, service):
        assert look(at, live.pid(at.slot)).refused == "", at
        stranger = dataclasses.replace(at, server_name="elsewhere")
        assert "elsewhere" in look(stranger, live.pid(at.slot)).refused, at


def questions(at: Listener) -> Iterator[bytes]:
    yield b"GET / HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n"
    yield b"*1\r\n$4\r\nPING\r\n"


@pytest.mark.parametrize("service", OWN)
def test_plain_text_gets_no_answer(live: Live, service: str) -> None:
    for at in of(live, service):
        for question in questions(at):
            with connected(live, at) as plain:
                plain.sendall(question)
                said = heard(plain)
            # A server may say in plain text that it wants TLS; nginx sends browsers to where they get it.
            assert not said or said.startswith((b"HTTP/1.0 400", b"HTTP/1.1 400", b"HTTP/1.1 308", b"\x15")), (at, said[:200])


def test_redis_answers_nobody_who_shows_no_certificate(live: Live) -> None:
    (at,) = of(live, "redis")
    bare = ssl.create_default_context(cafile=at.ca)
    raw = connected(live, at)
    # With TLS 1.3 the refusal comes in place of the first answer.
    with raw, pytest.raises((ssl.SSLError, ConnectionError)), bare.wrap_socket(raw, server_hostname=at.server_name) as secured:
        secured.sendall(b"PING\r\n")
        assert secured.recv(100) == b"", "it has answered"
        raise ConnectionError("closed without a word")


def test_postgres_answers_no_question_before_tls(live: Live) -> None:
    (at, *_) = [one for one in of(live, "postgres") if one.protocol == POSTGRES]
    with connected(live, at) as plain:
        start = b"user\0app\0database\0app\0\0"
        plain.sendall((len(start) + 8).to_bytes(4, "big") + (196608).to_bytes(4, "big") + start)
        assert b"no pg_hba.conf entry" in heard(plain)
    with connected(live, at) as plain:
        plain.sendall(SSL_REQUEST)
        assert plain.recv(1) == b"S"


def test_authority_that_nobody_asked_is_not_believed(live: Live) -> None:
    """The systems' own roots, which any public authority could be got to sign for."""
    for service in OWN:
        for at in of(live, service)[:1]:
            raw = connected(live, at)
            with raw:
                if at.protocol == POSTGRES:
                    raw.sendall(SSL_REQUEST)
                    assert raw.recv(1) == b"S"
                with pytest.raises(ssl.SSLCertVerificationError, match=r"self.signed certificate|unable to get"):
                    ssl.create_default_context().wrap_socket(raw, server_hostname=at.server_name)


def test_keycloak_hangs_up_on_nobody_while_it_takes_up_a_certificate(live: Live) -> None:
    """Vert.x 4.5 would. Does another one still need the patch? docs/how-to/keycloak.md#upgrade"""
    library = live.exec("keycloak", "sh", "-c", "echo /opt/keycloak/lib/lib/main/io.vertx.vertx-core-*").stdout
    mended = live.exec("keycloak", "test", "-f", "/opt/keycloak/lib/vertx-core.patch", ok=None)

    assert mended.returncode == 0, library
