"""What holds nginx' address holds it and does nothing else; nginx stands in its network, and answers for itself alone."""

from __future__ import annotations

import socket
import stat
from dataclasses import replace
from ipaddress import ip_network
from pathlib import Path
from typing import Any

import pytest

from ops.engines.podman.supervisor.health import Target, probe
from ops.security_audit.probe.connections import sockets_of
from tests.smoke.live import Live
from tests.smoke.test_hardening import processes

CONNECT_SECONDS = 3.0
"""Less than proxy_connect_timeout (config/nginx/proxy.conf)."""


def network(live: Live, slot: str) -> Path:
    return Path(f"/proc/{live.pid(slot)}/ns/net").readlink()


def test_nginx_stands_in_its_network_and_nobody_else_does(live: Live) -> None:
    held = network(live, "edge")

    assert {slot for slot in live.containers if network(live, slot) == held} == {"edge", "nginx"}


def test_it_runs_nothing_that_listens(live: Live) -> None:
    programs = sorted((process / "comm").read_text().strip() for process in processes(live, "edge"))

    assert programs == ["entrypoint.sh", "sleep"]
    # Whatever listens in this network belongs to nginx: no process of its own has a socket.
    found = [link for process in processes(live, "edge") for link in (process / "fd").iterdir()]
    assert found
    assert [link for link in found if str(link.readlink()).startswith("socket:")] == []


def test_waiting_connections_are_handed_on_when_a_listener_ends(live: Live) -> None:
    assert live.exec("edge", "cat", "/proc/sys/net/ipv4/tcp_migrate_req").stdout.strip() == "1"


def test_every_port_is_open_to_a_second_nginx(live: Live) -> None:
    """Two workers, two sockets of each port: only with reuseport is that so, and only then can another nginx have its own."""
    opened = [(entry.address, entry.port) for entry in sockets_of(live.pid("nginx")) if entry.listens]

    assert {one: opened.count(one) for one in opened} == dict.fromkeys(opened, 2)
    more = {8444} if "proxy_protocol" in live.ports else set()
    assert {port for _, port in opened} == {8080, 8081, 8082, 8083, 8443, 9443, *more}


def target(live: Live) -> Target:
    return next(one for one in live.project.targets() if one.slot == "nginx")


def test_nginx_is_asked_by_a_socket_that_is_its_own(live: Live) -> None:
    path = Path(f"/proc/{live.pid('nginx')}/root/run/probe.sock")

    assert stat.S_ISSOCK(path.stat().st_mode)
    assert not Path(f"/proc/{live.pid('edge')}/root/run/probe.sock").exists()
    assert probe(target(live), live.pid("nginx")) == ""


@pytest.mark.parametrize("wrong", [{"socket": "/run/none.sock"}, {"ca": "/dev/null"}], ids=["no socket", "another CA"])
def test_probe_fails_where_it_should(live: Live, wrong: dict[str, Any]) -> None:
    """The probe of the test above proves something only because this one fails."""
    try:
        answer = probe(replace(target(live), **wrong), live.pid("nginx"))
    except OSError as refused:
        answer = str(refused)
    assert answer


def test_address_that_nobody_holds_is_refused_by_the_kernel_before_nginx_gives_it_up(live: Live) -> None:
    """As that of a container which is being replaced; else every request that meets it waits for proxy_connect_timeout."""
    subnet = ip_network(live.project.allocation.subnets["app"])
    nobody = str(subnet[-2])
    assert nobody not in {str(subnet[number]) for number in live.project.allocation.hosts.values()}
    with live.network("nginx"), pytest.raises(OSError, match="No route to host"):
        socket.create_connection((nobody, 8000), CONNECT_SECONDS)
