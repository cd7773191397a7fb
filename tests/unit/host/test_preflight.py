"""What a command refuses to begin for."""

from __future__ import annotations

from types import SimpleNamespace
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


def test_port_that_is_new_is_looked_at_while_the_stack_runs(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(preflight, "port_is_free", lambda port, address: False)

    project = cast(Project, SimpleNamespace(name="cc03", ports={"https": 443, "proxy_protocol": 8443}))
    assert preflight._busy_ports(project, {443: "cc03", 8443: "other"}) == {"proxy_protocol": 8443}
