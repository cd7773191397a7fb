"""How the programs of a control plane are started, in containers or as processes of this host."""

from __future__ import annotations

import json
from base64 import b64encode
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from secrets import token_hex
from typing import Any

from ops.certificates import pki

SERVICES = "10.252.0.0/16"
CONTROL = "10.250.0.2"
"""Address of the control plane in a cluster; where there are no nodes, nobody asks for it."""
REGISTRY = "10.250.0.3"
FIRST_SERVICE = "10.252.0.1"
"""Address of the apiserver as pods see it."""
ADMIN = "admin"
USERS = {
    ADMIN: ("system:admin", "system:masters"),
    "controller-manager": ("system:kube-controller-manager", ""),
    "scheduler": ("system:kube-scheduler", ""),
    "kube-proxy": ("system:kube-proxy", ""),
    "kube-router": ("system:kube-router", ""),
    "operator": ("operator", ""),
    "colleague": ("colleague", ""),
}
"""Client -> its user and group. `operator` and `colleague` have no rights until a test grants some."""


@dataclass(frozen=True)
class ControlPlane:
    """folder: of its certificates and credentials, at the same path for its programs. address: of the apiserver.
    nodes: their names. data: folder of etcd. etcd, peers, port: those of etcd's clients, of its peers, and of the apiserver."""

    folder: Path
    address: str
    nodes: tuple[str, ...] = ()
    data: str = "/var/lib/etcd"
    etcd: int = 2379
    peers: int = 2380
    port: int = 6443

    @property
    def url(self) -> str:
        return f"https://{self.address}:{self.port}"

    def prepare(self) -> None:
        """Make the certificate authority, the apiserver's certificate, and a token and a kubeconfig for each client."""
        self.folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        now = datetime.now(UTC)
        root = pki.make_root("cluster", now)
        signer = pki.make_intermediate(root, "cluster", now)
        internal = ("kubernetes", "kubernetes.default", "kubernetes.default.svc", "kubernetes.default.svc.cluster.local")
        server = pki.issue(signer, "kube-apiserver", [self.address, FIRST_SERVICE, "localhost", *internal], now)
        accounts = pki.issue(signer, "service-accounts", ["localhost"], now)
        files = {
            "ca.pem": root.certificate, "ca.key": root.key, "signer.pem": signer.certificate, "signer.key": signer.key,
            "server.pem": server.certificate + signer.certificate, "server.key": server.key,
            "accounts.pem": accounts.certificate, "accounts.key": accounts.key,
        }  # fmt: skip
        users = {**USERS, **{name: (f"system:node:{name}", "system:nodes") for name in self.nodes}}
        tokens = {name: token_hex(16) for name in users}
        rows = (f'{tokens[name]},{user},{user},"{group}"\n' for name, (user, group) in users.items())
        files["tokens.csv"] = "".join(rows).encode()
        for name in users:
            files[f"{name}.kubeconfig"] = json.dumps(self.kubeconfig(tokens[name], root.certificate.decode())).encode()
        for name, content in files.items():
            (self.folder / name).write_bytes(content)
            (self.folder / name).chmod(0o600)

    @property
    def ca(self) -> bytes:
        return (self.folder / "ca.pem").read_bytes()

    def certificate(self, name: str, address: str) -> pki.Signed:
        """Of one more server; its chain and its key."""
        signer = pki.Signed((self.folder / "signer.pem").read_bytes(), (self.folder / "signer.key").read_bytes())
        leaf = pki.issue(signer, name, [address], datetime.now(UTC))
        return pki.Signed(leaf.certificate + signer.certificate, leaf.key)

    def kubeconfig(self, token: str, ca: str) -> Mapping[str, Any]:
        """JSON is YAML."""
        cluster = {"server": self.url, "certificate-authority-data": b64encode(ca.encode()).decode()}
        return {
            "apiVersion": "v1", "kind": "Config", "current-context": "cluster",
            "clusters": [{"name": "cluster", "cluster": cluster}],
            "users": [{"name": "user", "user": {"token": token}}],
            "contexts": [{"name": "cluster", "context": {"cluster": "cluster", "user": "user"}}],
        }  # fmt: skip

    def programs(self) -> dict[str, tuple[str, ...]]:
        """Program -> its arguments, in the order of their start."""
        folder = self.folder
        return {
            "etcd": (
                "etcd", f"--data-dir={self.data}", "--unsafe-no-fsync",
                f"--listen-client-urls=http://127.0.0.1:{self.etcd}", f"--advertise-client-urls=http://127.0.0.1:{self.etcd}",
                f"--listen-peer-urls=http://127.0.0.1:{self.peers}", "--log-level=warn",
                f"--initial-advertise-peer-urls=http://127.0.0.1:{self.peers}",
                f"--initial-cluster=default=http://127.0.0.1:{self.peers}",
            ),
            "kube-apiserver": (
                "kube-apiserver", f"--etcd-servers=http://127.0.0.1:{self.etcd}", f"--secure-port={self.port}",
                f"--advertise-address={CONTROL}", f"--bind-address={self.address}",
                f"--tls-cert-file={folder}/server.pem", f"--tls-private-key-file={folder}/server.key",
                f"--token-auth-file={folder}/tokens.csv", "--authorization-mode=Node,RBAC",
                "--service-account-issuer=https://kubernetes.default.svc",
                f"--service-account-key-file={folder}/accounts.pem",
                f"--service-account-signing-key-file={folder}/accounts.key",
                f"--service-cluster-ip-range={SERVICES}", "--enable-admission-plugins=NodeRestriction", "--allow-privileged",
                "--kubelet-preferred-address-types=InternalIP",
            ),
            "kube-controller-manager": (
                "kube-controller-manager", f"--kubeconfig={folder}/controller-manager.kubeconfig", "--secure-port=0",
                f"--service-account-private-key-file={folder}/accounts.key", f"--root-ca-file={folder}/ca.pem",
                "--use-service-account-credentials", "--leader-elect=false",
            ),
            "kube-scheduler": (
                "kube-scheduler", f"--kubeconfig={folder}/scheduler.kubeconfig", "--secure-port=0", "--leader-elect=false",
            ),
        }  # fmt: skip
