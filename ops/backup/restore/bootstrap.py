"""inv restore --bootstrap: the whole stack as it was, on a host that has nothing of it."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING

from ops.cli.execute import execute, locked
from ops.cli.operation import Decision, Operation
from ops.core.errors import HostLacks

if TYPE_CHECKING:
    from ops.backup.restore.bootstrap_plan import Found
    from ops.project import Project


def bootstrap_host(where: str, key: str, credentials: str, *, plan_only: bool) -> None:
    """Read the newest set, put the state folder in place, then deploy with the data of the repository.

    Raises HostLacks where this host has something of the project already.
    """
    from ops.backup.restore import repository as bootstrap
    from ops.cli import show
    from ops.project import open_project
    from ops.secrets.at_rest import encrypted_copies as mirror
    from ops.secrets.at_rest import unlock as opening

    began = time.monotonic()
    # Secrets that are locked, their key being lost, are replaced by those of the repository.
    project, source = open_project(secrets_needed=False), bootstrap.source(where, key, credentials)
    bootstrap.must_be_empty(project)
    project.host.prepare()
    with locked(project, "restore"):
        show.out.print("building the program that reads the repository, where it is missing")
        reader = bootstrap.Reader(project, bootstrap.image(project), source)
        found = bootstrap.look(project, reader)
        show.out.print(bootstrap.told(found, project))
        if plan_only:
            return
        if mirror.is_locked(project.state.root):
            opening.set_aside(project.state.root)
            project.host.prepare()
        bootstrap.put_in_place(project, source, found)
    # Settings, addresses and secrets are those of then.
    project = open_project()
    with locked(project, "restore"):
        found = bootstrap.brought_near(project, source, found, show.aside)
        _deploy(project, found)
    bootstrap.done(project, source)
    show.out.print(f"[bold green]restored[/bold green] in {time.monotonic() - began:.1f} s; inv status, inv backup.list")


def _deploy(project: Project, found: Found) -> None:
    from ops.backup.restore.bootstrap_plan import with_data
    from ops.deploy.commands import checkout_goal
    from ops.releases.store import current_number, record_activation
    from ops.stack.release import GOOD, Activation

    goal = checkout_goal(project, verb="restore")
    wanted, seen, planned = goal.decide()
    decision = Decision(project, with_data(planned, found, wanted.stack, wanted.versions), wanted)
    began = time.monotonic()
    execute(Operation(project, goal.verb, lambda: decision, shows_plan=True, locks=False))
    seconds, number = round(time.monotonic() - began, 1), current_number(project.state)
    if number is None:
        raise HostLacks(
            "nothing was deployed", f"{goal.verb} sealed no release; {len(seen.containers)} containers", "inv deploy"
        )
    record_activation(project.state, Activation(number, "restore", time.strftime("%Y-%m-%dT%H:%M:%S%z"), GOOD, seconds=seconds))
