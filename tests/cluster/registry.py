"""The registry that nodes pull from: Debian's docker-registry, with a certificate of the cluster's authority."""

from __future__ import annotations

import re
from pathlib import Path

from ops.core import files
from ops.core.errors import OpsError
from ops.core.process import until
from tests.cluster.control import REGISTRY, ControlPlane
from tests.cluster.machine import LABEL, NAME, STATE, podman

ADDRESS = f"{REGISTRY}:5000"
FOLDER = STATE / "registry"
TRUST = STATE / "trust"
"""What Podman wants as --cert-dir: it takes every key in that folder for a client's."""
START_SECONDS, PUSH_SECONDS = 30.0, 300.0


def start(image: str, control: ControlPlane) -> None:
    """image: one that has docker-registry."""
    FOLDER.mkdir(mode=0o700)
    served = control.certificate("registry", REGISTRY)
    tls = {"certificate": f"{FOLDER}/server.pem", "key": f"{FOLDER}/server.key"}
    config = {
        "version": "0.1", "storage": {"filesystem": {"rootdirectory": "/var/lib/registry"}},
        "http": {"addr": ADDRESS, "tls": tls}, "log": {"level": "warn"},
    }  # fmt: skip
    content: dict[str, str | bytes] = {
        "server.pem": served.certificate,
        "server.key": served.key,
        "config.yml": files.dump(config),
    }
    files.make_folder(TRUST, mode=0o700)
    files.write(TRUST / "ca.crt", control.ca)
    for name, text in content.items():
        files.write(FOLDER / name, text, mode=0o600)
    podman(
        "run", "--detach", "--name", f"{NAME}-registry", "--label", LABEL, "--network", NAME, "--ip", REGISTRY,
        "--volume", f"{FOLDER}:{FOLDER}:ro", "--entrypoint", "docker-registry", image, "serve", f"{FOLDER}/config.yml",
    )  # fmt: skip


def trust(folder: Path, ca: bytes) -> None:
    """Have the containerd that reads this folder trust the registry."""
    files.make_folder(folder / ADDRESS, mode=0o700)
    files.write(folder / ADDRESS / "ca.crt", ca)
    hosts = f'server = "https://{ADDRESS}"\n[host."https://{ADDRESS}"]\n  ca = "/etc/cluster/registries/{ADDRESS}/ca.crt"\n'
    files.write(folder / ADDRESS / "hosts.toml", hosts)


def push(image: str) -> str:
    """Push an image of this machine; its reference in the registry, by digest."""
    digest = STATE / "digest"
    name = re.sub(r"^localhost/", "", image)

    def pushed() -> str:
        source = f"containers-storage:{image}"
        argv = ("push", "--quiet", "--cert-dir", str(TRUST), "--digestfile", str(digest), source, f"docker://{ADDRESS}/{name}")
        answer = podman(*argv, ok=None, timeout=PUSH_SECONDS)
        return answer.last_words() if answer.returncode else ""

    if reason := until(pushed, START_SECONDS):
        raise OpsError(f"cannot push {image}", reason, f"podman logs {NAME}-registry")
    return f"{ADDRESS}/{name.partition(':')[0]}@{digest.read_text().strip()}"
