"""What every command shares: how it is declared, how its errors are told, how a plan is carried out."""

from __future__ import annotations

import errno
import functools
import os
import re
import signal
import sys
import tempfile
import time
import traceback
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from types import FrameType
from typing import TYPE_CHECKING, Any, TypeVar

from invoke import Context, Exit, Task, task

from ops.cli.arguments import VerbTask
from ops.cli.command_line import drop, options_for, unread_output
from ops.core.errors import HostLacks, NeedsPerson, OpsError, UsageProblem

if TYPE_CHECKING:
    from ops.core.plan import Plan
    from ops.project import Project
    from ops.stack.model import Seen

INTERRUPTED = 130
"""Exit code of a command that the operator broke off (128 + SIGINT)."""
GOES_ON = "the same command finishes what was begun"
"""Said of an interrupt, where nothing more exact is known of the state that is left."""


def verb(
    help: Mapping[str, str] | None = None, *, changes: bool | str = True, **options: Any
) -> Callable[[Callable[..., None]], Task[Any]]:
    """Declare a command. Whatever it raises reaches the operator as three lines and an exit code, never as a traceback.

    Parameters
    ----------
    help: option name -> its line in `inv --help COMMAND`.
    changes: whether the command changes anything; the name of an option: whether that is given. What only reads ends in
    silence, with 0, when the operator or the reader of its output has enough.
    """

    def declare(function: Callable[..., None]) -> Task[Any]:
        @functools.wraps(function)
        def guarded(context: Context, **given: Any) -> None:
            _watch_signals()
            changing = changes if isinstance(changes, bool) else bool(given.get(changes))
            try:
                with unread_output(tolerated=changing):
                    function(context, **options_for(function, context, changes, given))
            except OpsError as problem:
                _tell(problem)
            except KeyboardInterrupt as interrupt:
                if not changing:
                    raise Exit(code=0) from None
                print(f"\ninterrupted: {interrupt or GOES_ON}", file=sys.stderr)
                raise Exit(code=INTERRUPTED) from None
            except BrokenPipeError:
                drop(sys.stdout)
                raise Exit(code=0) from None
            except (Exit, SystemExit):
                raise
            except Exception as problem:
                told = as_told(problem)
                if isinstance(told, HostLacks):
                    drop(sys.stdout)  # it may be what cannot be written
                _tell(told)

        declared: Task[Any] = task(help=dict(help or {}), klass=VerbTask, **options)(guarded)
        return declared

    return declare


def _watch_signals() -> None:
    """SIGTERM is Ctrl-C, and so is SIGHUP, the end of a session over SSH, unless nohup has it ignored."""
    signal.signal(signal.SIGTERM, _as_interrupt)
    if signal.getsignal(signal.SIGHUP) != signal.SIG_IGN:
        signal.signal(signal.SIGHUP, _as_interrupt)


REFUSALS = frozenset({errno.ENOSPC, errno.EDQUOT, errno.EROFS, errno.EIO, errno.EACCES, errno.EPERM})
"""Errors of the system that say something of the host, and nothing of this program."""


def _refused_by_the_host(problem: BaseException) -> HostLacks | None:
    if not isinstance(problem, OSError) or problem.errno not in REFUSALS:
        return None
    where = f"{problem.filename}: " if problem.filename else ""
    if os.geteuid() and problem.errno in (errno.EACCES, errno.EPERM):
        return HostLacks("this command needs root", f"{where}{problem.strerror}", "sudo -i, then the same command")
    return HostLacks(
        "this host refused to read or write", f"{where}{problem.strerror}", "inv doctor looks at space and permissions"
    )


def _as_interrupt(number: int, frame: FrameType | None) -> None:
    raise KeyboardInterrupt


def _tell(problem: OpsError) -> None:
    from ops.cli import show

    show.problem(problem)
    raise Exit(code=problem.exit_code) from None


def as_told(problem: BaseException) -> OpsError:
    """Whatever went wrong, as the three lines that an operator gets. Raises nothing: there is a state to be reverted."""
    if isinstance(problem, OpsError):
        return problem
    if isinstance(problem, KeyboardInterrupt):
        return OpsError("interrupted", "by the operator", "run it again")
    try:
        return _refused_by_the_host(problem) or _defect(problem)
    except OSError as second:
        why = f"{type(problem).__name__}: {problem}; its traceback cannot be kept: {second.strerror}"
        return NeedsPerson("this command met a defect in its own code", why, "report it")


def _defect(problem: BaseException) -> NeedsPerson:
    """A defect of this program: the traceback goes to a file, the operator gets three lines like any other.

    The file is new and for its owner alone: /tmp is open to every account, which could have laid a link under a name that can
    be guessed.
    """
    descriptor, path = tempfile.mkstemp(prefix=f"cc03-defect-{time.strftime('%Y%m%dT%H%M%S')}-", suffix=".txt")
    with os.fdopen(descriptor, "w", encoding="utf-8") as file:
        file.write("".join(traceback.format_exception(problem)))
    return NeedsPerson(
        "this command met a defect in its own code", f"{type(problem).__name__}: {problem}", f"report it with {path}"
    )


def must_run(project: Project) -> Project:
    """The same project. Raises HostLacks where it was stopped on purpose: nothing answers, and nothing is wrong with it."""
    from ops.status.headline import stopped_by
    from ops.status.situation import is_stopped, situation

    if is_stopped(project.state):
        by = stopped_by(situation(project.state).operations)
        raise HostLacks("the stack is stopped", f"{by}; this command needs it", "inv start, then the same command")
    return project


def known_service(project: Project, name: str | None) -> None:
    """Raises UsageProblem, with a suggestion, for a service that the stack does not have."""
    from ops.core.errors import did_you_mean

    if name is not None and name not in project.stack.services:
        raise UsageProblem(f'there is no service "{name}"', did_you_mean(name, project.stack.services), "inv status")


def seen_without_health(project: Project) -> Seen:
    """What there is, where nobody needs to know how it is."""
    from ops.engines.podman.observe import observe

    return observe(project.host, (), with_health=False)


def carry_out(
    project: Project,
    decide: Callable[[], Plan],
    *,
    plan_only: bool = False,
    yes: bool = False,
    word: str = "yes",
    check: Callable[[Project], None] | None = None,
) -> int:
    """Plan, confirm, lock, plan afresh, apply, observe again. Hooks run around the last two; the audit trail has all of it.

    Parameters
    ----------
    decide: observes and plans; called up to three times. word: what has to be typed where something is destroyed.
    check: raises where the host cannot carry the plan out; asked only when there is something to do.

    Returns the number of steps done. Raises NeedsPerson where something is left over afterwards.
    """
    from ops.cli import show
    from ops.core.execute import apply
    from ops.core.journal import Journal
    from ops.execution import Execution

    plan = decide()
    if plan_only or not plan.steps:
        show.plan(plan)
        return 0
    if check:
        check(project)
    confirm(plan, yes, word)
    refuse_before_anything(project, check)
    project.host.prepare()

    def decided() -> tuple[Plan, Callable[[], int]]:
        fresh = decide()
        return fresh, functools.partial(_do, fresh)

    def _do(plan: Plan) -> int:
        if not plan.steps:
            show.plan(plan)
            return 0
        project.remember()
        journal = Journal.of_this_process(project.state.journal)
        with recorded(project, plan):
            with show.progress(len(plan.steps)) as progress:
                apply(plan, Execution(project, progress.report, project.deployed).do, journal, progress)
            if project.state.root.exists():
                nothing_left(decide)
        return len(plan.steps)

    return with_consent(project, plan.verb, decided, lambda plan: confirm(plan, yes, word), yes=yes, agreed=plan)


T = TypeVar("T")


def with_consent(
    project: Project, verb: str, decide: Callable[[], tuple[Plan, Callable[[], T]]], ask: Callable[[Plan], None], *,
    yes: bool, agreed: Plan | None = None,
) -> T:  # fmt: skip
    """Plan under the project's lock, and act under the same lock once the operator has agreed to what the plan destroys.

    Nobody is asked while the lock is held: a question that nobody answers would stop repairs and renewals. It is asked with the
    lock free; then all is planned afresh, and asked again only where the plan destroys something else by now.

    Parameters
    ----------
    decide: plans, and says how the plan is carried out. ask: shows what the operator has to see first, and raises where he does
    not agree. yes: whether he agrees to everything. agreed: what he has agreed to before.
    """
    while True:
        with locked(project, verb):
            plan, act = decide()
            asked = agreed is not None and _gist(plan) <= _gist(agreed)
            if yes or asked or not plan.destroys:
                if not asked:
                    ask(plan)  # nothing that waits for an answer
                return act()
        ask(plan)
        agreed = plan


def _gist(plan: Plan) -> frozenset[str]:
    """What a plan destroys, without what was measured at the moment: `postgres (1.2 GB now)`."""
    return frozenset(re.sub(r"\([^()]*\)", "", loss).strip() for loss in plan.destroys)


def refuse_before_anything(project: Project, check: Callable[[Project], None] | None) -> None:
    """Raises what `check` raises where this host has nothing of the project yet: a refused first command leaves no folder
    behind, of a mistyped name for example."""
    if check and not project.state.root.exists():
        check(project)


@contextmanager
def locked(project: Project, verb: str) -> Iterator[None]:
    """Hold the project's lock, and say where the last command on it was broken off."""
    from ops.cli import show
    from ops.core.operation import operation

    with operation(project.state, verb) as left:
        if left:
            show.out.print(f"[dim]note: {left}; going on from what it left[/dim]")
        _refuse_half_a_restore(project, verb)
        try:
            yield
        finally:
            _keep_encrypted(project)


WITH_HALF_A_RESTORE = ("restore", "stop", "destroy")


def _refuse_half_a_restore(project: Project, verb: str) -> None:
    """Raises HostLacks where a restore that did not come to its end has put data aside: nothing could start without it."""
    journal = project.state.root / "restore.json"
    if verb not in WITH_HALF_A_RESTORE and journal.exists():
        raise HostLacks(
            "a restore was broken off", f"{journal} says which: data was put aside and not yet replaced",
            "inv restore --undo puts it back; inv restore, with the same options, begins anew",
        )  # fmt: skip


@contextmanager
def recorded(project: Project, plan: Plan) -> Iterator[None]:
    """Keep what the block does in the audit trail, and run the operator's hooks before and after it.

    Raises OpsError, before anything has been done, where a hook refuses.
    """
    from ops.audit_log.record import audited
    from ops.cli import show
    from ops.deploy import hooks

    try:
        with audited(project, plan) as record:
            hooks.before(project, plan, show.aside, record.hooks.append)
            yield
            hooks.after(project, plan, show.aside, record.hooks.append)
    finally:
        _warn_of_host_network(project, plan)
        _hand_over(project)


def _warn_of_host_network(project: Project, plan: Plan) -> None:
    from ops.cli import show
    from ops.engines.podman.build_network import warning
    from ops.stack.images import builds

    if builds(plan) and (said := warning(project.state)):
        show.err.print(f"[bold yellow]warning:[/bold yellow] {said}")


def _hand_over(project: Project) -> None:
    """What this host knows goes to the backup and to the monitoring after each change. That it fails is worth a word, no
    more."""
    from ops.backup import host_archive as archive
    from ops.cli import show
    from ops.secrets import metrics

    try:
        for name, size in archive.left_out(archive.keep(project)).items():
            show.err.print(f"[yellow]note:[/yellow] the backup has no {name} ({size >> 20} MB, too large): copy it yourself")
        metrics.write(project.state)
    except (OSError, OpsError) as problem:
        show.err.print(f"[yellow]note:[/yellow] the backup was not told of this change: {problem}; the next one tells it")


def _keep_encrypted(project: Project) -> None:
    """What was changed beside the steps of a plan, where secrets are encrypted at rest."""
    from ops.cli import show
    from ops.secrets.at_rest import encrypted_copies as mirror

    try:
        mirror.sync(project.state.root)
    except OSError as problem:
        show.err.print(
            f"[yellow]note:[/yellow] encrypted copies of secrets are behind: {problem}; a boot would undo this change"
        )


def confirm(plan: Plan, yes: bool, word: str = "yes", *, shown: bool = False) -> None:
    """Ask where something is destroyed. Raises OpsError where the answer is not `word`.

    Parameters
    ----------
    shown: whether the operator has what the plan destroys on the screen already.
    """
    from ops.cli import show

    if not plan.destroys or yes:
        return
    for loss in () if shown else plan.destroys:
        show.out.print(f"[bold red]destroys:[/bold red] {loss}")
    if not show.ask(f"Type {word} to go on.", word):
        raise OpsError("nothing was changed", "it was not confirmed", f"type {word} when asked, or give --yes")


SECOND_LOOKS, LOOK_PAUSE = 4, 3.0
"""A busy host may answer one health check late: only what stays so is left over."""


def nothing_left(decide: Callable[[], Plan]) -> None:
    """Raises NeedsPerson where a plan that was carried out would still have something to do."""
    left = decide()
    for _ in range(SECOND_LOOKS):
        if not left.steps:
            return
        time.sleep(LOOK_PAUSE)
        left = decide()
    if left.steps:
        raise NeedsPerson(
            f"after {left.verb}, this is still not as wanted: {', '.join(step.title for step in left.steps[:5])}",
            "something changed it meanwhile, or a step did not have its effect",
            f"inv {left.verb} --plan shows what is left; inv status shows what runs",
        )
