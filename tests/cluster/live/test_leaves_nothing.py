"""`down` leaves the machine as it was, also where `up` was killed.

Runs before the other files make their cluster: there is one at a time.
"""

from __future__ import annotations

import os
import signal
import sys
import time
from pathlib import Path

import pytest

from ops.core.errors import OpsError
from ops.core.machine import REPOSITORY
from ops.core.process import detach, run, until
from tests.cluster import machine
from tests.cluster.bed import Cluster
from tests.cluster.machine import CGROUPS, NAME, SYSCTLS, podman
from tests.drill.stack import ENV

UP_SECONDS = 300.0


def trace() -> dict[str, object]:
    """What a cluster could leave behind."""
    rules = run(("iptables-save",), timeout=60).stdout
    found: dict[str, object] = {name: Path("/proc/sys", name.replace(".", "/")).read_text() for name in SYSCTLS}
    found["containers"] = machine.containers()
    for kind in ("volume", "network"):
        names = podman(kind, "ls", "--format", "{{.Name}}").stdout.split()
        found[kind] = [name for name in names if name.startswith(NAME)]
    found["cgroups"] = list(CGROUPS.glob(f"*/{NAME}"))
    found["chains"] = [line for line in rules.splitlines() if line.startswith((":KUBE", ":CNI"))]
    found["processes"] = [
        line for line in run(("ps", "-eo", "args"), timeout=60).stdout.splitlines() if line.startswith("kubelet ")
    ]
    return found


def command(*arguments: str) -> tuple[str, ...]:
    return (sys.executable, "-m", "tests.cluster", *arguments)


def test_down_after_up_restores_everything() -> None:
    before = trace()
    run(command("up", "--nodes", "1"), timeout=UP_SECONDS)
    assert trace() != before
    with pytest.raises(OpsError, match="one is up"):
        Cluster(1).up()
    run(command("down"), timeout=UP_SECONDS)
    assert trace() == before


@pytest.mark.parametrize("seconds", [1.0, 4.0, 12.0])
def test_down_after_a_killed_up_restores_everything(seconds: float, tmp_path: Path) -> None:
    before = trace()
    log = tmp_path / "up.log"
    pid = detach((ENV, "-C", str(REPOSITORY), *command("up")), log=log, env={})
    reason = until(lambda: "" if machine.containers() else f"no container: {log.read_text()}", UP_SECONDS)
    assert reason == ""
    time.sleep(seconds)
    os.kill(pid, signal.SIGKILL)
    run(command("down"), timeout=UP_SECONDS)
    assert trace() == before
