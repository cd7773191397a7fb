"""The folder of an application: written anew, and taken in the place of the reference."""

from __future__ import annotations

import shutil
from dataclasses import replace
from pathlib import Path

from ops.core.errors import UsageProblem
from ops.core.machine import REPOSITORY
from ops.project import Project

STARTER = REPOSITORY / "ops" / "application" / "starter"


def with_application(project: Project, part: str, folder: str) -> Project:
    """The same project with another folder for its backend or frontend. Raises UsageProblem where there is no Containerfile."""
    path = Path(folder).resolve()
    if not (path / "Containerfile").is_file():
        raise UsageProblem(
            f"{folder} is no application", f"there is no Containerfile in {path}", f"inv app.new {folder} writes a small one"
        )
    build = project.settings.build.model_copy(update={part: str(path)})
    return replace(project, settings=project.settings.model_copy(update={"build": build}))


def write_starter(folder: str) -> tuple[str, ...]:
    """Write the smallest application; returns what to type next, a line each.

    Raises UsageProblem where something is there already.
    """
    path = Path(folder)
    if path.exists() and (not path.is_dir() or any(path.iterdir())):
        raise UsageProblem(f"{folder} is not empty", "nothing in it is written over", "name a folder that is new or empty")
    path.mkdir(parents=True, exist_ok=True)
    names = sorted(source.name for source in STARTER.iterdir() if source.is_file())
    for name in names:
        shutil.copy(STARTER / name, path / name)
    return (
        f"wrote {', '.join(names)} in {folder}",
        f"inv app.check {folder}    tries it against the contract",
        f"config/stack.yaml: build: {{backend: {path.resolve()}}}, then inv deploy",
    )
