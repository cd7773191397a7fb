"""inv keycloak.migrate-h2: realms, users and clients of an H2 file in the place of what PostgreSQL holds."""

from __future__ import annotations

import time
from contextlib import suppress
from functools import partial
from typing import TYPE_CHECKING

from invoke import Context

from ops.cli.command import as_told, confirm, locked, recorded, verb, with_consent
from ops.core.errors import HostLacks, LockHeld, NeedsPerson, OpsError

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from ops.core.plan import Plan
    from ops.keycloak.h2.plan import Source
    from ops.project import Project

VERB = "keycloak.migrate-h2"


@verb(positional=["path"], help={
    "path": "folder data/h2 of a Keycloak, or the file keycloakdb.mv.db; it is copied, never opened",
    "plan": "show what would be done, and do nothing",
    "yes": "do not ask",
})  # fmt: skip
def migrate_h2(c: Context, path: str, plan: bool = False, yes: bool = False) -> None:
    """Move Keycloak from H2 to PostgreSQL.

    Replaces what PostgreSQL holds of Keycloak; on a failure the previous content serves again.
    """
    from pathlib import Path

    from ops.cli import show
    from ops.keycloak.h2 import database as h2
    from ops.project import must_exist, open_project

    began = time.monotonic()
    project = must_exist(open_project())
    file = h2.find(Path(path).expanduser().absolute())
    project.host.prepare()

    def planned() -> tuple[Source, Plan]:
        try:
            return _decide(project, file)
        except BaseException:
            h2.remove(project.host)
            raise

    def decided() -> tuple[Plan, Callable[[], Source]]:
        source, migration = planned()
        return migration, partial(_move, project, source, migration)

    def ask(migration: Plan) -> None:
        show.plan(migration)
        try:
            confirm(migration, yes, shown=True)
        except BaseException:
            # The copy holds password hashes. Where another command has the lock by now, the next deploy removes it.
            with suppress(LockHeld), locked(project, VERB):
                h2.remove(project.host)
            raise

    if plan:
        with locked(project, VERB):
            show.plan(planned()[1])
            h2.remove(project.host)
        return
    source = with_consent(project, VERB, decided, ask, yes=yes)
    show.out.print(f"[bold green]moved[/bold green]: {', '.join(source.realms)} in {time.monotonic() - began:.1f} s")
    show.out.print("next: inv deploy brings realm cc03 to its declaration and makes what it lacks")


def _move(project: Project, source: Source, plan: Plan) -> Source:
    from ops.keycloak.h2 import database as h2

    try:
        with recorded(project, plan):
            _carry_out(project, plan)
    finally:
        h2.remove(project.host)
    return source


def _decide(project: Project, file: Path) -> tuple[Source, Plan]:
    """Copy, look, plan. Raises OpsError where it cannot be moved; nothing has been changed then."""
    from ops.deploy.containers import grace
    from ops.engines.podman.observe import images, inspected_containers
    from ops.keycloak.h2 import database as h2
    from ops.keycloak.h2.plan import FOLDER, plan_migration, refuse_other_version
    from ops.keycloak.schema import observed as schema
    from ops.keycloak.schema.upgrade import SLOT
    from ops.keycloak.steps import ExportRealms

    host, wanted, image = project.host, project.deployed, project.images[SLOT]
    there = inspected_containers(host)
    if image.tag not in images(host) or wanted.images[SLOT].tag != image.tag or SLOT not in there:
        raise HostLacks(
            "the stack is not the one of this checkout",
            "Keycloak's image of the checkout has to be the one deployed",
            "inv deploy",
        )
    h2.copy(file, h2.folder_of(host))
    source = h2.inspect(host, file, h2.folder_of(host), image.tag)
    refuse_other_version(source, schema.server_of(host, image.tag).version)
    present = schema.schema_of(host, project.name)
    export = ExportRealms(
        "export", "export every realm from a copy of the H2 file", folder=FOLDER, context=image.context, user=source.user,
        tag=image.tag.replace("/keycloak:", "/keycloak-distribution:"),
        args=image.build_args,
    )  # fmt: skip
    service = wanted.stack.services[SLOT]
    running = there[SLOT]["State"]["Status"] == "running"
    return source, plan_migration(
        source, present, h2.service_of(wanted.compose), export, running=running, grace=grace(service),
        start_seconds=service.start_seconds,
    )  # fmt: skip


def _carry_out(project: Project, plan: Plan) -> None:
    """Raises OpsError where it failed and the former database serves, NeedsPerson where that failed too."""
    from ops.cli import show

    left = _put_aside(project)
    try:
        _apply(project, plan)
    except (Exception, KeyboardInterrupt) as problem:
        # Also what nobody has foreseen: Keycloak may be stopped, or on half a database.
        said = as_told(problem)
        show.err.print(f"{said.what}: putting the former database back")
        try:
            _apply(project, _back(project, sorted(_put_aside(project) - left)))
        except (Exception, KeyboardInterrupt) as second:
            told = as_told(second)
            raise NeedsPerson(
                said.what, f"{said.why}; putting the former database back failed as well: {told.what}: {told.why}",
                "inv status; inv keycloak; the dump of before is the newest in the folder dumps of the state folder",
            ) from second  # fmt: skip
        serves = "Keycloak serves what it served before"
        if isinstance(problem, KeyboardInterrupt):
            raise KeyboardInterrupt(serves) from problem
        then = f"{said.next_step}, then" if type(said) is NeedsPerson else "correct the cause, then"
        raise OpsError(said.what, said.why, f"{serves}; {then} run it again", said.details) from problem


def _put_aside(project: Project) -> set[str]:
    """Databases that a swap has put aside."""
    from ops.keycloak.schema.dump import databases
    from ops.keycloak.schema.upgrade import DATABASE

    return set(databases(project.host, project.name, f"{DATABASE}_before_"))


def _back(project: Project, former: list[str]) -> Plan:
    """`former`: what this command has put aside."""
    from ops.deploy.containers import grace
    from ops.engines.podman.observe import inspected_containers
    from ops.keycloak.h2.plan import plan_back
    from ops.keycloak.schema.upgrade import SLOT

    running = inspected_containers(project.host)[SLOT]["State"]["Status"] == "running"
    service = project.deployed.stack.services[SLOT]
    return plan_back(
        former=former[-1] if former else "", running=running, grace=grace(service), start_seconds=service.start_seconds
    )


def _apply(project: Project, plan: Plan) -> None:
    from ops.cli import show
    from ops.core.execute import apply
    from ops.core.journal import Journal
    from ops.execution import Execution

    with show.progress(len(plan.steps)) as progress:
        performer = Execution(project, progress.report, project.deployed)
        apply(plan, performer.do, Journal.of_this_process(project.state.journal), progress)
