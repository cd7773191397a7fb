"""A Kubernetes cluster on this machine, for tests: each node and each program of the control plane is a container.

`python -m tests.cluster up` makes one, `down` removes it and everything that it changed. One at a time.
"""

from __future__ import annotations

import tempfile
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from functools import cached_property
from pathlib import Path

from ops.core import files
from ops.core.errors import OpsError
from ops.core.machine import now
from ops.core.process import account, until
from ops.project import open_project
from tests.cluster import build, machine, registry
from tests.cluster.build import HERE, NODES, Programs
from tests.cluster.client import Client
from tests.cluster.control import ADMIN, CONTROL, ControlPlane
from tests.cluster.machine import LABEL, NAME, STATE, podman
from tests.cluster.node import Node

MACHINES = "10.250.0.0/24"
API_SECONDS, NODE_SECONDS, PODS_SECONDS, IMPORT_SECONDS, DRAIN_SECONDS = 120.0, 120.0, 180.0, 600.0, 180.0
OBJECTS = ("kube-router", "coredns", "storage")
DEPLOYMENTS = (("kube-system", "coredns"), ("local-path-storage", "local-path-provisioner"))
RECORD = STATE / "cluster.json"


class Cluster:
    """The cluster that is up, or is to be.

    nodes: how many machines.
    """

    def __init__(self, nodes: int = 1) -> None:
        self.nodes = [Node(number) for number in range(1, nodes + 1)]
        self.control = ControlPlane(STATE / "control", CONTROL, tuple(node.name for node in self.nodes))
        self.kubeconfig = STATE / "kubeconfig"
        self.admin = Client(STATE / "kubectl", self.kubeconfig)

    @classmethod
    def found(cls) -> Cluster:
        """The one that is up. Raises OpsError where there is none."""
        known = files.read_json(RECORD)
        if not known:
            raise OpsError("no cluster is up", f"there is no {RECORD}", "python -m tests.cluster up")
        return cls(int(known["nodes"]))

    def client(self, user: str) -> Client:
        """user: one of `control.USERS`."""
        return Client(self.admin.program, self.control.folder / f"{user}.kubeconfig")

    @cached_property
    def programs(self) -> Programs:
        return build.built(NODES)

    @cached_property
    def image(self) -> str:
        """Of a node."""
        return build.node_image(dict(open_project().images["postgres"].bases)["bookworm"])

    @cached_property
    def images(self) -> list[str]:
        """Of what runs in pods of the cluster's own."""
        return build.program_images(self.programs)

    def up(self, *, keep: bool = False) -> None:
        """Make the cluster, and wait until all that it consists of is ready.

        keep: whether one that does not become ready stays, to be looked at.
        """
        with machine.alone("python -m tests.cluster up"):
            if machine.containers():
                known = files.read_json(RECORD) or {}
                since = f"by {known.get('by', '?')}, since {known.get('since', '?')}"
                raise OpsError("cannot make a cluster", f"one is up: {since}", "python -m tests.cluster down")
            _ = self.programs, self.image, self.images
            machine.clear()
            machine.record()
            files.write(RECORD, files.dump({"nodes": len(self.nodes), "by": account(), "since": now()}))
            try:
                self._make()
            except BaseException:
                if not keep:
                    machine.clear()
                raise

    def _make(self) -> None:
        podman("network", "create", "--disable-dns", "--subnet", MACHINES, "--label", LABEL, NAME)
        self._start_control()
        registry.start(self.image, self.control)
        self.admin.apply(*(node.object() for node in self.nodes))
        for node in self.nodes:
            self._start(node)
        self.load(*self.images)
        self.admin.run("apply", "--filename", ",".join(str(HERE / "objects" / f"{name}.yaml") for name in OBJECTS))
        self.await_nodes()
        for namespace, name in DEPLOYMENTS:
            self.admin.await_rollout(namespace, f"deployment/{name}", PODS_SECONDS)

    @staticmethod
    def down() -> None:
        with machine.alone("python -m tests.cluster down"):
            machine.clear()

    def _start_control(self) -> None:
        folder = self.control.folder
        self.control.prepare()
        self.admin.program.symlink_to(self.programs["kubernetes"])
        files.write(self.kubeconfig, (folder / f"{ADMIN}.kubeconfig").read_text(), mode=0o600)
        first = ""
        for program, argv in self.control.programs().items():
            binary = self.programs["etcd" if program == "etcd" else "kubernetes"]
            name = f"{NAME}-{program}"
            podman(
                "run", "--detach", "--name", name, "--label", LABEL, "--entrypoint", program,
                *(("--network", f"container:{first}") if first else ("--network", NAME, "--ip", CONTROL)),
                "--volume", f"{binary}:/usr/local/bin/{program}:ro", "--volume", f"{folder}:{folder}:ro", self.image, *argv[1:],
            )  # fmt: skip
            first = first or name
            if program == "kube-apiserver":
                _await(lambda: self.admin.refusal("get", "--raw=/readyz"), API_SECONDS, "the apiserver is not ready", name)

    def _start(self, node: Node) -> None:
        files.make_folder(node.folder, mode=0o700)
        node.configure(self.control)
        node.start(self.image, self.programs, [other for other in self.nodes if other is not node])

    def load(self, *images: str, on: Sequence[Node] = ()) -> None:
        """Put images of this machine on nodes; on all of them, if none are named."""
        with tempfile.TemporaryDirectory(dir="/var/tmp", prefix=f"{NAME}-") as folder:
            archive = Path(folder) / "images.tar"
            save = ("save", "--quiet", "--multi-image-archive", "--format", "docker-archive", "--output", str(archive))
            podman(*save, *images, timeout=IMPORT_SECONDS)
            for node in on or self.nodes:
                _await(node.containerd, NODE_SECONDS, f"containerd of {node.name} does not answer", node.container)
                node.exec("ctr", "-n", "k8s.io", "images", "import", "-", source=archive, timeout=IMPORT_SECONDS)

    def drain(self, node: Node, seconds: float = DRAIN_SECONDS) -> None:
        """Evict all pods of a node, within the limits of their disruption budgets."""
        flags = ("--ignore-daemonsets", "--delete-emptydir-data", f"--timeout={seconds:.0f}s")
        self.admin.run("drain", node.name, *flags, timeout=seconds + 10)

    def uncordon(self, node: Node) -> None:
        self.admin.run("uncordon", node.name)

    def replace(self, node: Node) -> None:
        """Have a new, empty machine take the place of a node."""
        node.remove()
        self._start(node)
        self.load(*self.images, on=[node])

    def await_nodes(self, seconds: float = NODE_SECONDS) -> None:
        names = [node.name for node in self.nodes]
        _await(lambda: self.admin.not_ready(names), seconds, "nodes are not ready", self.nodes[0].container)


def _await(answer: Callable[[], str], seconds: float, what: str, container: str) -> None:
    if reason := until(answer, seconds):
        log = podman("logs", "--tail", "5", container, ok=None)
        said = (log.stdout + log.stderr).splitlines()
        raise OpsError(f"{what} after {seconds:.0f} s", reason, f"podman logs {container}; python -m tests.cluster down", said)


@contextmanager
def cluster(nodes: int) -> Iterator[Cluster]:
    """A cluster for the length of a block."""
    made = Cluster(nodes)
    made.up()
    try:
        yield made
    finally:
        made.down()
