"""The same replacement by docker-compose over Podman's socket, under the same load, beside ours.

It is given the release's own compose file. Changed is what it cannot do with Podman 4.3:

- secrets of Podman: the same values as files, for the container's user alone, in a folder that is removed afterwards;
- `interval: disable`: 5 s, and the health check of each container is run by this bench until it succeeds;
- fixed hardware addresses: docker-compose 2.26 takes them for Docker's API 1.44 and later, Podman 4.3 speaks 1.41, and ignores
  the one address for the whole container that 1.41 has.

docker-compose 2 is not in Debian 12; Debian 13 has it (`--compose` names it, HOW_TO_INSTALL says how).
"""

from __future__ import annotations

import os
import shutil
import statistics
import tempfile
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import yaml

from ops.core.errors import OpsError
from ops.core.lock import hold
from ops.core.process import alongside, run, until
from ops.engines.podman.observe import run_healthcheck
from ops.project import Project
from ops.stack.model import LABEL_HASH
from ops.stack.render import container_name
from tests.bench import users
from tests.bench.figures import Figure
from tests.bench.releases import alternate, versions
from tests.bench.users import Cost
from tests.drill.clone import Load
from tests.drill.clone import load as at_work
from tests.drill.stack import Drill

PROGRAM = "docker-compose"
HOW_TO_INSTALL = (
    "docker-compose 2 is not installed; Debian 12 does not have it, and `mmdebstrap --variant=extract --include=docker-compose "
    "trixie FOLDER` unpacks that of Debian 13: --compose FOLDER/usr/libexec/docker/cli-plugins/docker-compose"
)
SERVICE = "backend"
PATIENCE = 120.0
STOP_SECONDS = 30


def program(chosen: Path | None) -> str:
    """docker-compose 2, the chosen one or that of the search path; empty where there is none."""
    path = str(chosen) if chosen else shutil.which(PROGRAM)
    if not path:
        return ""
    # Version 1 is another program of the same name, in Python.
    with suppress(OpsError):
        answer = run((path, "version", "--short"), timeout=30, ok=None)
        return path if answer.returncode == 0 and answer.stdout.strip().lstrip("v").startswith("2.") else ""
    return ""


def for_docker(compose: Mapping[str, Any], project: Project, folder: Path) -> dict[str, Any]:
    """A release's compose file as docker-compose can read it: its containers of the backend, and what they use.

    folder: receives the secrets.
    """
    owner = project.stack.services[SERVICE].owner
    services = {}
    for slot in project.stack.services[SERVICE].slots():
        service = {**compose["services"][slot]}
        service["healthcheck"] = {**service["healthcheck"], "interval": "5s"}
        # Should this be broken off, inv deploy must not take them for its own.
        service["labels"] = {**service["labels"], LABEL_HASH: "made by docker-compose"}
        service["networks"] = {
            name: {key: value for key, value in attachment.items() if key != "mac_address"}
            for name, attachment in service["networks"].items()
        }
        services[slot] = service
    used = {entry["source"] for service in services.values() for entry in service["secrets"]}
    for name in used:
        secret, _, version = name.removeprefix(f"{project.name}-").rpartition("-")
        copy = folder / name
        descriptor = os.open(copy, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o400)
        with os.fdopen(descriptor, "wb") as file:
            os.fchown(descriptor, owner, owner)
            file.write((project.state.secrets / secret / version).read_bytes())
    networks = {name for service in services.values() for name in service["networks"]}
    return {
        "services": services,
        "networks": {name: compose["networks"][name] for name in networks},
        "secrets": {name: {"file": str(folder / name)} for name in used},
    }


@dataclass(frozen=True)
class Docker:
    """docker-compose, on the backend's containers of a deployed project."""

    path: str
    project: Project
    socket: Path

    @property
    def own_name(self) -> str:
        """Its project: podman-compose labels ours with the real one, and docker-compose would take them for its own."""
        return f"{self.project.name}-compose"

    @property
    def slots(self) -> tuple[str, ...]:
        return self.project.stack.services[SERVICE].slots()

    def up(self, file: Path) -> None:
        """Until docker-compose has ended and every container is healthy. Raises OpsError where that takes too long."""
        argv = (self.path, "--project-name", self.own_name, "--file", str(file), "up", "--detach", *self.slots)
        run(argv, timeout=PATIENCE, env={"DOCKER_HOST": f"unix://{self.socket}"})
        check = run_healthcheck(self.project.host)

        def unhealthy() -> str:
            return "; ".join(filter(None, (check(container_name(self.project.name, slot)) for slot in self.slots)))

        if why := until(unhealthy, PATIENCE, longest_pause=0.3):
            raise OpsError("the backends that docker-compose made", why, f"podman logs {self.project.name}-{self.slots[0]}")

    def remove(self) -> None:
        """The containers of these names, and whatever docker-compose has left in the middle of a replacement."""
        host = self.project.host
        mine = ("podman", "ps", "--all", "--quiet", "--filter", f"label=com.docker.compose.project={self.own_name}")
        names = (*(container_name(self.project.name, slot) for slot in self.slots), *host.run(mine).stdout.split())
        host.run(("podman", "rm", "--force", "--ignore", "--time", str(STOP_SECONDS), *names), timeout=PATIENCE)


@contextmanager
def served(project: Project, log: Path) -> Iterator[Path]:
    """Podman's socket for Docker's clients, while the block runs."""
    socket = log.parent / "podman.sock"
    argv = ("podman", "system", "service", "--time=0", f"unix://{socket}")
    # Where there is no systemd, Podman 4.3 would refuse to start a container with an interval; its checks are run here anyway.
    environment = {**project.host.environment, "DISABLE_HC_SYSTEMD": "true"}
    with alongside(argv, log=log, env=environment) as ended:
        if why := until(lambda: "" if socket.exists() or ended() is not None else "no socket yet", 15.0):
            raise OpsError("podman system service", why, f"read {log}")
        yield socket


def rendered(project: Project) -> dict[str, Any]:
    return dict(yaml.safe_load((project.state.current / "compose.yaml").read_text(encoding="utf-8")))


SETTLE_SECONDS = 35.0
"""After the hand-over: a neighbour keeps the hardware address of the container before for up to half a minute."""


def compose(path: str, rounds: int, rate: int) -> Iterator[Figure]:
    """Needs a live stack; leaves it deployed by ours."""
    stack = Drill()
    with versions() as (old, new, root), tempfile.TemporaryDirectory(prefix="cc03-bench-secrets-") as private:
        project = stack.project

        def for_theirs(name: str) -> Path:
            file = root / f"{name}.yaml"
            file.write_text(yaml.safe_dump(for_docker(rendered(project), project, Path(private))))
            return file

        files = [for_theirs("old")]
        folders = (root / "ours", root / "theirs")
        for folder in folders:
            folder.mkdir()
        with at_work(stack, folders[0], rate) as our_users:
            ours = alternate(our_users, (new.deploy,), 1)
            files.append(for_theirs("new"))
            ours += alternate(our_users, (old.deploy, new.deploy), rounds - 1)
        yield from told("inv deploy", our_users, ours)
        # The health ticker stands aside while the lock is held: nobody else touches the containers.
        with hold(project.state.lock, "bench", patiently=True), served(project, root / "podman.log") as socket:
            docker = Docker(path, project, socket)
            try:
                set_credential(docker, stack, files[0])
                with at_work(stack, folders[1], rate) as their_users:
                    orders = [partial(docker.up, file) for file in reversed(files)]
                    theirs = alternate(their_users, orders, rounds)
            finally:
                docker.remove()
        yield from told("docker-compose", their_users, theirs)


def set_credential(docker: Docker, stack: Drill, file: Path) -> None:
    """The backend's containers, made by ours until now, are made by docker-compose. Nobody is at work meanwhile."""
    docker.remove()
    docker.up(file)
    if why := until(stack.unhealthy, PATIENCE):
        raise OpsError("the stack with docker-compose's backends", why, "inv status")
    time.sleep(SETTLE_SECONDS)


def told(who: str, load: Load, costs: Sequence[Cost]) -> Iterator[Figure]:
    """To be asked once the load has ended."""
    lost = users.failed(load)
    late = sum(cost.after_failed for cost in costs)
    when = f"{late} of them after both were healthy" if lost else ""
    counted = f"of {len(load.samples):,}, replaced {len(costs)} times"
    took, before, during = zip(*((cost.seconds, cost.before_ms, cost.during_ms) for cost in costs), strict=True)
    yield Figure(f"{who}: until both new backends are healthy", statistics.median(took), "s", note=users.told(took))
    yield Figure(f"{who}: failed requests", len(lost), "", note="; ".join(filter(None, (counted, when, users.kinds_of(lost)))))
    yield Figure(f"{who}: p99 before", statistics.median(before), "ms", note=users.told(before, "ms"))
    yield Figure(
        f"{who}: p99 during", statistics.median(during), "ms", note=f"of answered requests; {users.told(during, 'ms')}"
    )
    yield Figure(f"{who}: load average", users.load_average(), "")
