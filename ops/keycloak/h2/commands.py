"""inv keycloak.migrate-h2: realms, users and clients of an H2 file in the place of what PostgreSQL holds."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING

from invoke import Context

from ops.cli.command import verb
from ops.cli.execute import Decision, Operation, Revert, execute
from ops.core.errors import HostLacks

if TYPE_CHECKING:
    from pathlib import Path

    from ops.core.plan import Plan
    from ops.keycloak.h2.file import Source
    from ops.project import Project

VERB = "keycloak.migrate-h2"


@verb(positional=["path"], help={
    "path": "folder data/h2 of a Keycloak, or the file keycloakdb.mv.db; it is copied, never opened",
    "plan": "show what would be done, and do nothing",
    "yes": "do not ask for confirmation",
})  # fmt: skip
def migrate_h2(c: Context, path: str, plan: bool = False, yes: bool = False) -> None:
    """Move Keycloak from H2 to PostgreSQL.

    Replaces what PostgreSQL holds of Keycloak; on a failure the previous content serves again.
    """
    from pathlib import Path

    from ops.cli import show
    from ops.core.files import remove_clear
    from ops.core.state import H2_FOLDER
    from ops.keycloak.h2.file import find
    from ops.project import must_exist, open_project

    began = time.monotonic()
    project = must_exist(open_project())
    file = find(Path(path).expanduser().absolute())
    project.host.prepare()

    source: Source | None = None

    def decide() -> Decision:
        nonlocal source
        source, migration = _decide(project, file)
        return Decision(project, migration, revert=_revert(project))

    # The copy of the file holds password hashes: it goes, whatever has become of the plan.
    execute(Operation(
        project, VERB, decide, plan_only=plan, yes=yes, plans_first=False, locks_to_plan=True, shows_plan=True, remembers=False,
        tidy=lambda: remove_clear(project.state.root / H2_FOLDER),
    ))  # fmt: skip
    if source is None or plan:
        return
    show.out.print(f"[bold green]moved[/bold green]: {', '.join(source.realms)} in {time.monotonic() - began:.1f} s")
    show.out.print("next: inv deploy brings realm cc03 to its declaration and makes what it lacks")


def _decide(project: Project, file: Path) -> tuple[Source, Plan]:
    """Copy, inspect, plan. Raises OpsError where it cannot be moved; nothing has been changed then."""
    from ops.core.state import H2_FOLDER
    from ops.keycloak.h2 import file as h2
    from ops.keycloak.h2.plan import plan_migration, refuse_other_version
    from ops.keycloak.h2.steps import ExportRealms
    from ops.keycloak.schema import observed as schema
    from ops.keycloak.schema.upgrade import SLOT

    engine, wanted, image = project.engine, project.deployed, project.images[SLOT]
    if image.tag not in engine.images() or wanted.images[SLOT].tag != image.tag or SLOT not in engine.slots():
        raise HostLacks(
            "the stack is not the one of this checkout",
            "Keycloak's image of the checkout has to be the one deployed",
            "inv deploy",
        )
    folder = project.state.root / H2_FOLDER
    h2.copy(file, folder)
    source = h2.inspect(engine, file, folder, image.tag)
    refuse_other_version(source, schema.server_of(engine, image.tag).version)
    export = ExportRealms(
        "export", "export every realm from a copy of the H2 file", folder=H2_FOLDER, context=image.context, user=source.user,
        tag=image.tag.replace("/keycloak:", "/keycloak-distribution:"), args=image.build_args,
    )  # fmt: skip
    service = wanted.stack.services[SLOT]
    return source, plan_migration(
        source, schema.schema_of(engine), dict(wanted.compose["services"][SLOT]), export,
        running=engine.status(SLOT)[0] == "running", grace=service.grace, start_seconds=service.start_seconds,
    )  # fmt: skip


def _revert(project: Project) -> Revert:
    """Back to the database that this command has renamed, if it came that far."""
    before = _put_aside(project)
    return Revert(
        lambda: Decision(project, _back(project, sorted(_put_aside(project) - before))), "restoring the previous database",
        restored="Keycloak serves what it served before",
        by_hand="inv status; inv keycloak; the dump from before is the newest in the folder dumps of the state folder",
        again="run it again",
    )  # fmt: skip


def _put_aside(project: Project) -> set[str]:
    """Previous databases, which a swap has renamed."""
    from ops.keycloak.schema.dump import databases
    from ops.keycloak.schema.upgrade import DATABASE

    return set(databases(project.engine, f"{DATABASE}_before_"))


def _back(project: Project, former: list[str]) -> Plan:
    """former: previous databases that this command has renamed."""
    from ops.keycloak.h2.plan import plan_back
    from ops.keycloak.schema.upgrade import SLOT

    service = project.deployed.stack.services[SLOT]
    return plan_back(
        former=former[-1] if former else "", running=project.engine.status(SLOT)[0] == "running", grace=service.grace,
        start_seconds=service.start_seconds,
    )  # fmt: skip
