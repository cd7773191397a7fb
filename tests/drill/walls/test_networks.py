"""Another machine of the LAN, and another container of the host, get what is published and nothing behind it; nginx' network
lets answers out and nothing else."""

from __future__ import annotations

import socket
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import pytest

from ops.core.process import run
from ops.engines.podman import argv as podman
from ops.engines.podman.observe import inspected_containers
from ops.engines.podman.supervisor import firewall
from ops.engines.podman.supervisor.health import network_at
from ops.project import Project
from ops.security_audit.probe.connections import Place, addresses, sockets_of
from ops.security_audit.probe.gather import places_of
from ops.stack.firewall_rules import table_name
from tests.drill.walls.moves import CONNECT_SECONDS, Page, connects, status_of

LAN = "198.51.100"
"""TEST-NET-2 (RFC 5737): nobody has addresses of it."""
INNER = (8080, 8081, 8443, 9443)


@dataclass(frozen=True)
class Machine:
    """Somebody whose network is this file, and the host's address on the way to it."""

    network: Path
    host: str

    def reaches(self, address: str, port: int, pid: int = 0) -> bool:
        """Whether a connection comes about; with `pid`, one that a container of that process knows of: for an address that this
        host does not route, a machine beyond it may accept."""
        with network_at(self.network):
            try:
                started = socket.create_connection((address, port), CONNECT_SECONDS)
            except OSError:
                return False
        with started:
            own = started.getsockname()[1]
            return not pid or any((one.port, one.peer_port) == (port, own) for one in sockets_of(pid))


@pytest.fixture(scope="module")
def places(project: Project) -> dict[str, Place]:
    return places_of(project, inspected_containers(project.host))


@pytest.fixture(scope="module")
def lan(project: Project) -> Iterator[Machine]:
    """A machine that sends all that it has for the stack's subnets to this host."""
    name = f"{project.name}-lan"
    run(("ip", "netns", "add", name), timeout=10)
    try:
        for words in (
            f"link add cc03lan0 type veth peer name cc03lan1 netns {name}", f"addr add {LAN}.1/24 dev cc03lan0",
            "link set cc03lan0 up", f"-n {name} addr add {LAN}.2/24 dev cc03lan1", f"-n {name} link set cc03lan1 up",
            f"-n {name} route add default via {LAN}.1",
        ):  # fmt: skip
            run(("ip", *words.split()), timeout=10)
        yield Machine(Path("/run/netns") / name, f"{LAN}.1")
    finally:
        # Its end of the pair goes with it, and so does ours.
        run(("ip", "netns", "delete", name), timeout=10)


@pytest.fixture(scope="module")
def other(project: Project) -> Iterator[Machine]:
    """A container of somebody else on this host, on a network of its own: Podman masquerades what it sends."""
    name, host = f"other-than-{project.name}", project.host
    try:
        host.run(("podman", "network", "create", "--disable-dns", name))
        host.run((
            "podman", "run", "--rm", "--detach", "--pull=never", "--name", name, "--network", name, "--entrypoint", "sleep",
            project.images["edge"].tag, "600",
        ))  # fmt: skip
        pid = host.run(("podman", "inspect", "--format", "{{.State.Pid}}", name)).stdout.strip()
        gateway = host.run(("podman", "network", "inspect", "--format", "{{range .Subnets}}{{.Gateway}}{{end}}", name)).stdout
        yield Machine(Path(f"/proc/{pid}/ns/net"), gateway.strip())
    finally:
        host.run(podman.remove(name), ok=None)
        host.run(("podman", "network", "rm", name), ok=None)


@pytest.fixture(params=["lan", "other"])
def stranger(request: pytest.FixtureRequest) -> Machine:
    found: Machine = request.getfixturevalue(request.param)
    return found


def behind(project: Project, places: dict[str, Place]) -> list[tuple[str, int, int]]:
    """Every port of nginx at each of its addresses, and that of the frontend: address, port, a process there."""
    inner = addresses(project.stack, places, "nginx").values()
    frontend = places["frontend-1"]
    return [
        *((address, port, places["nginx"].pid) for address in inner for port in INNER),
        *((address, 8080, frontend.pid) for address in frontend.addresses.values()),
    ]


def test_stranger_gets_published_ports_and_nothing_behind_them(
    project: Project, places: dict[str, Place], stranger: Machine
) -> None:
    assert stranger.reaches(stranger.host, project.ports["https"])
    assert not stranger.reaches(stranger.host, project.ports["ops"])

    assert [place for place in behind(project, places) if stranger.reaches(*place)] == []


def test_stranger_is_not_taken_for_the_host(project: Project, stranger: Machine) -> None:
    page = Page(stranger.host, project.ports["https"], project.settings.domain, "/api/v1/probe")
    with network_at(stranger.network):
        assert status_of(page) == "404"
    # The same page by the same port, asked by the host itself.
    assert status_of(Page("127.0.0.1", page.port, page.name, page.path)) == "200"


def test_nginx_opens_no_connection_to_the_lan(places: dict[str, Place], lan: Machine) -> None:
    with network_at(lan.network):
        listening = socket.create_server(("", 0))
    with listening:
        port = int(listening.getsockname()[1])
        assert connects(f"{LAN}.2", port), "the host itself does not reach it, so that others do not proves nothing"
        assert not Machine(Path(f"/proc/{places['edge'].pid}/ns/net"), "").reaches(f"{LAN}.2", port)


@contextmanager
def unfiltered(project: Project) -> Iterator[None]:
    run(("nft", "delete", "table", "ip", table_name(project.name)), timeout=10)
    try:
        yield
    finally:
        assert firewall.ensure(project.state.root)


def test_without_the_filter_strangers_reach_what_is_behind(
    project: Project, places: dict[str, Place], lan: Machine, other: Machine
) -> None:
    """So it is the filter that keeps them out."""
    web = addresses(project.stack, places, "nginx")["web"]
    with unfiltered(project):
        assert lan.reaches(web, 8443)
        with network_at(other.network):
            assert status_of(Page(web, 9443, "localhost", "/prometheus/-/ready")) == "200"
    assert not lan.reaches(web, 8443)
