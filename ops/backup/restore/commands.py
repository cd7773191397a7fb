"""inv restore: back to a set or to a moment, or the whole stack on an empty host."""

from __future__ import annotations

import time
from datetime import UTC, datetime
from typing import TYPE_CHECKING

from invoke import Context

from ops.cli.command import described, verb
from ops.cli.execute import Decision, Operation, Revert, execute, locked
from ops.core import machine
from ops.core.errors import HostLacks, NeedsPerson, UsageProblem

if TYPE_CHECKING:
    from collections.abc import Callable

    from ops.backup.restore.repository import Found
    from ops.backup.restore.target import Target
    from ops.project import Project


@verb(help={
    "set": "a set of inv backup.list; with --xid or --name: the one to begin from",
    "at": 'PostgreSQL as it was at this second, for example "2026-11-24 10:31:05" (the time of this host), or ...+00:00',
    "xid": "PostgreSQL right before this transaction",
    "name": "PostgreSQL at this point, made by pg_create_restore_point",
    "only": "postgres, redis, prometheus, logs, alertmanager, several with commas, or all",
    "timeline": "use this timeline of PostgreSQL, where an earlier restore has started a new one",
    "undo": "restore the data from before the last restore, or from before an interrupted one",
    "repository": "read this one of inv backup.list; without it the local one where it can be",
    "bootstrap": "on an empty host: a folder, s3://HOST/BUCKET/PREFIX or sftp://USER@HOST/PATH, to restore everything from",
    "key": "with --bootstrap: file with the repository key",
    "credentials": "with --bootstrap: file with the credentials of S3 or the private key of SFTP",
    "plan": "show what would be lost and done, and change nothing",
    "yes": "do not ask for confirmation",
})  # fmt: skip
def restore(  # noqa: PLR0913, PLR0917  (each is an option of the command)
    c: Context, set: str = "", at: str = "", xid: str = "", name: str = "", only: str = "", timeline: str = "",
    undo: bool = False, repository: str = "", bootstrap: str = "", key: str = "", credentials: str = "", plan: bool = False,
    yes: bool = False,
) -> None:  # fmt: skip
    """Restore data: the newest, a set, or a point in time.

    Verified; on a failure the data from before the restore is back.
    """
    from ops.backup.restore.target import Target, read_parts, read_time
    from ops.cli import show
    from ops.project import must_exist, open_project

    if bool(bootstrap) != bool(key):
        raise UsageProblem("--bootstrap and --key belong together", "a repository and its key", "inv --help restore")
    if xid and not xid.isdigit():
        raise UsageProblem(f"{xid} is no transaction", "a number is needed", "the column xmin of a row; txid_current()")
    if bootstrap:
        _bootstrap(bootstrap, key, credentials, plan_only=plan)
        return
    zone = datetime.now().astimezone().tzinfo
    target = Target(set, read_time(at, zone) if at else None, int(xid) if xid else None, name, timeline, repository)
    parts = read_parts(only)
    project = must_exist(open_project())
    project.host.prepare()
    began = time.monotonic()
    if undo:
        _undo(project, set, plan_only=plan, yes=yes)
    else:
        _restore(project, target, parts, plan_only=plan, yes=yes)
    if not plan:
        what = "reverted" if undo else "restored"
        show.out.print(f"[bold green]{what}[/bold green] in {time.monotonic() - began:.1f} s")


def _operation(project: Project, decide: Callable[[], Decision], *, plan_only: bool, yes: bool) -> Operation:
    return Operation(
        project, "restore", decide, plan_only=plan_only, yes=yes, plans_first=False, locks_to_plan=True, shows_plan=True,
        remembers=False,
    )  # fmt: skip


def _restore(project: Project, target: Target, parts: tuple[str, ...], *, plan_only: bool, yes: bool) -> None:
    from ops.backup.container import status
    from ops.backup.restore import restoring
    from ops.backup.restore.plan import plan_restore
    from ops.backup.restore.target import select
    from ops.core.plan import STAMP

    stamp = time.strftime(STAMP, time.gmtime())
    revert = Revert(
        lambda: _previous_data(project), "putting the former state back",
        restored="everything is as before, reverted in {seconds}",
        by_hand="inv restore --undo tries again; nothing of the former state is removed",
    )  # fmt: skip

    def decide() -> Decision:
        chosen = select(target, parts, status(project), datetime.now(UTC))
        return Decision(project, plan_restore(chosen, restoring.facts(project, chosen), stamp), revert=revert)

    execute(_operation(project, decide, plan_only=plan_only, yes=yes))


def _previous_data(project: Project) -> Decision:
    """Data that was put aside is in its place again, and what was stopped runs."""
    from ops.backup.restore import restoring
    from ops.backup.restore.plan import plan_undo
    from ops.lifecycle.plan import plan_start

    facts = restoring.facts(project)
    if facts.left:
        return Decision(project, plan_undo(facts.left, facts))
    return Decision(project, plan_start(facts.stack, facts.seen, facts.supervise, facts.version))


def _undo(project: Project, stamp: str, *, plan_only: bool, yes: bool) -> None:
    from ops.backup.restore import restoring
    from ops.backup.restore.plan import left_by, plan_undo
    from ops.backup.restore.volumes import safeties

    def decide() -> Decision:
        facts = restoring.facts(project)
        left = facts.left or left_by(safeties(project), facts.stack, stamp)
        return Decision(project, plan_undo(left, facts), failed=_half_undone)

    execute(_operation(project, decide, plan_only=plan_only, yes=yes))


def _half_undone(problem: BaseException, done: int) -> BaseException:
    goes_on = "inv restore --undo continues; nothing of the previous state is removed"
    if isinstance(problem, KeyboardInterrupt):
        return KeyboardInterrupt(goes_on)
    failure = described(problem)
    return NeedsPerson(failure.what, failure.why, f"{goes_on}; {failure.next_step}", failure.details)


def _bootstrap(where: str, key: str, credentials: str, *, plan_only: bool) -> None:
    """Read the newest set, put the state folder in place, then deploy with the data of the repository.

    Raises HostLacks where this host has something of the project already.
    """
    from ops.backup.restore import repository as bootstrap
    from ops.cli import show
    from ops.project import open_project
    from ops.store import encrypted_copies, encryption

    began = time.monotonic()
    # Secrets that are locked, their key being lost, are replaced by those of the repository.
    project, source = open_project(secrets_needed=False), bootstrap.source(where, key, credentials)
    bootstrap.must_be_empty(project)
    project.host.prepare()
    with locked(project, "restore"):
        show.out.print("building the program that reads the repository, where it is missing")
        reader = bootstrap.Reader(project, bootstrap.image(project), source)
        found = bootstrap.newest_set(project, reader)
        show.out.print(bootstrap.summary(found, project))
        if plan_only:
            return
        if encrypted_copies.is_locked(project.state.root):
            encryption.set_aside(project.state.root)
            project.host.prepare()
        bootstrap.put_in_place(project, source, found)
    # From here on with the restored settings, addresses and secrets.
    project = open_project()
    with locked(project, "restore"):
        found = bootstrap.provide_data(project, source, found, show.aside)
        _deploy(project, found)
    bootstrap.done(project, source)
    show.out.print(f"[bold green]restored[/bold green] in {time.monotonic() - began:.1f} s; inv status, inv backup.list")


def _deploy(project: Project, found: Found) -> None:
    from ops.backup.restore.plan import with_data
    from ops.deploy.commands import checkout_goal
    from ops.stack.release import GOOD, Activation
    from ops.store.releases import current_number, record_activation

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
    record_activation(project.state, Activation(number, "restore", machine.now(), GOOD, seconds=seconds))
