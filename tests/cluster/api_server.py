"""A control plane without containers: etcd, the apiserver, controllers, the scheduler, and nodes that kwok simulates.

Its pods never run: kwok reports them as running.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any

from ops.core.errors import OpsError
from ops.core.process import alongside, until
from tests.cluster import build
from tests.cluster.client import Client
from tests.cluster.control import ADMIN, ControlPlane
from tests.drill.backup.servers import free_port

START_SECONDS = 120.0
MEMORY = "24Gi"


class Api:
    """folder: of its credentials and logs."""

    def __init__(self, folder: Path, nodes: int) -> None:
        self.folder = folder
        self.nodes = [f"n{number}" for number in range(1, nodes + 1)]
        etcd, peers, port = (free_port() for _ in range(3))
        self.control = ControlPlane(folder, "127.0.0.1", (), f"{folder}/etcd", etcd, peers, port)
        self.admin = self.client(ADMIN)

    def client(self, user: str) -> Client:
        """user: one of `control.USERS`."""
        return Client(self.folder / "bin" / "kubectl", self.folder / f"{user}.kubeconfig")


@contextmanager
def control_plane(folder: Path, nodes: int = 3) -> Iterator[Api]:
    """A control plane for the length of a block, on free ports of this host's loopback."""
    programs = build.built(build.API)
    api = Api(folder, nodes)
    api.control.prepare()
    (folder / "bin").mkdir()
    (folder / "bin" / "kubectl").symlink_to(programs["kubernetes"])
    kwok = ("kwok", f"--kubeconfig={folder}/{ADMIN}.kubeconfig", "--manage-all-nodes=true", "--node-lease-duration-seconds=40")
    with ExitStack() as running:
        for name, argv in {**api.control.programs(), "kwok": kwok}.items():
            program = folder / "bin" / name
            program.symlink_to(programs[name if name in build.API else "kubernetes"])
            running.enter_context(alongside((str(program), *argv[1:]), log=folder / f"{name}.log", env={}))
            if name == "kube-apiserver":
                _await(lambda: api.admin.refusal("get", "--raw=/readyz"), f"the apiserver is not ready: {folder}/{name}.log")
        api.admin.apply(*map(node, api.nodes))
        _await(lambda: api.admin.not_ready(api.nodes), f"nodes are not ready: {folder}/kwok.log")
        yield api


def _await(answer: Any, what: str) -> None:
    if reason := until(answer, START_SECONDS):
        raise OpsError(what, reason, "read that log")


def node(name: str) -> dict[str, Any]:
    """A node that kwok simulates."""
    size = {"cpu": "2", "memory": MEMORY, "pods": "110", "ephemeral-storage": "100Gi"}
    labels = {"kubernetes.io/hostname": name, "kubernetes.io/os": "linux", "kubernetes.io/arch": "amd64"}
    metadata = {"name": name, "labels": labels, "annotations": {"kwok.x-k8s.io/node": "fake"}}
    status = {"allocatable": size, "capacity": size}
    return {"apiVersion": "v1", "kind": "Node", "metadata": metadata, "status": status}
