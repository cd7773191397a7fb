"""containers.conf for each kind of host. It is parsed, so that it is TOML at all."""

from __future__ import annotations

import tomllib
from typing import Any

import pytest

from ops.core.machine import HostFacts
from ops.engines.podman.host import containers_conf

BOTH = frozenset({"crun", "runc"})


def conf(**facts: Any) -> dict[str, Any]:
    return tomllib.loads(containers_conf(HostFacts(**{"programs": BOTH, **facts})))


def test_every_host_gets_netavark_and_a_file_of_events() -> None:
    assert conf()["network"] == {"network_backend": "netavark"}
    assert conf()["engine"] == {"events_logger": "file"}


def test_host_without_systemd_manages_cgroups_itself() -> None:
    assert conf(systemd=False)["engine"]["cgroup_manager"] == "cgroupfs"
    assert "cgroup_manager" not in conf(systemd=True)["engine"]


@pytest.mark.parametrize(
    ("cgroups", "programs", "runtime"),
    [
        ("v2", BOTH, None),
        ("v2", frozenset({"crun"}), None),
        ("v2", frozenset({"runc"}), "runc"),
        ("hybrid", BOTH, "runc"),
        ("v1", BOTH, "runc"),
        ("hybrid", frozenset({"crun"}), None),
    ],
)
def test_runtime_is_named_where_the_default_would_refuse(cgroups: str, programs: frozenset[str], runtime: str | None) -> None:
    assert conf(cgroups=cgroups, programs=programs)["engine"].get("runtime") == runtime


@pytest.mark.parametrize(
    ("nofile", "nproc", "expected"),
    [
        (None, None, ["nofile=16384:16384", "nproc=32768:32768"]),
        (1048576, 63000, ["nofile=16384:16384", "nproc=32768:32768"]),
        (4096, 1000, ["nofile=4096:4096", "nproc=1000:1000"]),
    ],
)
@pytest.mark.parametrize("may_raise_limits", [True, False])
def test_limits_stay_within_those_of_the_host(
    may_raise_limits: bool, nofile: int | None, nproc: int | None, expected: list[str]
) -> None:
    found = conf(may_raise_limits=may_raise_limits, nofile=nofile, nproc=nproc)

    assert found["containers"]["default_ulimits"] == expected
