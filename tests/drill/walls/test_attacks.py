"""An intruder in each container tries the obvious moves, a stranger the obvious requests: all fail, and requests are logged."""

from __future__ import annotations

import json
import os
import secrets
import socket
import ssl
import time
from collections.abc import Iterator
from datetime import datetime

import pytest

from ops.engines.podman.observe import inspected_containers
from ops.engines.podman.supervisor.health import network_of
from ops.project import Project
from ops.security_audit.probe.connections import Place, addresses, host_addresses, ipv6_addresses
from ops.security_audit.probe.gather import places_of
from ops.stack.firewall_rules import published_networks
from ops.store.versions import secret_versions
from tests.drill.walls.conftest import value_of
from tests.drill.walls.intruder import tried
from tests.drill.walls.moves import Page, moves
from tests.drill.walls.shapes import SHAPES, SLOW_SECONDS, answered, seconds_until_closed, secured_to, statuses
from tests.smoke.live import eventually
from tests.smoke.test_isolation import SERVICES

PROBE, OPERATOR = "/api/v1/probe", "/prometheus/-/ready"
"""What nginx serves to the host's own processes alone, on the public and on the operator's port."""
EXPECTED = {
    ("logs", "become another service"), ("logs", "join another group"), ("logs", "become root"), ("logs", "read passwords"),
    ("postgres", "become another service"),
}  # fmt: skip
"""Who is what it tries to become, or may do it, for a reason in config/audit/exceptions.yaml. The passwords are its own
image's, which has none."""


@pytest.fixture(scope="module")
def places(project: Project) -> dict[str, Place]:
    return places_of(project, inspected_containers(project.host))


def link_local() -> tuple[str, ...]:
    found = tuple(address for address in ipv6_addresses("self") if address.startswith("fe80:"))
    assert found, "this host has no IPv6: nothing would be tried"
    return found


@pytest.fixture(scope="module")
def listener() -> Iterator[int]:
    """Port of a program of the host that listens on all its addresses, as many do."""
    with socket.create_server(("::", 0), family=socket.AF_INET6, dualstack_ipv6=True) as listening:
        yield int(listening.getsockname()[1])


def host_only(project: Project, places: dict[str, Place]) -> tuple[Page, ...]:
    """At nginx' addresses, and at those of the host."""
    domain, inner = project.settings.domain, addresses(project.stack, places, "nginx").values()
    return tuple(
        page for at, https, ops in (
            *((address, 8443, 9443) for address in inner),
            *((address, project.ports["https"], project.ports["ops"]) for address in sorted(host_addresses())),
        )
        for page in (Page(at, https, domain, PROBE), Page(at, ops, "localhost", OPERATOR))
    )  # fmt: skip


@pytest.mark.parametrize("service", SERVICES)
def test_intruder_gains_nothing(project: Project, places: dict[str, Place], listener: int, service: str) -> None:
    stack = project.stack
    closed = published_networks(stack) | {name for name, is_internal in stack.networks.items() if is_internal}
    values = tuple(value_of(project, name) for name in secret_versions(project.state))
    outside = next(iter(sorted(host_addresses())))
    for slot in stack.services[service].slots():
        if slot not in places:
            assert stack.services[service].optional, f"{slot} does not run"
            continue
        all_moves = moves(
            own_secrets=frozenset(stack.services[service].secrets), values=values,
            enclosed=set(stack.services[service].networks) <= closed, host=outside, port=project.ports["https"],
            bridges=link_local(), ipv6_port=listener, host_only=host_only(project, places),
        )  # fmt: skip
        assert len(all_moves) >= 30
        gained = {move: what for move, what in tried(places[slot].pid, all_moves).items() if what}
        assert {move: what for move, what in gained.items() if (service, move) not in EXPECTED} == {}, slot


def test_the_same_moves_succeed_where_nothing_is_in_their_way(
    project: Project, places: dict[str, Place], listener: int
) -> None:
    """On the host itself, as root: that they fail in containers means something."""
    harmless = {
        "read passwords",
        "become another service",
        "forge packets",
        "have mounts of its own",
        "see the host's processes",
        "have users of its own (unshare)",
        "have users of its own (clone)",
        "have users of its own (clone3)",
        "reach the packet filter",
        "reach the host by IPv6",
        "be served as the host",
    }
    everything = moves(
        own_secrets=frozenset(), values=(), enclosed=False, host="127.0.0.1", port=project.ports["https"],
        bridges=link_local(), ipv6_port=listener, host_only=host_only(project, places),
    )  # fmt: skip
    gained = tried(os.getpid(), {name: move for name, move in everything.items() if name in harmless})

    assert {name for name, what in gained.items() if what} == harmless


# ---- Requests


@pytest.fixture(scope="module")
def front(project: Project, places: dict[str, Place]) -> Iterator[tuple[int, str]]:
    """A process of a container beside nginx, and nginx' address there."""
    yield places["frontend-1"].pid, addresses(project.stack, places, "nginx")["frontend"]


@pytest.mark.parametrize("shape", SHAPES)
def test_request_of_a_confusing_shape_is_refused(project: Project, front: tuple[int, str], shape: str) -> None:
    text, accepted = SHAPES[shape]
    mark = f"intruder-{secrets.token_hex(6)}"
    pid, address = front

    def connect() -> ssl.SSLSocket:
        with network_of(pid):
            return secured_to(address, 8443, project.settings.domain)

    began = time.time()
    sent = text.replace("{host}", project.settings.domain).replace("{mark}", mark)
    answer = answered(connect, sent)

    found = statuses(answer)
    assert len(found) == 1, f"{shape}: answered {found}"
    assert found[0] in accepted, answer[:300]
    assert b"Set-Cookie: a=b" not in answer and b"root:x:" not in answer
    assert b"Prometheus" not in answer and b"101 Switching" not in answer
    eventually(lambda: "" if _logged(project, began, mark, found[0]) else f"{shape}: no line in nginx.log", 5)


def _logged(project: Project, since: float, mark: str, status: int) -> bool:
    """Whether nginx has written a line of it: by its User-Agent, or, where it never got that far, by its status."""
    lines = (project.state.logs / "nginx.log").read_text(errors="replace").splitlines()[-400:]
    for line in reversed(lines):
        _, brace, rest = line.partition("{")
        if not brace:
            continue
        try:
            entry = json.loads("{" + rest)
        except ValueError:
            continue
        if datetime.fromisoformat(entry["time"]).timestamp() < since - 1:
            return False
        if entry.get("user_agent") == mark or (entry.get("status") == status and entry.get("user_agent") in ("", "-")):
            return True
    return False


@pytest.mark.parametrize(
    ("begin", "piece"),
    [
        (b"GET / HTTP/1.1\r\nHost: x\r\n", b"X-A: b\r\n"),
        (b"POST /api/v1/items HTTP/1.1\r\nHost: localhost\r\nContent-Length: 1000\r\n\r\n", b""),
    ],
    ids=["header", "body"],
)  # fmt: skip
def test_client_that_trickles_is_cut_off(project: Project, front: tuple[int, str], begin: bytes, piece: bytes) -> None:
    pid, address = front

    def connect() -> ssl.SSLSocket:
        with network_of(pid):
            return secured_to(address, 8443, project.settings.domain)

    assert seconds_until_closed(connect, begin, piece) < SLOW_SECONDS
