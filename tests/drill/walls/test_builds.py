"""What a step of a build can reach and do: it runs code of packages that nobody here has read."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import pytest

from ops.engines.podman import argv as podman
from ops.engines.podman.images import network_for_builds
from ops.stack.model import EDGE
from tests.drill.stack import Drill

RAW = "perl -MSocket -e 'exit(socket(my $s, PF_INET, SOCK_RAW, 1) ? 0 : 1)'"
GET = "curl --silent --insecure --max-time 3 --output /dev/null"
TAG = "localhost/cc03/drill-builds"


def can(drill: Drill, folder: Path, moves: Mapping[str, str]) -> set[str]:
    """Which of these shell commands succeed as steps of a build of this host."""
    image = next(tag for image in drill.project.images.values() for _, tag in image.bases)
    steps = "\n".join(f'RUN if {move}; then echo "it can: {name}"; fi' for name, move in moves.items())
    (folder / "Containerfile").write_text(f"FROM {image}\n{steps}\n")
    host = drill.project.host
    argv = podman.image_build(folder, TAG, {}, None, network=network_for_builds(host, image))
    try:
        said = host.run((*argv[:-1], "--no-cache", argv[-1]), timeout=300).stdout
    finally:
        host.run(("podman", "rmi", TAG), ok=None)
    return {line.removeprefix("it can: ") for line in said.splitlines() if line.startswith("it can: ")}


@pytest.fixture
def edge_address(drill: Drill) -> str:
    networks = drill.containers()[EDGE]["NetworkSettings"]["Networks"]
    return str(networks[f"{drill.project.name}-web"]["IPAddress"])


def test_build_step_reaches_no_page_of_the_operator(drill: Drill, tmp_path: Path, edge_address: str) -> None:
    ops = drill.project.ports["ops"]

    assert can(drill, tmp_path, {
        "loopback": f"{GET} https://127.0.0.1:{ops}/",
        "nginx itself": f"{GET} --header 'Host: localhost:{ops}' https://{edge_address}:9443/",
        "packages": "apt-get update --quiet=2",
    }) == {"packages"}  # fmt: skip


def test_build_step_forges_no_packets_and_makes_no_devices(drill: Drill, tmp_path: Path) -> None:
    assert can(drill, tmp_path, {
        "raw socket": RAW,
        "device": "mknod /tmp/zero c 1 5",
        "mount": "mount -t tmpfs none /mnt",
        "package": "useradd --uid 12345 somebody",
    }) == {"package"}  # fmt: skip
