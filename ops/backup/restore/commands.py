"""inv restore: back to a set or to a moment, or the whole stack on an empty host."""

from __future__ import annotations

import time
from datetime import UTC, datetime
from functools import partial
from typing import TYPE_CHECKING

from invoke import Context

from ops.cli.command import as_told, confirm, locked, recorded, verb, with_consent
from ops.core.errors import NeedsPerson, OpsError, UsageProblem

if TYPE_CHECKING:
    from collections.abc import Callable

    from ops.backup.target import Chosen, Target
    from ops.core.plan import Plan
    from ops.project import Project


@verb(help={
    "set": "a set of inv backup.list; with --xid or --name: the one to begin from",
    "at": 'PostgreSQL as it was at this second, for example "2026-11-24 10:31:05" (the time of this host), or ...+00:00',
    "xid": "PostgreSQL right before this transaction",
    "name": "PostgreSQL at this point, made by pg_create_restore_point",
    "only": "postgres, redis, prometheus, logs, alertmanager, several with commas, or all",
    "timeline": "follow this history of PostgreSQL, where an earlier restore has begun another one",
    "undo": "put back what was there before the last restore, or before one that was broken off",
    "repository": "read this one of inv backup.list; without it the local one where it can be",
    "bootstrap": "on an empty host: a folder, s3://HOST/BUCKET/PREFIX or sftp://USER@HOST/PATH, to bring everything back from",
    "key": "with --bootstrap: file with the repository key",
    "credentials": "with --bootstrap: file with the credentials of S3 or the private key of SFTP",
    "plan": "show what would be lost and done, and do nothing",
    "yes": "do not ask",
})  # fmt: skip
def restore(  # noqa: PLR0913, PLR0917  (each is an option of the command)
    c: Context, set: str = "", at: str = "", xid: str = "", name: str = "", only: str = "", timeline: str = "",
    undo: bool = False, repository: str = "", bootstrap: str = "", key: str = "", credentials: str = "", plan: bool = False,
    yes: bool = False,
) -> None:  # fmt: skip
    """Restore data: the newest, a set, or a point in time.

    Verified; on a failure the data from before the restore is back.
    """
    from ops.backup.target import Target, read_parts, read_time
    from ops.project import must_exist, open_project

    if bool(bootstrap) != bool(key):
        raise UsageProblem("--bootstrap and --key belong together", "a repository and its key", "inv --help restore")
    if xid and not xid.isdigit():
        raise UsageProblem(f"{xid} is no transaction", "a number is needed", "the column xmin of a row; txid_current()")
    if bootstrap:
        from ops.backup.restore.bootstrap import bring_back

        bring_back(bootstrap, key, credentials, plan_only=plan)
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
        _told(began, "put back" if undo else "restored")


def _told(began: float, what: str) -> None:
    from ops.cli import show

    show.out.print(f"[bold green]{what}[/bold green] in {time.monotonic() - began:.1f} s")


def _agreed(
    project: Project, decide: Callable[[], Plan], do: Callable[[Plan], None], *, plan_only: bool, yes: bool
) -> None:  # fmt: skip
    from ops.cli import show

    if plan_only:
        with locked(project, "restore"):
            show.plan(decide())
        return

    def decided() -> tuple[Plan, Callable[[], None]]:
        planned = decide()
        return planned, partial(do, planned)

    def ask(planned: Plan) -> None:
        show.plan(planned)
        confirm(planned, yes, shown=True)

    with_consent(project, "restore", decided, ask, yes=yes)


def _restore(project: Project, target: Target, parts: tuple[str, ...], *, plan_only: bool, yes: bool) -> None:
    from ops.backup.container import status
    from ops.backup.restore import restoring
    from ops.backup.restore.plan import plan_restore
    from ops.backup.sets import STAMP
    from ops.backup.target import select

    stamp = time.strftime(STAMP, time.gmtime())

    def decide() -> Plan:
        chosen: Chosen = select(target, parts, status(project.host), datetime.now(UTC))
        return plan_restore(chosen, restoring.facts(project, chosen), stamp)

    def do(planned: Plan) -> None:
        with recorded(project, planned):
            try:
                _apply(project, planned)
            except (Exception, KeyboardInterrupt) as problem:
                # Also what nobody has foreseen: data has been put aside, and nothing runs.
                _put_back(project, problem)

    _agreed(project, decide, do, plan_only=plan_only, yes=yes)


def _put_back(project: Project, problem: BaseException) -> None:
    """Raises what went wrong: as an interrupt or with exit code 1 where everything is as before, 5 where a person is needed."""
    from ops.backup.restore import restoring
    from ops.backup.restore.plan import plan_undo
    from ops.cli import show
    from ops.lifecycle.plan import plan_start

    said = as_told(problem)
    show.err.print(f"{said.what}: {said.why}: putting back what was there")
    began = time.monotonic()
    try:
        facts = restoring.facts(project)
        if facts.left:
            _apply(project, plan_undo(facts.left, facts))
        else:
            _apply(project, plan_start(facts.stack, facts.seen, facts.supervise, facts.version))
    except (Exception, KeyboardInterrupt) as second:
        raise _half(said, second) from second
    back = f"everything is as before, put back in {time.monotonic() - began:.1f} s"
    if isinstance(problem, KeyboardInterrupt):
        raise KeyboardInterrupt(back) from problem
    raise OpsError(said.what, said.why, f"{back}; {said.next_step}", said.details) from problem


def _half(said: OpsError, second: BaseException) -> NeedsPerson:
    told = as_told(second)
    why = "interrupted" if isinstance(second, KeyboardInterrupt) else f"{told.what}: {told.why}"
    return NeedsPerson(
        said.what, f"{said.why}; putting the former state back failed as well: {why}",
        "inv restore --undo tries again; nothing of the former state is removed", said.details,
    )  # fmt: skip


def _undo(project: Project, stamp: str, *, plan_only: bool, yes: bool) -> None:
    from ops.backup.restore import restoring
    from ops.backup.restore.plan import left_by, plan_undo
    from ops.backup.restore.volumes import safeties

    def decide() -> Plan:
        facts = restoring.facts(project)
        return plan_undo(facts.left or left_by(safeties(project.host), facts.stack, stamp), facts)

    def do(planned: Plan) -> None:
        with recorded(project, planned):
            try:
                _apply(project, planned)
            except KeyboardInterrupt as interrupt:
                raise KeyboardInterrupt("inv restore --undo goes on; nothing of the former state is removed") from interrupt
            except Exception as problem:
                told = as_told(problem)
                next_step = f"inv restore --undo goes on, nothing of the former state is removed; {told.next_step}"
                raise NeedsPerson(told.what, told.why, next_step, told.details) from problem

    _agreed(project, decide, do, plan_only=plan_only, yes=yes)


def _apply(project: Project, plan: Plan) -> None:
    from ops.cli import show
    from ops.core.execute import apply
    from ops.core.journal import Journal
    from ops.execution import Execution

    with show.progress(len(plan.steps)) as progress:
        performer = Execution(project, progress.report, project.deployed)
        apply(plan, performer.do, Journal.of_this_process(project.state.journal), progress)
