"""execute(): how every command that changes something does so. What differs between commands is data, an `Operation`.

read and plan; show (--plan ends here); confirm, with the lock free; lock; read and plan afresh; execute; read and plan again:
nothing is left to do, or the previous state is restored.
"""

from __future__ import annotations

import re
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import AbstractContextManager, ExitStack, contextmanager, nullcontext, suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ops.cli.command import described
from ops.core.errors import LockHeld, NeedsPerson, OpsError
from ops.core.plan import Plan, Step

if TYPE_CHECKING:
    from ops.cli.show import Progress
    from ops.execution import Execution
    from ops.project import Project
    from ops.stack.wanted import Wanted

DONE, REVERTED, FAILED = "done", "reverted", "failed"


def _nothing(*_: object) -> None:
    return None


@dataclass(frozen=True)
class Revert:
    """How the previous state is restored where a plan fails, and how that is described."""

    decide: Callable[[], Decision | None]
    """Reads the host and plans the way back; None: there is nothing to revert."""
    title: str
    """What is done, as in `putting release 3 back`."""
    restored: str
    """What holds afterwards; `{seconds}` is filled in."""
    by_hand: str
    """What to type where the previous state could not be restored."""
    again: str = ""
    """The command to repeat once the cause is corrected; empty: the failure says itself what to do next."""
    unchanged: str = ""
    """Said in the place of `restored` where there is nothing to revert."""
    interrupts: bool = True
    """Whether an interrupt is reverted as well; otherwise what was done stays."""


class Observer:
    """Watches users while a plan is executed; this one watches nobody."""

    def first_touch(self) -> None:
        """Called once, before the first step that users could notice."""

    def executed(self) -> None:
        """Called when the steps have ended, whichever way."""


@dataclass(frozen=True)
class Decision:
    """What is to be done, from what this host is like now."""

    project: Project
    plan: Plan
    wanted: Wanted | None = None
    """The release that the steps belong to; None: the one that runs."""
    left: Callable[[], Plan] | None = None
    """Reads and plans again: what is still to be done. None: the plan is the wish itself, and nothing can be left over."""
    refuse: Callable[[], None] = _nothing
    """Raises where this plan may not be executed; not asked for a plan that is only shown."""
    nothing_to_do: Callable[[], None] = _nothing
    """Called under the lock where the plan is empty."""
    observe: Callable[[], AbstractContextManager[Observer]] = lambda: nullcontext(Observer())
    executed: Callable[[Decision, Execution], None] = _nothing
    """Called when the steps of this plan, or of the one that reverts it, have ended, whichever way."""
    revert: Revert | None = None
    failed: Callable[[BaseException, int], BaseException] = lambda problem, done: problem
    """What is raised for a problem that is not reverted. Given the problem, and how many steps were done."""
    ended: Callable[[str, str], None] = _nothing
    """Told the outcome (DONE, REVERTED, FAILED), and why."""


@dataclass(frozen=True)
class Operation:
    """A command that changes something, as data.

    decide: reads the host and plans; called again for every new look at it. plan_only: show the plan, and do nothing.
    yes: do not ask. word: what has to be typed where something is destroyed. check: raises where the host cannot carry the
    plan out; asked only when there is something to do.
    """

    project: Project
    verb: str
    decide: Callable[[], Decision]
    plan_only: bool = False
    yes: bool = False
    word: str = "yes"
    check: Callable[[Project], None] | None = None
    plans_first: bool = True
    """Whether a plan is made before the lock is taken: an empty one then leaves no trace, and needs no lock."""
    locks_to_plan: bool = False
    """Whether a plan that is only shown needs the lock as well."""
    shows_plan: bool = False
    """Whether the whole plan is shown before it is executed, and not only what it destroys."""
    locks: bool = True
    """Whether the project's lock is taken: not where the caller holds it, nor for a job that may run beside a deploy."""
    remembers: bool = True
    """Whether addresses and ports of the checkout are those of the project from now on."""
    journal: Path | None = None
    """None: the project's own, which belongs to the holder of the lock."""
    progress: Callable[[Progress], Progress] = lambda shown: shown
    tidy: Callable[[], None] = _nothing
    """Removes what planning has left on this host; called under the lock, whatever has become of the plan."""


@dataclass(frozen=True)
class UnderWay:
    """A plan that is being executed, for the hooks that features have registered (ops/composition.py)."""

    project: Project
    plan: Plan
    hooks: list[Mapping[str, Any]] = field(default_factory=list)
    """Outcome of each program in config/hooks/, for the audit log."""

    def say(self, text: str) -> None:
        from ops.cli import show

        show.aside(text)

    def note(self, text: str, kind: str = "[yellow]note:[/yellow]") -> None:
        note(text, kind)


def note(text: str, kind: str = "[yellow]note:[/yellow]") -> None:
    from ops.cli import show

    show.err.print(f"{kind} {text}")


def planned(project: Project, decide: Callable[[], Plan]) -> Callable[[], Decision]:
    """The decision of a command whose plan is all there is to it: afterwards, nothing of it may be left to do."""
    return lambda: Decision(project, decide(), left=decide)


READINGS, PAUSE_SECONDS = 5, 3.0
"""A busy host may answer one health check late: only what stays so is left over."""


def execute(operation: Operation) -> int:
    """Do what a command asks for. Returns the number of steps done.

    Raises what went wrong: OpsError (exit code 1) where nothing was changed or the previous state is restored, NeedsPerson (5)
    where something is left over.
    """
    from ops.cli import show

    one = operation
    if one.plan_only:
        with locked(one.project, one.verb) if one.locks_to_plan else nullcontext():
            try:
                show.plan(one.decide().plan)
            finally:
                one.tidy()
        return 0
    agreed: Plan | None = None
    if one.plans_first:
        first = one.decide()
        agreed = first.plan
        if not agreed.steps:
            show.plan(agreed)
            return 0
        if one.check:
            one.check(one.project)
        _ask(one, agreed)
        if not one.locks:
            return _execute(one, first)
    elif one.check and not one.project.state.root.exists():
        # A refused first command leaves no folder behind, of a mistyped name for example.
        one.check(one.project)
    one.project.prepare()
    return _with_consent(one, agreed)


def _with_consent(one: Operation, agreed: Plan | None) -> int:
    """Plan under the project's lock, and execute under the same lock once the operator has agreed to what the plan destroys.

    Nobody is asked while the lock is held: a question that nobody answers would stop repairs and renewals. It is asked with the
    lock free; then all is planned afresh, and asked again only where the plan destroys something else by now.
    """
    while True:
        with locked(one.project, one.verb):
            asks = False
            try:
                decision = one.decide()
                plan = decision.plan
                if plan.steps:
                    decision.refuse()
                    if one.check and not one.plans_first:
                        one.check(decision.project)
                known = agreed is not None and _gist(plan) <= _gist(agreed)
                asks = bool(plan.destroys) and not known and not one.yes
                if not asks:
                    if not known:
                        _ask(one, plan)  # nothing that waits for an answer
                    return _execute(one, decision)
            finally:
                if not asks:
                    one.tidy()
        try:
            _ask(one, plan)
        except BaseException:
            # Where another command has the lock by now, the next deploy removes it.
            if one.tidy is not _nothing:
                with suppress(LockHeld), locked(one.project, one.verb):
                    one.tidy()
            raise
        agreed = plan


def _gist(plan: Plan) -> frozenset[str]:
    """What a plan destroys, without what was measured at the moment: `postgres (1.2 GB now)`."""
    return frozenset(re.sub(r"\([^()]*\)", "", loss).strip() for loss in plan.destroys)


def _ask(one: Operation, plan: Plan) -> None:
    from ops.cli import show

    if one.shows_plan:
        show.plan(plan)
    else:
        show.loosened(plan)
    confirm(plan, one.yes, one.word, shown=one.shows_plan)


def confirm(plan: Plan, yes: bool, word: str = "yes", *, shown: bool = False) -> None:
    """Ask where something is destroyed. Raises OpsError where the answer is not `word`.

    shown: whether the operator has what the plan destroys on the screen already.
    """
    from ops.cli import show

    if not plan.destroys or yes:
        return
    for loss in () if shown else plan.destroys:
        show.out.print(f"[bold red]destroys:[/bold red] {loss}")
    if not show.ask(f"Type {word} to continue.", word):
        raise OpsError("nothing was changed", "it was not confirmed", f"type {word} when asked, or give --yes")


@contextmanager
def locked(project: Project, verb: str) -> Iterator[None]:
    """Hold the project's lock, and say where the last command on it was broken off."""
    from ops.cli import show
    from ops.composition import WHILE_LOCKED, WHILE_LOCKED_ON_CLUSTER
    from ops.core.journal import operation

    with operation(project.state, verb) as left, ExitStack() as hooks:
        if left:
            show.out.print(f"[dim]note: {left}; going on from what it left[/dim]")
        for hook in WHILE_LOCKED_ON_CLUSTER if project.cluster else WHILE_LOCKED:
            hooks.enter_context(hook(project, verb, note))
        yield


@contextmanager
def recorded(project: Project, plan: Plan) -> Iterator[None]:
    """Run the hooks of all features around a change: the audit log has it, the backup and the metrics follow it.

    Raises OpsError, before anything has been done, where a hook refuses.
    """
    from ops.composition import WHILE_EXECUTING, WHILE_EXECUTING_ON_CLUSTER

    under_way = UnderWay(project, plan)
    with ExitStack() as hooks:
        for hook in WHILE_EXECUTING_ON_CLUSTER if project.cluster else WHILE_EXECUTING:
            hooks.enter_context(hook(under_way))
        yield


def _execute(one: Operation, decision: Decision) -> int:
    from ops.cli import show

    if not decision.plan.steps:
        show.plan(decision.plan)
        decision.nothing_to_do()
        return 0
    if one.remembers:
        decision.project.remember()
    with recorded(decision.project, decision.plan):
        _Run(one, decision).run()
    return len(decision.plan.steps)


class _Run:
    """One execution of a plan, from its first step to its outcome."""

    def __init__(self, operation: Operation, decision: Decision) -> None:
        self.operation, self.decision, self.project = operation, decision, decision.project
        self.done: list[str] = []

    def run(self) -> None:
        try:
            with self.decision.observe() as observer:
                try:
                    self._steps(self.decision, observer.first_touch)
                finally:
                    observer.executed()
                _verify_nothing_left(self.decision)
        except (Exception, KeyboardInterrupt) as problem:
            # Also what nobody has foreseen: users are not to be left half way.
            revert = self.decision.revert
            if revert and (revert.interrupts or not isinstance(problem, KeyboardInterrupt)):
                self._revert(problem, revert)
            failure = self.decision.failed(problem, len(self.done))
            if failure is problem:
                raise
            raise failure from problem
        self.decision.ended(DONE, "")

    def _steps(self, decision: Decision, first_touch: Callable[[], None] = lambda: None) -> None:
        from ops.cli import show
        from ops.core.executor import run_plan
        from ops.core.journal import Journal
        from ops.execution import Execution

        journal = Journal.of_this_process(self.operation.journal or self.project.state.journal)
        with show.progress(len(decision.plan.steps)) as shown:
            progress = self.operation.progress(shown)
            wanted = decision.wanted or self.project.deployed
            execution = Execution(self.project, progress.report, wanted, first_touch)

            def do(step: Step) -> None:
                execution.do(step)
                self.done.append(step.key)

            try:
                run_plan(decision.plan, do, journal, progress)
            finally:
                self.decision.executed(decision, execution)

    def _revert(self, problem: BaseException, revert: Revert) -> None:
        """Restore the previous state; without effect where there is nothing to revert.

        Raises what went wrong: as an interrupt or with exit code 1 where the previous state is restored, 5 where not.
        """
        from ops.cli import show

        said, began = described(problem), time.monotonic()
        why = f"{said.what}: {said.why}"
        try:
            back = revert.decide()
            if back is None:
                return
            if back.plan.steps:
                show.err.print(f"{why}: {revert.title}")
                self._steps(back)
                _verify_nothing_left(back)
        except (KeyboardInterrupt, Exception) as second:
            self.decision.ended(FAILED, why)
            other = described(second)
            because = "interrupted" if isinstance(second, KeyboardInterrupt) else f"{other.what}: {other.why}"
            raise NeedsPerson(
                said.what, f"{said.why}; {revert.title} failed as well: {because}", revert.by_hand, said.details
            ) from second
        if not back.plan.steps and revert.unchanged:
            kind = OpsError if isinstance(said, NeedsPerson) else type(said)
            raise kind(said.what, said.why, f"{revert.unchanged}; {said.next_step}", said.details)
        self.decision.ended(REVERTED, why)
        restored = revert.restored.format(seconds=f"{time.monotonic() - began:.1f} s")
        if isinstance(problem, KeyboardInterrupt):
            raise KeyboardInterrupt(restored) from problem
        then = said.next_step if not revert.again or type(said) is NeedsPerson else "correct the cause"
        again = f", then {revert.again}" if revert.again else ""
        raise OpsError(said.what, said.why, f"{restored}; {then}{again}", said.details) from problem


def _verify_nothing_left(decision: Decision) -> None:
    """Raises NeedsPerson where a plan that was executed would still have something to do."""
    if decision.left is None or not decision.project.state.root.exists():
        return
    for reading in range(READINGS):
        if reading:
            time.sleep(PAUSE_SECONDS)
        left = decision.left()
        if not left.steps:
            return
    raise NeedsPerson(
        f"after {left.verb}, this is still not as wanted: {', '.join(step.title for step in left.steps[:5])}",
        "something changed it meanwhile, or a step did not have its effect",
        f"inv {left.verb} --plan shows what is left; inv status shows what runs",
    )
