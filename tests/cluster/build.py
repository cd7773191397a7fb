"""The programs of the test bed, built from their Go modules, and the images made of them.

Each program is kept in the user's cache folder under the hash of its module: go.mod and go.sum pin all that goes into it.
"""

from __future__ import annotations

import os
import shutil
import tempfile
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

from ops.core.process import run
from ops.stack.checkout import files_of
from ops.stack.images import content_hash
from tests.cluster.machine import IMAGES, podman

HERE = Path(__file__).parent
MODULES = HERE / "programs"
CACHE = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "cc03" / "cluster"
BUILD_SECONDS = 3600.0
IMAGE_SECONDS = 900.0
KUBERNETES = "1.36.3"
_VERSION = "k8s.io/component-base/version"
_FLAGS = {
    "kubernetes": "".join(
        f" -X {_VERSION}.{name}={value}"
        for name, value in (("gitVersion", f"v{KUBERNETES}"), ("gitMajor", "1"), ("gitMinor", "36"), ("gitTreeState", "clean"))
    )
}
OWN = ("kubernetes", "pause")
"""Modules with a main package of their own; the others name a program as their tool."""
API = ("etcd", "kubernetes", "kwok")
"""What a control plane without nodes needs."""
NODES = ("etcd", "kubernetes", "kube-router", "coredns", "local-path-provisioner", "pause")
IN_IMAGES = ("pause", "coredns", "local-path-provisioner")


@dataclass(frozen=True)
class Programs:
    """Name of a module -> its program."""

    paths: dict[str, Path]

    def __getitem__(self, name: str) -> Path:
        return self.paths[name]


def built(names: Iterable[str]) -> Programs:
    """These programs, built where they are not there yet: Kubernetes takes two cores about six minutes."""
    return Programs({name: _built(name) for name in names})


def _built(name: str) -> Path:
    module = MODULES / name
    folder = CACHE / f"{name}-{content_hash(files_of(module), _FLAGS.get(name, ''))}"
    program = folder / "program"
    if program.is_file():
        return program
    print(f"building {name} ...", flush=True)
    CACHE.mkdir(parents=True, exist_ok=True)
    package = "." if name in OWN else "tool"
    with tempfile.TemporaryDirectory(dir=CACHE, prefix=f".{name}-") as made:
        go = ("go", "-C", str(module), "build", "-trimpath", "-ldflags", f"-s -w{_FLAGS.get(name, '')}")
        run(
            (*go, "-o", f"{made}/program", package),
            timeout=BUILD_SECONDS,
            env={"CGO_ENABLED": "0", "GOFLAGS": "-buildvcs=false"},
        )
        Path(made).chmod(0o755)
        for old in CACHE.glob(f"{name}-????????????????"):
            shutil.rmtree(old)
        folder.mkdir()
        (Path(made) / "program").rename(program)
    return program


def node_image(base: str) -> str:
    """The image of a node. `base`: the base image of Debian 12."""
    context = HERE / "node"
    tag = f"{IMAGES}/node:{content_hash(files_of(context), base)}"
    if podman("image", "exists", tag, ok=None).returncode:
        print("building the image of a node ...", flush=True)
        argument = ("--build-arg", f"BASE_BOOKWORM={base}")
        podman(
            "build",
            "--quiet",
            "--pull=never",
            "--network",
            "host",
            *argument,
            "--tag",
            tag,
            str(context),
            timeout=IMAGE_SECONDS,
        )
    return tag


def program_images(programs: Programs) -> list[str]:
    """Images that hold one program each, for what runs in pods."""
    return [_program_image(name, programs[name]) for name in IN_IMAGES]


def _program_image(name: str, program: Path) -> str:
    tag = f"{IMAGES}/{name}:latest"
    file = ("--file", str(HERE / "Containerfile.program"))
    podman("build", "--quiet", "--pull=never", *file, "--tag", tag, str(program.parent), timeout=IMAGE_SECONDS)
    return tag
