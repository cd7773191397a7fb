"""A machine of the cluster: a privileged container with containerd, kubelet, kube-proxy and kube-router."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from ops.core import files
from ops.core.process import Result, run
from tests.cluster import registry
from tests.cluster.build import HERE, Programs
from tests.cluster.control import SERVICES, ControlPlane
from tests.cluster.machine import LABEL, NAME, QUICK, STATE, podman

PODS = "10.251.0.0/16"
DNS = "10.252.0.10"
VOLUMES = {"containerd": "/var/lib/containerd", "kubelet": "/var/lib/kubelet", "volumes": "/var/lib/volumes"}
"""What a node keeps over a power cut."""
ON_NODES = ("kubelet", "kube-proxy")
"""Names under which a node finds the program of Kubernetes."""


class Node:
    """number: from 1 on."""

    def __init__(self, number: int) -> None:
        self.name = f"n{number}"
        self.container = f"{NAME}-{self.name}"
        self.address, self.pods = f"10.250.0.{10 + number}", f"10.251.{number}.0/24"
        self.folder = STATE / self.name
        """Of what its programs read."""

    def exec(self, *argv: str, timeout: float = QUICK, **options: Any) -> Result:
        return podman("exec", "--interactive", self.container, *argv, timeout=timeout, **options)

    def cut_power(self) -> None:
        """All of its processes end at once."""
        podman("kill", "--signal", "KILL", self.container)

    def power_on(self) -> None:
        podman("start", self.container)

    def unplug(self) -> None:
        """Its network cable is pulled: it runs on, and reaches nobody."""
        self._link("down")

    def plug(self) -> None:
        self._link("up")

    def _link(self, state: str) -> None:
        """At this machine's end: with the other end the node would lose its routes."""
        index = self.exec("cat", "/sys/class/net/eth0/iflink").stdout
        mine = next(path for path in Path("/sys/class/net").iterdir() if (path / "ifindex").read_text() == index)
        run(("ip", "link", "set", mine.name, state), timeout=QUICK)

    def containerd(self) -> str:
        """Why it does not answer; empty where it does."""
        answer = self.exec("ctr", "version", ok=None)
        return answer.last_words() if answer.returncode else ""

    def object(self) -> dict[str, Any]:
        """Made before its kubelet starts, which cannot choose the addresses of its pods."""
        return {"apiVersion": "v1", "kind": "Node", "metadata": {"name": self.name}, "spec": {"podCIDR": self.pods}}

    def configure(self, control: ControlPlane) -> None:
        for name, user in (("kubelet", self.name), ("kube-proxy", "kube-proxy"), ("kube-router", "kube-router")):
            content = (control.folder / f"{user}.kubeconfig").read_text()
            files.write(self.folder / f"{name}.kubeconfig", content, mode=0o600)
        files.write(self.folder / "kubelet.json", files.dump(self._kubelet()))
        files.write(self.folder / "cni.conflist", files.dump(self._cni()))
        files.write(self.folder / "containerd.toml", (HERE / "node" / "containerd.toml").read_text())
        registry.trust(self.folder / "registries", control.ca)

    def start(self, image: str, programs: Programs, others: Sequence[Node]) -> None:
        """Start it for the first time. others: of the same cluster."""
        values = {
            "NODE": self.name, "ADDRESS": self.address, "CGROUP": NAME, "PODS": PODS, "SERVICES": SERVICES,
            "ROUTES": "\n".join(f"{other.pods} {other.address}" for other in others),
        }  # fmt: skip
        mounts = [
            "/sys/fs/cgroup:/sys/fs/cgroup", f"{self.folder}:/etc/cluster:ro",
            f"{self.folder}/cni.conflist:/etc/cni/net.d/10-cluster.conflist:ro",
            f"{programs['kube-router']}:/usr/local/bin/kube-router:ro",
            *(f"{programs['kubernetes']}:/usr/local/bin/{name}:ro" for name in ON_NODES),
        ]  # fmt: skip
        for name, path in VOLUMES.items():
            podman("volume", "create", "--label", LABEL, f"{self.container}-{name}")
            mounts.append(f"{self.container}-{name}:{path}")
        podman(
            "run", "--detach", "--privileged", "--cgroupns=host", "--name", self.container, "--hostname", self.name,
            "--label", LABEL, "--network", NAME, "--ip", self.address, "--tmpfs", "/run:exec", "--tmpfs", "/tmp:exec",
            *(part for name, value in values.items() for part in ("--env", f"{name}={value}")),
            *(part for mount in mounts for part in ("--volume", mount)), image,
        )  # fmt: skip

    def remove(self) -> None:
        """With all that it has stored."""
        podman("rm", "--force", "--time", "0", self.container)
        podman("volume", "rm", *(f"{self.container}-{name}" for name in VOLUMES))

    def _kubelet(self) -> dict[str, Any]:
        """Settings of a kubelet on cgroups v1, in a container, beside others on the same disk."""
        return {
            "apiVersion": "kubelet.config.k8s.io/v1beta1", "kind": "KubeletConfiguration",
            "cgroupDriver": "cgroupfs", "cgroupRoot": f"/{NAME}/{self.name}", "failCgroupV1": False, "failSwapOn": False,
            "maxOpenFiles": 16384, "containerRuntimeEndpoint": "unix:///run/containerd/containerd.sock",
            "clusterDNS": [DNS], "clusterDomain": "cluster.local", "resolvConf": "/etc/resolv.conf",
            "authentication": {"anonymous": {"enabled": True}, "webhook": {"enabled": False}},
            "authorization": {"mode": "AlwaysAllow"}, "readOnlyPort": 0,
            # The disk is the machine's: how full it is says nothing about the cluster.
            "evictionHard": {"memory.available": "100Mi", "nodefs.available": "1%", "imagefs.available": "1%"},
            "imageGCHighThresholdPercent": 100, "imageGCLowThresholdPercent": 99,
        }  # fmt: skip

    def _cni(self) -> dict[str, Any]:
        """The network of its pods: a cable from each to the node, which routes. Pods on a bridge would reach each other past
        the rules of iptables, which make Services and NetworkPolicies."""
        addresses = {"type": "host-local", "ranges": [[{"subnet": self.pods}]], "routes": [{"dst": "0.0.0.0/0"}]}
        cable = {"type": "ptp", "ipMasq": False, "ipam": addresses}
        ports = {"type": "portmap", "capabilities": {"portMappings": True}}
        return {"cniVersion": "1.0.0", "name": "cluster", "plugins": [cable, ports]}
