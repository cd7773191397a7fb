"""The backend's own tests, by the Python and the libraries that are deployed."""

from __future__ import annotations

from pathlib import Path

import pytest

from ops.core.files import host_ca_bundle
from ops.core.machine import REPOSITORY
from ops.engines.engine import OneOff
from ops.engines.podman import argv as podman
from ops.engines.podman.images import network_for_builds
from ops.stack.images import REGISTRY

from .deployed import Deployed

SECONDS = 600.0


def test_backend_passes_its_own_tests(deployed: Deployed) -> None:
    image = deployed.project.images["backend"]
    if " AS test\n" not in (Path(image.context) / "Containerfile").read_text():
        pytest.skip("the application that took its place has no stage `test` (docs/how-to/replace-the-application.md)")
    tag = f"{REGISTRY}/backend-tests:{image.tag.rpartition(':')[2]}"
    host, args = deployed.project.host, dict(image.build_args)
    network = network_for_builds(host, next(iter(args.values()), ""))
    argv = podman.image_build(Path(image.context), tag, args, host_ca_bundle(), target="test", network=network)
    answer = host.run(argv, timeout=SECONDS, ok=None)
    assert answer.returncode == 0, answer.stdout[-8000:]


def test_types_of_the_frontend_are_made_from_this_api(deployed: Deployed) -> None:
    own = [deployed.project.images[name].context == str(REPOSITORY / "compose" / name) for name in ("backend", "frontend")]
    if not all(own):
        pytest.skip("the application that took its place describes itself, or not")
    user = str(deployed.project.stack.services["backend"].definition["user"])
    document = deployed.project.engine.run(
        OneOff(deployed.image("backend"), ("python3", "-m", "app.document"), user=user), timeout=SECONDS
    ).stdout

    assert document == (REPOSITORY / "compose" / "frontend" / "openapi.json").read_text(), (
        "podman run --rm --entrypoint python3 IMAGE-OF-BACKEND -m app.document > compose/frontend/openapi.json; "
        "then npm run types in compose/frontend"
    )
