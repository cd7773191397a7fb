"""One container of the stack is put in another's place, misconfigured; afterwards the stack is as it was."""

from __future__ import annotations

import copy
import os
import signal
import socket
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
import yaml

from ops.engines.podman import argv as podman
from ops.project import Project, open_project
from ops.security_audit.judge import Report
from ops.security_audit.probe import gather
from ops.security_audit.probe.gather import ADVISORIES, PARTS
from ops.stack.render import container_name, network_name, secret_name, volume_name
from ops.store.versions import secret_versions
from tests.drill.stack import Drill
from tests.drill.walls.seeds import VICTIM, filled, merged

CLOSED = "noexec,nosuid,nodev"
"""As a deploy mounts what is in memory."""
QUICK = frozenset({"reach", "host", "leaks"})
"""Parts of the facts that a change of one container can affect."""


def audited(project: Project, parts: frozenset[str] = QUICK) -> Report:
    """The results of the audit for what runs now."""
    return gather.audited(project, parts)


def told(report: Report) -> list[str]:
    return [f"{control.number} {found.where}: {found.what}" for control, found in report.findings]


@pytest.fixture(scope="session")
def stand(drill: Drill) -> Iterator[Drill]:
    """The stack, healthy and without a finding: what the tests find is theirs. It is put right once, at the end."""
    drill.deploy()
    drill.await_healthy()
    assert told(audited(drill.project, PARTS - ADVISORIES)) == []
    # It would mend what the tests break.
    ticker = drill.ticker_pid()
    os.kill(ticker, signal.SIGSTOP)
    try:
        yield drill
    finally:
        os.kill(ticker, signal.SIGCONT)
        drill.deploy()


@pytest.fixture(scope="session")
def socket_of_the_host(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """A Unix socket, as the engine's would be."""
    path = tmp_path_factory.mktemp("run") / "podman.sock"
    with socket.socket(socket.AF_UNIX) as listening:
        listening.bind(str(path))
        yield path


def value_of(project: Project, secret: str) -> str:
    version = secret_versions(project.state)[secret]
    return (project.state.secrets / secret / str(version)).read_text().strip()


@contextmanager
def misconfigured(project: Project, change: Mapping[str, Any], values: Mapping[str, str], folder: Path) -> Iterator[str]:
    """The victim runs with that change during the block: its own container, but for a program that only waits."""
    compose = copy.deepcopy(dict(project.deployed.compose))
    given = filled(change, {**values, "${CC03_STATE:-./state}": str(project.state.root)})
    service = merged(compose["services"][VICTIM], {"entrypoint": ["bash", "-c", "sleep infinity"], **_rendered(project, given)})
    service.pop("healthcheck", None)
    if "network_mode" in given:
        # Podman refuses both in the host's network.
        service.pop("extra_hosts", None)
        service.pop("sysctls", None)
    file = folder / "compose.yaml"
    compose["services"] = {VICTIM: service}
    file.write_text(yaml.safe_dump(compose))
    name = container_name(project.name, VICTIM)
    project.host.run(podman.remove(name), ok=None)
    project.host.run(podman.compose_create(file, project.name, [VICTIM]), timeout=60)
    try:
        project.host.run(("podman", "start", name))
        yield name
    finally:
        # With the anonymous volumes that a seed may have made; those with a name stay.
        project.host.run(("podman", "rm", "--force", "--time", "0", "--volumes", name), ok=None)


def _rendered(project: Project, change: Mapping[str, Any]) -> dict[str, Any]:
    """A change of compose.yaml in the terms of the flat file that is deployed from it."""
    found = dict(change)
    if found.get("networks"):
        present = project.deployed.compose["services"][VICTIM]["networks"]
        found["networks"] = {
            network_name(project.name, name): present.get(network_name(project.name, name), {}) for name in found["networks"]
        }
    if found.get("secrets"):
        versions = secret_versions(project.state)
        found["secrets"] = [
            {"source": secret_name(project.name, name, versions[name]), "target": name, "uid": "60709", "gid": "60709",
             "mode": "0400"} for name in found["secrets"]
        ]  # fmt: skip
        found["tmpfs"] = [f"/tmp:mode=1777,size=16m,{CLOSED}", f"/run/secrets:mode=0755,size=64k,{CLOSED}"]
    if found.get("volumes"):
        found["volumes"] = [_mount(project, str(mount)) for mount in found["volumes"]]
    return found


def _mount(project: Project, mount: str) -> str:
    source, _, rest = mount.partition(":")
    if source.startswith("../config/"):
        return f"{project.state.config}/{VICTIM}:/etc/cc03" + (":ro" if rest.endswith(":ro") else "")
    return mount if source.startswith("/") else f"{volume_name(project.name, source)}:{rest}"


@pytest.fixture(scope="session")
def project(stand: Drill) -> Project:
    return open_project()
