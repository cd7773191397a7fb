"""What a cluster takes of this machine, and its return: containers, volumes, the network, cgroups and kernel parameters."""

from __future__ import annotations

import fcntl
import json
import os
import shutil
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

from ops.core.errors import OpsError
from ops.core.files import read_json
from ops.core.machine import host_facts
from ops.core.process import Result, run, until
from ops.engines.podman.host import containers_conf

NAME = "cc03-cluster"
IMAGES = f"localhost/{NAME}"
LABEL = f"{NAME}=1"
STATE = Path("/run") / NAME
"""Of the cluster that is up; the kubeconfig of its administrator is in it."""
LOCK = Path("/run") / f"{NAME}.lock"
KEPT = STATE / "sysctls.json"
SYSCTLS = ("vm.overcommit_memory", "kernel.panic", "kernel.panic_on_oops")
"""What a kubelet sets for the whole machine."""
CGROUPS = Path("/sys/fs/cgroup")
QUICK = 60.0
REMOVAL_SECONDS = 180.0


def podman(*argv: str, timeout: float = QUICK, ok: tuple[int, ...] | None = (0,), **options: Any) -> Result:
    """Podman as this machine needs it configured, whatever project there is."""
    conf = STATE / "containers.conf"
    if not conf.exists():
        STATE.mkdir(mode=0o700, exist_ok=True)
        conf.write_text(containers_conf(host_facts()))
    env = {"CONTAINERS_CONF": str(conf), "PODMAN_IGNORE_CGROUPSV1_WARNING": "1"}
    return run(("podman", *argv), timeout=timeout, ok=ok, env=env, **options)


@contextmanager
def alone(verb: str) -> Iterator[None]:
    """One change at a time of the one cluster. Raises OpsError, naming who is at it, where another one is in progress."""
    with LOCK.open("a+") as file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError as problem:
            file.seek(0)
            raise OpsError(
                f"cannot run `{verb}`", f"another change is in progress: {file.read()}", "wait for its end"
            ) from problem
        file.truncate(0)
        file.write(f"`{verb}`, process {os.getpid()}")
        file.flush()
        yield


def containers() -> list[str]:
    """Names of the cluster's containers."""
    return podman("ps", "--all", "--filter", f"label={LABEL}", "--format", "{{.Names}}").stdout.split()


def record() -> None:
    """Keep the kernel parameters as they are before a cluster changes them."""
    STATE.mkdir(mode=0o700, exist_ok=True)
    if not KEPT.exists():
        KEPT.write_text(json.dumps({name: _parameter(name).read_text().strip() for name in SYSCTLS}))


def clear() -> None:
    """Remove every trace of a cluster, also of one whose start or removal was broken off."""
    if found := containers():
        podman("rm", "--force", "--depend", "--ignore", "--time", "0", "--volumes", *found, timeout=REMOVAL_SECONDS)
    if volumes := podman("volume", "ls", "--quiet", "--filter", f"label={LABEL}").stdout.split():
        podman("volume", "rm", "--force", *volumes, timeout=REMOVAL_SECONDS)
    if podman("network", "exists", NAME, ok=None).returncode == 0:
        podman("network", "rm", "--force", NAME)
    reason = until(_cgroups_left, QUICK)
    assert not reason, reason
    for name, value in (read_json(KEPT) or {}).items():
        if _parameter(name).read_text().strip() != value:
            _parameter(name).write_text(value)
    shutil.rmtree(STATE, ignore_errors=True)


def _parameter(name: str) -> Path:
    return Path("/proc/sys") / name.replace(".", "/")


def _cgroups_left() -> str:
    """Remove the cgroups of pods; the first one that stays."""
    for top in sorted(CGROUPS.glob(f"*/{NAME}")):
        for folder in sorted((path for path in top.rglob("*") if path.is_dir()), reverse=True):
            with suppress(OSError):
                folder.rmdir()
        with suppress(OSError):
            top.rmdir()
        if top.exists():
            return f"{top} is still in use"
    return ""
