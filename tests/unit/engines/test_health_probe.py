"""How a container is asked over HTTP: from within its network, at its address or its socket, under the name of its service."""

from __future__ import annotations

import ctypes
import http.client
import os
import socket
import ssl
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from ops.certificates import pki
from ops.engines.podman.supervisor import health
from ops.engines.podman.supervisor.health import (
    CLONE_NEWNET,
    PROBE_TIMEOUT,
    NamedConnection,
    Target,
    assess,
    dependencies_down,
    is_live,
    network_at,
    network_of,
    present,
    probe,
    state_of,
    stranded,
)

READY = "http://backend:8000/ready"
TARGET = Target("backend-1", "backend", "cc03-backend-1", "10.64.2.11", READY, "/ca.pem", start_seconds=60, grace=30)
HERE, GONE = os.getpid(), 2**22 + 1
RUNNING = {"State": {"Status": "running", "Pid": HERE, "ConmonPid": HERE}}


@dataclass
class Server:
    """Answers one connection after the other. asked: requests; places: networks that connections were opened in."""

    answer: bytes = b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok"
    fails: OSError | None = None
    asked: list[str] = field(default_factory=list)
    addresses: list[tuple[str, int | None, float | None]] = field(default_factory=list)
    places: list[int | None] = field(default_factory=list)
    inside: int | None = None
    connections: list[http.client.HTTPConnection] = field(default_factory=list)

    def connect(self, connection: http.client.HTTPConnection) -> None:
        self.connections.append(connection)
        self.places.append(self.inside)
        self.addresses.append((connection.host, connection.port, connection.timeout))
        if self.fails:
            raise self.fails
        near, far = socket.socketpair()
        connection.sock = near
        threading.Thread(target=self._serve, args=(far,), daemon=True).start()

    def _serve(self, far: socket.socket) -> None:
        with far:
            text = b""
            while b"\r\n\r\n" not in text:
                text += far.recv(4096)
            self.asked.append(text.decode())
            far.sendall(self.answer)

    @contextmanager
    def network(self, pid: int) -> Iterator[None]:
        self.inside = pid
        yield
        self.inside = None


@pytest.fixture
def server(monkeypatch: pytest.MonkeyPatch) -> Server:
    made = Server()

    def connect(connection: http.client.HTTPConnection) -> None:
        made.connect(connection)

    monkeypatch.setattr(http.client.HTTPConnection, "connect", connect)
    monkeypatch.setattr(health, "network_of", made.network)
    return made


def test_probe_asks_from_within_the_network_of_the_container(server: Server) -> None:
    assert probe(TARGET, 77) == ""

    assert (server.places, server.addresses) == ([77], [("10.64.2.11", 8000, PROBE_TIMEOUT)])
    (request,) = server.asked
    assert request.startswith("GET /ready HTTP/1.1\r\n")
    assert "\r\nHost: localhost\r\n" in request and "\r\nUser-Agent: cc03-health\r\n" in request
    assert server.connections[0].sock is None, "it is closed"


def test_probe_without_a_path_asks_for_the_root(server: Server) -> None:
    probe(replace(TARGET, probe="http://backend:8000"), 77)
    assert server.asked[0].startswith("GET / HTTP/1.1\r\n")


@pytest.mark.parametrize(
    ("status", "said"),
    [(199, "HTTP 199"), (200, ""), (204, ""), (299, ""), (300, "HTTP 300"), (404, "HTTP 404"), (503, "HTTP 503")],
)
def test_only_an_answer_of_200_to_299_is_a_good_one(server: Server, status: int, said: str) -> None:
    if status < 200:
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(health, "_answer", lambda *_: (status, ""))
            assert probe(TARGET, 77) == f"{READY}: {said} "
        return
    server.answer = b"HTTP/1.1 %d X\r\nContent-Length: 0\r\n\r\n" % status
    assert probe(TARGET, 77).strip() == (f"{READY}: {said}" if said else "")


def test_bad_answer_is_told_in_one_line_with_its_beginning(server: Server) -> None:
    body = b"redis:\n   down \xff " + b"x" * 5000
    server.answer = b"HTTP/1.1 503 X\r\nContent-Length: %d\r\n\r\n" % len(body) + body
    said = probe(TARGET, 77)

    assert said.startswith(f"{READY}: HTTP 503 redis: down \ufffd xxx") and len(said) == 240


@pytest.mark.parametrize("problem", [ConnectionRefusedError(111, "Connection refused"), TimeoutError()])
def test_server_that_does_not_answer_is_told(server: Server, problem: OSError) -> None:
    server.fails = problem
    assert probe(TARGET, 77) == f"{READY}: {'[Errno 111] Connection refused' if problem.errno else 'TimeoutError'}"


def test_answer_that_is_no_http_is_told(server: Server) -> None:
    server.answer = b"SSH-2.0\r\n\r\n"
    assert probe(TARGET, 77).startswith(f"{READY}: ")
    assert server.connections[0].sock is None


def test_dependencies_are_read_from_the_answer_of_a_healthy_service(server: Server) -> None:
    body = b'{"checks": {"redis": "down"}}'
    server.answer = b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n" % len(body) + body
    assert dependencies_down(TARGET, 77) == "redis: down"
    assert (server.places, len(server.asked)) == ([77], 1)
    assert dependencies_down(replace(TARGET, probe=None), 77) == ""
    server.answer = b"no HTTP\r\n\r\n"
    assert dependencies_down(TARGET, 77) == ""
    server.fails = ConnectionRefusedError(111, "Connection refused")
    assert dependencies_down(TARGET, 77) == ""


def test_many_dependencies_are_cut_to_a_line() -> None:
    assert len(health.not_ok('{"checks": {"%s": "down"}}' % ("x" * 300))) == 240


def test_running_container_with_a_probe_is_asked_in_its_own_network(server: Server) -> None:
    assert assess(TARGET, RUNNING, lambda name: pytest.fail("its own check was run")) == ""
    assert server.places == [HERE]


def test_liveness_is_asked_at_its_own_address(server: Server) -> None:
    target = replace(TARGET, live="http://backend:8001/live")
    assert is_live(target, RUNNING, lambda *_: False)
    assert server.addresses[0][1] == 8001 and server.asked[0].startswith("GET /live ") and server.places == [HERE]
    server.fails = ConnectionRefusedError(111, "Connection refused")
    assert not is_live(target, RUNNING, lambda *_: True)
    assert not is_live(target, None, lambda *_: True)


# TLS


@pytest.fixture
def trusted(tmp_path: Path) -> tuple[Path, ssl.SSLContext]:
    """What clients trust, and a server that calls itself `redis`."""
    now = datetime.now(UTC)
    root = pki.make_root("project", now)
    intermediate = pki.make_intermediate(root, "project", now)
    leaf = pki.issue(intermediate, "redis", ("redis",), now)
    (tmp_path / "ca.pem").write_bytes(root.certificate)
    (tmp_path / "own.pem").write_bytes(leaf.key + leaf.certificate + intermediate.certificate)
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(tmp_path / "own.pem")
    return tmp_path / "ca.pem", context


def answering(far: socket.socket, context: ssl.SSLContext) -> None:
    try:
        with context.wrap_socket(far, server_side=True) as secure:
            secure.recv(4096)
            secure.sendall(b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n")
    except OSError:
        far.close()


@pytest.mark.parametrize(("service", "well"), [("redis", True), ("postgres", False)])
@pytest.mark.parametrize("path", ["", "/run/redis.sock"])
def test_service_has_to_show_its_own_name_whichever_way_it_is_reached(
    trusted: tuple[Path, ssl.SSLContext], monkeypatch: pytest.MonkeyPatch, service: str, well: bool, path: str
) -> None:
    ca, context = trusted
    near, far = socket.socketpair()
    thread = threading.Thread(target=answering, args=(far, context), daemon=True)
    thread.start()
    reached: list[Any] = []
    real = socket.socket

    def unix(family: int = -1, *more: Any, **named: Any) -> Any:
        if family != socket.AF_UNIX or more or named:
            return real(family, *more, **named)
        return SocketOf(near, reached)

    @contextmanager
    def within(root: Path, inner: str) -> Iterator[Path]:
        reached.append((root, inner))
        yield Path("/found")

    def connect(connection: http.client.HTTPConnection) -> None:
        reached.append((connection.host, connection.port))
        connection.sock = near

    monkeypatch.setattr(health, "within", within)
    monkeypatch.setattr(health, "socket", SimpleNamespace(socket=unix, AF_UNIX=socket.AF_UNIX))
    monkeypatch.setattr(http.client.HTTPConnection, "connect", connect)
    monkeypatch.setattr(health, "network_of", Server().network)
    target = replace(TARGET, service=service, ca=str(ca), probe="https://redis:6380/ready", socket=path)
    said = probe(target, HERE)
    thread.join(10)

    assert (said == "") is well, said
    if not well:
        assert "certificate verify failed" in said
    expected = [(Path(f"/proc/{HERE}/root"), path), "/found", PROBE_TIMEOUT] if path else [("10.64.2.11", 6380)]
    assert reached == expected


class SocketOf:
    """A socket that is connected to wherever it is told."""

    def __init__(self, near: socket.socket, reached: list[Any]) -> None:
        self.near, self.reached = near, reached

    def settimeout(self, seconds: float) -> None:
        self.seconds = seconds

    def connect(self, place: str) -> None:
        self.reached += [place, self.seconds]

    def __getattr__(self, name: str) -> Any:
        return getattr(self.near, name)


def test_certificate_that_is_not_there_yet_is_not_shown(trusted: tuple[Path, ssl.SSLContext], tmp_path: Path) -> None:
    ca, _ = trusted
    made = NamedConnection("10.64.2.11", None, "redis", str(ca), timeout=1.0, certificate=str(tmp_path / "none.pem"))
    assert (made.name, made.path, made.root, made.timeout, made.port) == ("redis", "", Path("/"), 1.0, 443)


def test_certificate_that_is_being_replaced_is_read_once_more() -> None:
    answers: list[Exception | None] = [ssl.SSLError("key values mismatch"), None]
    loaded: list[str] = []

    def load(file: str) -> None:
        loaded.append(file)
        if problem := answers.pop(0):
            raise problem

    present(SimpleNamespace(load_cert_chain=load), "/own.pem")  # type: ignore[arg-type]
    assert loaded == ["/own.pem"] * 2
    answers[:] = [ssl.SSLError("no")] * 2
    with pytest.raises(ssl.SSLError):
        present(SimpleNamespace(load_cert_chain=load), "/own.pem")  # type: ignore[arg-type]


# Namespaces


@dataclass
class Kernel:
    """Stands for the C library: takes every call of setns, or refuses it."""

    entered: list[tuple[str, int]] = field(default_factory=list)
    refuses: bool = False

    def library(self, name: None, *, use_errno: bool) -> Any:
        assert use_errno
        return SimpleNamespace(setns=self.setns)

    def setns(self, descriptor: int, kind: int) -> int:
        self.entered.append((str(Path(f"/proc/self/fd/{descriptor}").readlink()), kind))
        ctypes.set_errno(1)
        return -1 if self.refuses else 0


@pytest.fixture
def kernel(monkeypatch: pytest.MonkeyPatch) -> Kernel:
    made = Kernel()
    monkeypatch.setattr(ctypes, "CDLL", made.library)
    return made


def test_thread_is_in_the_namespace_within_the_block_alone(kernel: Kernel, tmp_path: Path) -> None:
    theirs = tmp_path / "theirs"
    theirs.touch()
    own = str(Path("/proc/thread-self/ns/net").readlink())
    with pytest.raises(KeyError), network_at(theirs):
        assert kernel.entered == [(str(theirs), CLONE_NEWNET)]
        raise KeyError

    assert kernel.entered[1:] == [(own, CLONE_NEWNET)]


def test_namespace_that_cannot_be_entered_is_no_place_for_the_block(kernel: Kernel, tmp_path: Path) -> None:
    (tmp_path / "theirs").touch()
    kernel.refuses = True
    with pytest.raises(OSError, match="cannot enter") as caught, network_at(tmp_path / "theirs"):
        pytest.fail("the block ran in another network")
    assert caught.value.errno == 1


def test_network_of_a_process_is_entered(kernel: Kernel) -> None:
    own = str(Path(f"/proc/{HERE}/ns/net").readlink())
    with network_of(HERE):
        assert kernel.entered == [(own, CLONE_NEWNET)]
    with pytest.raises(OSError, match="No such"), network_of(GONE):
        pytest.fail("there is no such process")


# What Podman says.


def test_container_in_another_network_than_its_holder_is_stranded(monkeypatch: pytest.MonkeyPatch) -> None:
    real = Path.readlink
    monkeypatch.setattr(Path, "readlink", lambda self: Path("net:[1]") if "/4/" in str(self) else real(self))
    other = {"State": {"Status": "running", "Pid": 4}}
    assert stranded(RUNNING, other) and stranded(other, RUNNING) and not stranded(other, other)
    assert stranded({}, RUNNING) and stranded(RUNNING, {})


@pytest.mark.parametrize(
    ("processes", "state"),
    [
        ({}, "running"),
        ({"Pid": 0, "ConmonPid": 0}, "running"),
        ({"Pid": GONE}, "lost"),
        ({"Pid": GONE, "ConmonPid": HERE}, "running"),
    ],
)
def test_container_is_lost_only_where_its_known_processes_have_ended(processes: dict[str, int], state: str) -> None:
    assert state_of({"State": {"Status": "running", **processes}}) == state


def test_process_that_has_ended_and_that_nobody_asked_about_does_not_live() -> None:
    child = os.fork()
    if child == 0:
        os._exit(0)
    os.waitid(os.P_PID, child, os.WEXITED | os.WNOWAIT)
    try:
        assert state_of({"State": {"Status": "running", "Pid": child}}) == "lost"
    finally:
        os.waitpid(child, 0)
