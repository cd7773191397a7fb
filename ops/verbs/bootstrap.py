"""inv restore --bootstrap: the whole stack as it was, on a host that has nothing of it."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING

from ops.errors import HostLacks
from ops.verbs.common import locked, recorded

if TYPE_CHECKING:
    from ops.machine.project import Project
    from ops.model import Plan, Seen
    from ops.plan.bootstrap import Found


def bring_back(where: str, key: str, credentials: str, *, plan_only: bool) -> None:
    """Read the newest set, put the state folder in place, then deploy with the data of the repository.

    Raises HostLacks where this host has something of the project already.
    """
    from ops import show
    from ops.machine.at_rest import mirror, opening
    from ops.machine.backup import bootstrap
    from ops.machine.project import open_project

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
    show.out.print(f"[bold green]brought back[/bold green] in {time.monotonic() - began:.1f} s; inv status, inv backup.list")


def _deploy(project: Project, found: Found) -> None:
    from ops import show
    from ops.machine.apply import apply
    from ops.machine.journal import Journal
    from ops.machine.performers import Performer
    from ops.machine.releases import record_activation
    from ops.plan.bootstrap import with_data
    from ops.plan.release import GOOD, Activation
    from ops.verbs.deploy import checkout_goal

    goal = checkout_goal(project, verb="restore")
    wanted, seen, planned = goal.decide()
    planned = with_data(planned, found, wanted.stack, wanted.versions)
    show.plan(planned)
    project.remember()
    began = time.monotonic()
    with recorded(project, planned), show.progress(len(planned.steps)) as progress:
        performer = Performer(project, progress.report, wanted)
        apply(planned, performer.do, Journal.of_this_process(project.state.journal), progress)
    number = _number(project, planned, seen)
    seconds = round(time.monotonic() - began, 1)
    record_activation(project.state, Activation(number, "restore", time.strftime("%Y-%m-%dT%H:%M:%S%z"), GOOD, seconds=seconds))


def _number(project: Project, plan: Plan, seen: Seen) -> int:
    from ops.machine.releases import current_number

    number = current_number(project.state)
    if number is None:
        raise HostLacks(
            "nothing was deployed", f"{plan.verb} sealed no release; {len(seen.containers)} containers", "inv deploy"
        )
    return number
