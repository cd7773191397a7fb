"""Ways in which a service fails. Each is a context: the fault is there within the block, and ends with it at the latest.

What can heal by itself (a container that is stopped or frozen) is left to the health supervisor; what cannot (a cut network, a
full disk) ends with the block.
"""

from __future__ import annotations

import os
import signal
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, ExitStack, contextmanager, suppress
from pathlib import Path

from ops.core.lock import hold
from ops.core.process import run
from ops.engines.podman.observe import mountpoints
from ops.stack.render import volume_name
from tests.drill.disk import Disk, disk_of_its_own
from tests.drill.stack import Drill

Fault = Callable[[Drill, str], AbstractContextManager[None]]
"""Given the project and a slot."""
STOP_SECONDS = 10
SLOW_CPUS = "0.01"
CUT = (
    """table inet cut {
  chain input { type filter hook input priority -300; policy drop; iif lo accept; }
  chain output { type filter hook output priority -300; policy drop; oif lo accept; }
}
""".replace("; ", "\n")
    .replace("{ type", "{\n type")
    .replace("accept; }", "accept\n}")
)
SPARE = 64 << 20
"""Bytes that a disk has left before it is filled."""
CGROUPS = Path("/sys/fs/cgroup")


def processes(drill: Drill, slot: str) -> list[int]:
    """Of a container, those that its main process has started too."""
    for line in Path(f"/proc/{drill.pid(slot)}/cgroup").read_text().splitlines():
        _, controllers, path = line.split(":", 2)
        if controllers in ("pids", ""):
            folder = CGROUPS / (controllers or ".") / path.lstrip("/")
            if (folder / "cgroup.procs").exists():
                return [int(pid) for file in folder.rglob("cgroup.procs") for pid in file.read_text().split()]
    raise AssertionError(f"no cgroup of {slot}")


@contextmanager
def stopped(drill: Drill, slot: str) -> Iterator[None]:
    drill.project.host.run(("podman", "stop", "--time", str(STOP_SECONDS), drill.name(slot)), timeout=STOP_SECONDS + 30)
    yield


@contextmanager
def frozen(drill: Drill, slot: str) -> Iterator[None]:
    pids = processes(drill, slot)
    for pid in pids:
        with suppress(ProcessLookupError):
            os.kill(pid, signal.SIGSTOP)
    try:
        yield
    finally:
        with suppress(KeyError, OSError, AssertionError):
            for pid in set(pids) & set(processes(drill, slot)):
                os.kill(pid, signal.SIGCONT)


@contextmanager
def slow(drill: Drill, slot: str) -> Iterator[None]:
    """With a hundredth of a core."""
    cpus = str(drill.project.stack.service_of(slot).limits.cpus)

    def allow(amount: str) -> None:
        drill.project.host.run(("podman", "update", "--cpus", amount, drill.name(slot)), ok=None)

    allow(SLOW_CPUS)
    try:
        yield
    finally:
        allow(cpus)


@contextmanager
def cut(drill: Drill, slot: str) -> Iterator[None]:
    """Nothing passes between its network and others, and nobody is told: as when a cable is pulled."""
    namespace = Path(f"/proc/{drill.pid(slot)}/ns/net")
    with namespace.open() as kept:
        inside = ("nsenter", f"--net=/proc/{os.getpid()}/fd/{kept.fileno()}", "nft")
        run((*inside, "-f", "-"), stdin=CUT, timeout=10)
        try:
            yield
        finally:
            run((*inside, "delete", "table", "inet", "cut"), timeout=10, ok=None)


@contextmanager
def disconnected(drill: Drill, slot: str) -> Iterator[None]:
    """Every connection of every client of PostgreSQL ends, three times."""
    for _ in range(3):
        drill.psql(
            "SELECT count(pg_terminate_backend(pid)) FROM pg_stat_activity "
            "WHERE backend_type = 'client backend' AND pid <> pg_backend_pid()"
        )
    yield


VOLUMES = {
    "postgres": "postgres-data", "redis": "redis-data", "logs": "logs-data", "prometheus": "prometheus-data",
    "alertmanager": "alertmanager-data",
}  # fmt: skip


@contextmanager
def small_disks(drill: Drill, slots: tuple[str, ...]) -> Iterator[dict[str, Disk]]:
    """The data of each lies on a disk of its own within the block. The container is stopped for both changes."""
    project = drill.project
    folders = mountpoints(project.host)

    def run_all(verb: str) -> None:
        for slot in slots:
            project.host.run(("podman", *verb.split(), drill.name(slot)), timeout=120)

    with ExitStack() as disks:
        with hold(project.state.lock, "drill", patiently=True):
            run_all("stop --time 60")
            found = {
                slot: disks.enter_context(disk_of_its_own(folders[volume_name(project.name, VOLUMES[slot])], SPARE, keep=True))
                for slot in slots
            }
            run_all("start")
        drill.await_healthy()
        try:
            yield found
        finally:
            for disk in found.values():
                disk.empty()
            with hold(project.state.lock, "drill", patiently=True):
                run_all("stop --time 60")
                disks.close()
                run_all("start")
    drill.await_healthy()


def full(disks: dict[str, Disk]) -> Fault:
    @contextmanager
    def filled(drill: Drill, slot: str) -> Iterator[None]:
        disks[slot].fill()
        try:
            yield
        finally:
            disks[slot].empty()

    return filled
