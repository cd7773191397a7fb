"""One project on this host: its folder, and Podman run with the containers.conf that this host needs."""

from __future__ import annotations

import os
import re
import socket
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from ops.machine.run import Result, run
from ops.machine.state import State
from ops.plan.host import HostFacts

REPOSITORY = Path(__file__).resolve().parent.parent.parent
EVERYWHERE = "0.0.0.0"  # noqa: S104  (only asked about, never listened on for longer)
QUICK = 60.0
"""Seconds for commands that only ask or change one small thing."""


@dataclass(frozen=True)
class Host:
    """Everything that needs a path or a program of this machine goes through here."""

    project: str
    state: State
    repository: Path = REPOSITORY

    @property
    def environment(self) -> dict[str, str]:
        return {"CONTAINERS_CONF": str(self.state.containers_conf), "PODMAN_IGNORE_CGROUPSV1_WARNING": "1"}

    def run(
        self, argv: Sequence[str], *, timeout: float = QUICK, ok: Sequence[int] | None = (0,),
        stdin: str | None = None, log: Path | None = None, env: Mapping[str, str] | None = None,
    ) -> Result:  # fmt: skip
        """`machine.run.run` with this project's environment. podman-compose comes from the environment of this Python."""
        program = own_program(argv[0])
        environment = {**self.environment, **(env or {})}
        return run((program, *argv[1:]), timeout=timeout, ok=ok, stdin=stdin, log=log, env=environment)


def own_program(name: str) -> str:
    """A program of this virtual environment, wherever it is called from; others by their name."""
    beside = Path(sys.executable).parent / name
    return str(beside) if name == "podman-compose" and beside.exists() else name


def port_is_free(port: int, address: str = EVERYWHERE) -> bool:
    with socket.socket() as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind((address, port))
        except OSError:
            return False
    return True


def routed_subnets() -> tuple[str, ...]:
    """IPv4 destinations of the kernel's routing table, in CIDR form."""
    found = []
    for line in Path("/proc/net/route").read_text().splitlines()[1:]:
        fields = line.split()
        destination, mask = (bytes.fromhex(fields[index])[::-1] for index in (1, 7))
        bits = sum(byte.bit_count() for byte in mask)
        if bits:
            found.append(".".join(map(str, destination)) + f"/{bits}")
    return tuple(found)


def _capabilities() -> int:
    match = re.search(r"^CapEff:\s*([0-9a-f]+)", Path("/proc/self/status").read_text(), re.MULTILINE)
    return int(match[1], 16) if match else 0


def _hard_limit(name: str) -> int | None:
    for line in Path("/proc/self/limits").read_text().splitlines():
        if line.startswith(name):
            value = line.split()[-2]
            return None if value == "unlimited" else int(value)
    return None


def host_facts() -> HostFacts:
    """What decides how Podman must be configured here."""
    cgroup = Path("/sys/fs/cgroup")
    unified = (cgroup / "cgroup.controllers").exists()
    hybrid = (cgroup / "unified" / "cgroup.controllers").exists()
    return HostFacts(
        systemd=Path("/run/systemd/system").is_dir(),
        cgroups="v2" if unified else "hybrid" if hybrid else "v1",
        may_raise_limits=bool(_capabilities() >> 24 & 1),
        nofile=_hard_limit("Max open files"),
        nproc=_hard_limit("Max processes"),
        programs=frozenset(
            name for name in ("podman", "crun", "runc", "netavark", "mmdebstrap", "conmon", "nft", "iptables") if _found(name)
        ),
        root=os.geteuid() == 0,
    )


def _found(name: str) -> bool:
    folders = [*os.environ.get("PATH", "").split(":"), "/usr/lib/podman", "/usr/libexec/podman"]
    return any(os.access(Path(folder) / name, os.X_OK) for folder in folders if folder)
