"""Everything that a plan is decided from: what the engine says, and what features have kept on this host."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import replace
from typing import TYPE_CHECKING

from ops.stack.model import Seen

if TYPE_CHECKING:
    from ops.engines.podman.supervisor.health import Target
    from ops.project import Project


def observe(
    project: Project, targets: Iterable[Target] = (), images: Iterable[str] | None = (), *, with_health: bool = True
) -> Seen:  # fmt: skip
    """Observe a project on this host.

    targets: what health is asked of, where `with_health` says so. images: tags that are looked for; None: all of the stack's.
    """
    from ops.composition import KEPT

    seen = project.engine.observe(targets, images, with_health=with_health)
    kept = {name: read(project.state) for name, read in KEPT.items()}
    return replace(seen, **{**kept, "owners": {**seen.owners, **kept["owners"]}})
