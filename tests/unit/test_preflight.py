"""What a command refuses to begin for."""

from __future__ import annotations

from typing import cast

import pytest

from ops.errors import HostLacks
from ops.machine import preflight
from ops.machine.project import Project
from tests.unit.test_plan_doctor import facts

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
