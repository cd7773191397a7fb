"""Clean-up after a release has served: what no rollback needs goes, and nothing else."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable, Iterable

from ops.core.files import remove_clear
from ops.core.state import H2_FOLDER
from ops.project import Project
from ops.stack.images import REGISTRY
from ops.stack.release import Kept, expendable
from ops.store.releases import activations, config_current, current_number, releases


def clean_up(project: Project, retire: Callable[[Project], object]) -> list[int]:
    """Remove releases beyond those to keep, then the images and configuration that only they had, and former secrets.

    retire: removes former versions of secrets. Returns the numbers of the releases.
    Raises OpsError or OSError where something cannot be removed; what was removed until then is of no use to anybody.
    """
    state = project.state
    found = releases(state)
    gone = expendable(found, activations(state), current_number(state), project.settings.releases.keep)
    going = [kept for kept in found if kept.number in gone]
    for kept in going:
        shutil.rmtree(state.releases / str(kept.number))
    _remove_images(project, going)
    _remove_configuration(project, [kept for kept in found if kept.number not in gone])
    # It holds password hashes; a killed `inv keycloak.migrate-h2` has left it.
    remove_clear(state.root / H2_FOLDER)
    retire(project)
    return gone


def _remove_images(project: Project, gone: Iterable[Kept]) -> None:
    """Images of those releases that no other release of any project, no checkout's plan and no container needs."""
    candidates = {tag for kept in gone for tag in kept.manifest.get("images", {}).values() if tag.startswith(f"{REGISTRY}/")}
    if not candidates:
        return
    needed = needed_images(project)
    for tag in sorted(candidates - needed):
        # One that something has begun to use meanwhile is refused by the engine, and left.
        project.engine.remove_image(tag)


def needed_images(project: Project) -> set[str]:
    """Tags that the checkout, a kept release of any project on this host, or a container of anybody uses."""
    needed = {image.tag for image in project.images.values()}
    needed |= {tag for image in project.images.values() for _, tag in image.bases}
    for other in project.state.root.parent.glob("*/releases/*/release.json"):
        needed |= json_images(other.read_text())
    needed |= project.engine.used_images()
    return needed


def json_images(text: str) -> set[str]:
    """Tags that a release's manifest names."""
    try:
        return set(json.loads(text)["images"].values())
    except (ValueError, KeyError):
        return set()


def _remove_configuration(project: Project, kept: Iterable[Kept]) -> None:
    needed = {(name, version) for one in kept for name, version in one.manifest.get("config", {}).items()}
    needed |= set(config_current(project.state).items())
    for folder in project.state.config.iterdir():
        for version in folder.iterdir():
            if version.is_dir() and not version.is_symlink() and (folder.name, version.name) not in needed:
                shutil.rmtree(version)
