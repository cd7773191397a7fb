"""inv app.check, app.new: an application of your own in place of the reference backend or frontend."""

from __future__ import annotations

import contextlib
import shutil
import sys
from pathlib import Path
from typing import TYPE_CHECKING

from invoke import Context

from ops.cli.command import print_json, verb
from ops.cli.execute import Operation, execute, planned
from ops.core.errors import UsageProblem

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from ops.project import Project
    from ops.stack.contract import Found

_MARK = {"ok": "[green]ok[/green]", "failed": "[bold red]failed[/bold red]", "absent": "[dim]absent[/dim]",
         "not tried": "[yellow]not tried[/yellow]"}  # fmt: skip


@verb(positional=["folder"], help={
    "folder": "the application: a folder with a Containerfile", "frontend": "try it as the frontend; otherwise as the backend",
    "json": "print the rows for other programs",
})  # fmt: skip
def check(c: Context, folder: str, frontend: bool = False, json: bool = False) -> None:
    """Try an application against the contract, row by row.

    In containers of its own, which are removed; the running stack is left alone. Exit code 1 where a row fails.
    """
    from ops.application.stage import stage
    from ops.application.trials import try_rows
    from ops.cli import show
    from ops.core.errors import OpsError
    from ops.project import open_project
    from ops.stack.contract import BACKEND, FRONTEND, PAGE

    part = FRONTEND if frontend else BACKEND
    project = with_application(open_project(secrets_needed=False), part, folder)
    _build(project, part)
    with show.err.status(f"{part}: containers start") as status, stage(project, part, status.update) as held:
        found = list(try_rows(held, lambda name: status.update(f"{part}: {name}")))
    if json:
        print_json(_as_json(found))
    else:
        _show(found)
    if bad := [one for one in found if one.bad]:
        raise OpsError(
            f"{folder} does not fulfil {len(bad)} of {len(found)} rows", f"{bad[0].row.name}: {bad[0].said}",
            f"{bad[0].row.mend} ({PAGE})",
        )  # fmt: skip


def with_application(project: Project, part: str, folder: str) -> Project:
    """The same project with another folder for its backend or frontend. Raises UsageProblem where there is no Containerfile."""
    from dataclasses import replace

    path = Path(folder).resolve()
    if not (path / "Containerfile").is_file():
        raise UsageProblem(
            f"{folder} is no application", f"there is no Containerfile in {path}", f"inv app.new {folder} writes a small one"
        )
    build = project.settings.build.model_copy(update={part: str(path)})
    return replace(project, settings=project.settings.model_copy(update={"build": build}))


def _build(project: Project, part: str) -> None:
    """The image, and those that a trial needs besides, where this host lacks them."""
    from ops.application.stage import NEIGHBOURS
    from ops.core.plan import Plan
    from ops.host.preflight import check_host_to_build
    from ops.images.steps import plan_build
    from ops.stack.contract import BACKEND
    from ops.stack.images import tags_of

    wanted = {name: project.images[name] for name in (part, *(NEIGHBOURS if part == BACKEND else ()))}

    def decide() -> Plan:
        return plan_build(wanted, frozenset(project.engine.images(tags_of(wanted.values()))), project.settings.deadlines.build)

    if decide().steps:
        # Standard output is for the rows.
        with contextlib.redirect_stdout(sys.stderr):
            execute(Operation(project, "build", planned(project, decide), check=check_host_to_build))


def _as_json(found: Iterable[Found]) -> Sequence[dict[str, object]]:
    return [
        {"row": one.row.name, "result": one.result, "needed": one.row.needed, "found": one.said,
         "mend": one.row.mend if one.bad else ""}
        for one in found
    ]  # fmt: skip


def _show(found: Iterable[Found]) -> None:
    from rich.markup import escape

    from ops.cli import show

    drawn = show.table("ROW", "RESULT", "FOUND")
    for one in found:
        drawn.add_row(one.row.name, _MARK[one.result], escape(one.said))
        if one.bad:
            drawn.add_row("", "", escape(f"next: {one.row.mend}"))
    show.out.print(drawn)


def write_starter(folder: str) -> tuple[str, ...]:
    """Write the smallest application; returns what to type next, a line each.

    Raises UsageProblem where something is there already.
    """
    from ops.core.machine import REPOSITORY

    starter = REPOSITORY / "ops" / "application" / "starter"
    path = Path(folder)
    if path.exists() and (not path.is_dir() or any(path.iterdir())):
        raise UsageProblem(f"{folder} is not empty", "nothing in it is written over", "name a folder that is new or empty")
    path.mkdir(parents=True, exist_ok=True)
    names = sorted(source.name for source in starter.iterdir() if source.is_file())
    for name in names:
        shutil.copy(starter / name, path / name)
    return (
        f"wrote {', '.join(names)} in {folder}",
        f"inv app.check {folder}    tries it against the contract",
        f"config/stack.yaml: build: {{backend: {path.resolve()}}}, then inv deploy",
    )


@verb(positional=["folder"], help={"folder": "a folder that is empty or does not exist"})
def new(c: Context, folder: str) -> None:
    """Write the smallest backend that fulfils the contract.

    A Containerfile and a small program of Python's standard library, without a database: a place to begin.
    """
    from ops.cli import show

    for line in write_starter(folder):
        show.out.print(line)
