"""Each seeded misconfiguration is found in what runs, by the control that is meant for it; the stack as it is has none."""

from __future__ import annotations

from pathlib import Path

import pytest

from ops.project import Project
from tests.drill.walls.conftest import audited, misconfigured, told, value_of
from tests.drill.walls.seeds import LEAKED, OVERLAYS, SOCKET, VICTIM, Overlay

RUNNING = [overlay for overlay in OVERLAYS if overlay.running]


@pytest.fixture
def moving_tag(project: Project, request: pytest.FixtureRequest) -> object:
    """Where a seed names another image, there is one of that name: the victim's own."""
    overlay: Overlay = request.getfixturevalue("overlay")
    image = str(overlay.change.get("image", ""))
    if not image:
        return None
    project.host.run(("podman", "tag", project.images[VICTIM].tag, f"localhost/{image}"))
    request.addfinalizer(lambda: project.host.run(("podman", "rmi", f"localhost/{image}"), ok=None))
    return None


@pytest.mark.parametrize("overlay", RUNNING, ids=lambda overlay: overlay.name)
def test_misconfigured_container_is_found(
    project: Project, overlay: Overlay, socket_of_the_host: Path, tmp_path: Path, moving_tag: object
) -> None:
    values = {LEAKED: value_of(project, "redis-app"), SOCKET: str(socket_of_the_host)}
    with misconfigured(project, overlay.change, values, tmp_path):
        report = audited(project)

    assert overlay.running in {control.number for control, _ in report.findings}, told(report)
