"""What a command refuses to begin for."""

from __future__ import annotations

from typing import cast

import pytest

from ops.core.errors import HostLacks
from ops.host import preflight
from ops.project import Project
from tests.unit.host.test_plan_doctor import facts

PROJECT = cast(Project, None)


def test_port_of_somebody_else_stops_a_deploy_and_no_build(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(preflight, "look", lambda project: facts(busy_ports={"http": 80}))

    with pytest.raises(HostLacks, match="port 80 is taken"):
        preflight.check_host(PROJECT)
    preflight.check_host_to_build(PROJECT)


def test_full_disk_stops_both(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(preflight, "look", lambda project: facts(free_bytes={"/var": 0}))

    for check in (preflight.check_host, preflight.check_host_to_build):
        with pytest.raises(HostLacks):
            check(PROJECT)


class Published:
    """A project whose containers publish these ports of the host at present."""

    def __init__(self, ports: dict[str, int]) -> None:
        self.ports, self.host = ports, None


def test_port_that_is_new_is_looked_at_while_the_stack_runs(monkeypatch: pytest.MonkeyPatch) -> None:
    bindings = {"8443/tcp": [{"HostIp": "", "HostPort": "443"}], "8080/tcp": None}
    running = {"edge": {"HostConfig": {"PortBindings": bindings}, "State": {"Status": "running"}}}
    monkeypatch.setattr(preflight, "inspected_containers", lambda host: running)
    monkeypatch.setattr(preflight, "port_is_free", lambda port, address: False)

    project = cast(Project, Published({"https": 443, "proxy_protocol": 8443}))
    assert preflight._busy_ports(project) == {"proxy_protocol": 8443}
