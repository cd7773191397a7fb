"""What the scheduler answers, to whom speaks TLS and to nobody else."""

import contextlib
import http.client
import json
import socket
import ssl
import subprocess
import threading
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from backup.server import make_server
from test_state import GOOD, PROVED, SETTINGS, seen


def issue(file: Path, *names: str) -> None:
    """A key and a certificate that vouches for itself, for `localhost` and other names."""
    argv = ["openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes", "-days", "1"]
    alternatives = ",".join(f"DNS:{name}" for name in ("localhost", *names))
    own = ["-subj", "/CN=localhost", "-addext", f"subjectAltName={alternatives}", "-keyout", "-", "-out", "-"]
    fresh = file.with_suffix(".next")
    fresh.write_bytes(subprocess.run([*argv, *own], check=True, capture_output=True).stdout)
    fresh.replace(file)


@pytest.fixture
def file(tmp_path):
    issue(tmp_path / "tls.pem")
    return tmp_path / "tls.pem"


@pytest.fixture
def roots(tmp_path):
    """Trusted by the server: each of these clients vouches for itself."""
    for name in ("prometheus", "backup", "postgres"):
        issue(tmp_path / name, name)
    trusted = tmp_path / "ca.pem"
    trusted.write_bytes(b"".join((tmp_path / name).read_bytes() for name in ("prometheus", "backup", "postgres")))
    return trusted


@pytest.fixture
def view():
    """What the scheduler has seen: all is well, a minute ago."""
    now = datetime.now(UTC)
    fresh = now - timedelta(minutes=1)
    return {"state": replace(GOOD, started=now - timedelta(days=3), seen_at=fresh, seen=seen(fresh, drills=PROVED))}


@pytest.fixture
def port(file, roots, view):
    server = make_server(lambda: view["state"], SETTINGS, 0, file, roots)
    threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01}, daemon=True).start()
    yield server.server_address[1]
    server.shutdown()
    server.server_close()


def ask(port, file, path, shows="prometheus"):
    context = ssl.create_default_context(cafile=file)
    if shows:
        context.load_cert_chain(file.with_name(shows))
    connection = http.client.HTTPSConnection("localhost", port, timeout=5, context=context)
    connection.request("GET", path)
    answer = connection.getresponse()
    return answer.status, answer.read()


def test_health_is_told_over_tls(port, file):
    assert ask(port, file, "/health") == (200, b'{"healthy": true, "problems": []}\n')
    assert ask(port, file, "/run")[0] == 404


def test_health_that_is_gone_is_told_with_what_is_wrong(port, file, view):
    view["state"] = replace(view["state"], seen_at=datetime.now(UTC) - timedelta(days=1))
    status, body = ask(port, file, "/health")
    said = json.loads(body)
    assert (status, said["healthy"], len(said["problems"])) == (503, False, 1)
    assert "the repository was last looked at 1 day" in said["problems"][0]


def test_plain_text_gets_no_answer_and_keeps_nobody_waiting(port, file):
    with socket.create_connection(("localhost", port), 5) as silent, socket.create_connection(("localhost", port), 5) as plain:
        plain.sendall(b"GET /health HTTP/1.1\r\n\r\n")
        with contextlib.suppress(ConnectionResetError):
            assert not plain.recv(100).startswith(b"HTTP")
        assert ask(port, file, "/health")[0] == 200
        assert silent.fileno() >= 0


def test_renewed_certificate_is_shown_at_once(port, file):
    ask(port, file, "/health")
    old = file.read_bytes()
    issue(file)
    assert ask(port, file, "/health")[0] == 200
    file.with_suffix(".old").write_bytes(old)
    with pytest.raises(ssl.SSLCertVerificationError):
        ask(port, file.with_suffix(".old"), "/health")


def test_certificate_that_is_replaced_while_it_is_read_is_read_again(port, file, monkeypatch):
    """OpenSSL opens the file twice; the second time another pair lies there."""
    old, read, reads = file.with_suffix(".old"), ssl.SSLContext.load_cert_chain, []
    old.write_bytes(file.read_bytes())
    issue(file)

    def replaced_in_between(context, certificate):
        if certificate == file:
            reads.append(certificate)
        read(context, old if reads == [certificate] else certificate, certificate)

    monkeypatch.setattr(ssl.SSLContext, "load_cert_chain", replaced_in_between)
    assert ask(port, file, "/health")[0] == 200
    assert reads == [file, file]


@pytest.mark.parametrize("shows", ["", "postgres", "tls.pem"])
def test_neighbour_that_is_no_client_learns_nothing(port, file, shows):
    """Without a certificate, with that of another service, and with one that nobody trusts."""
    assert ask(port, file, "/status", "backup")[0] == 200
    with pytest.raises((OSError, http.client.HTTPException)):
        ask(port, file, "/status", shows)


def test_client_of_a_new_root_is_served_without_a_restart(port, file, roots):
    issue(file.with_name("other"), "prometheus")
    with pytest.raises((OSError, http.client.HTTPException)):
        ask(port, file, "/status", "other")
    roots.write_bytes(file.with_name("other").read_bytes())
    assert ask(port, file, "/status", "other")[0] == 200
