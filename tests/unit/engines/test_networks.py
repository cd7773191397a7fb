"""What the engine says of a project's networks."""

from __future__ import annotations

import json
from types import SimpleNamespace
from typing import Any, cast

from ops.engines.engine import Network
from ops.engines.podman.engine import PodmanEngine
from ops.engines.podman.host import Host


def test_networks_are_described_by_the_names_of_the_release() -> None:
    def run(argv: tuple[str, ...], **_: Any) -> SimpleNamespace:
        if argv[:3] == ("podman", "network", "inspect"):
            return SimpleNamespace(stdout=json.dumps([{"name": name, "internal": name == "cc03-data"} for name in argv[3:]]))
        return SimpleNamespace(stdout={"network=cc03-data": "one\ntwo\n", "network=cc03-web": ""}[argv[-1]])

    found = PodmanEngine(cast(Host, SimpleNamespace(run=run)), "cc03").networks(["web", "data"])

    assert found == {"web": Network(False, frozenset()), "data": Network(True, frozenset({"one", "two"}))}
