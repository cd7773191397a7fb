"""From the release that runs to another one, and back where that fails: what deploy, rollback and scale have in common."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import AbstractContextManager, ExitStack, contextmanager, nullcontext
from dataclasses import dataclass, replace
from functools import partial
from typing import TYPE_CHECKING, Any

from ops.cli.command import described
from ops.cli.execute import DONE, FAILED, Decision, Observer, Operation, Revert, execute, note
from ops.core import machine
from ops.core.errors import HostLacks, OpsError
from ops.core.plan import STAMP
from ops.deploy.participant import FORWARD, Rules, participants, served
from ops.stack.model import EDGE

if TYPE_CHECKING:
    from ops.core.plan import Plan
    from ops.deploy.containers import Options
    from ops.deploy.measurement import Measurement
    from ops.execution import Execution
    from ops.project import Project
    from ops.stack.model import Seen
    from ops.stack.wanted import Wanted


BASELINE_SECONDS = 1.0
"""How long users are watched at the least before anything is touched, to have something to compare with."""
AFTER_SECONDS = 1.0
LONGEST = 4 * 3600.0
"""The prober ends by itself then, whatever has become of the command."""


BUILDING = ("deploy",)
"""Commands that build what is missing; the others go to what this host has run before."""


@dataclass(frozen=True)
class Goal:
    """Where a command wants to get."""

    verb: str
    project: Project
    want: Callable[[Seen | None], Wanted]
    """The wanted release, given what was observed; None: before that, for the containers to observe."""
    options: Options
    only: str | None = None
    without: Callable[[Seen], Seen] = lambda seen: seen
    """Adds which optional services cannot be had."""
    extend: Callable[[Plan, Seen], Plan] = lambda plan, seen: plan
    """Adds what a release does not say."""
    undo: Callable[[], None] = lambda: None
    """Reverts what was done outside of the release, before the previous one is restored."""
    rules: Rules = FORWARD
    """What it may do to data that moves along with the release."""
    accept_violations: bool | None = None
    """Whether the operator accepts policy violations; None where the release was admitted before."""

    def decide(self) -> tuple[Wanted, Seen, Plan]:
        """Observe, then plan."""
        from ops.deploy.plan import plan_deploy
        from ops.observed import observe
        from ops.project import targets_of
        from ops.stack.images import tags_of
        from ops.store.releases import next_number

        project = self.project
        first = self.want(None)
        with ExitStack() as held:
            readings = [held.enter_context(one.reading(project, first, self.only)) for one in participants()]
            targets = targets_of(project.state, first.stack, first.allocation)
            seen = self.without(observe(project, targets, tags_of(first.images.values())))
            wanted = self.want(seen)
            for read in readings:
                seen = read(wanted, seen)
        plan = plan_deploy(
            wanted, seen, only=self.only, verb=self.verb, options=self.options, next_number=next_number(project.state)
        )
        plan = self.extend(plan, seen)
        for one in participants():
            plan = one.completed(project, plan, wanted, seen, self.rules)
        return wanted, seen, self._admitted(plan, wanted)

    def _admitted(self, plan: Plan, wanted: Wanted) -> Plan:
        """The plan with what it loosens, where that was not decided before."""
        from ops.policies.admission import new_exemptions

        if self.accept_violations is None or not plan.steps:
            return plan
        running = self.project.release
        exemptions = new_exemptions(wanted.stack, running.stack if running else None)
        return replace(plan, violations=wanted.violations, exemptions=exemptions)


def back_to(project: Project, number: int, rules: Rules = FORWARD) -> Goal:
    """A sealed release of this host as the goal: no build, no network, no migration, no settling: it has served before.

    Its secrets are today's: one that was rotated since is not accepted any more, and never comes back.
    """
    sealed = project.wanted_again(number)
    return replace(again(project, sealed, "rollback", rules=rules), want=partial(with_todays_secrets, sealed))


def with_todays_secrets(wanted: Wanted, seen: Seen | None) -> Wanted:
    """A release with the newest version of each secret; as it is where nothing was seen yet."""
    from ops.stack.wanted import with_versions

    return with_versions(wanted, seen.secret_versions) if seen else wanted


def again(project: Project, wanted: Wanted, verb: str, **more: Any) -> Goal:
    """What this host has run before as the goal: nothing is built or migrated, and what was left out stays out.

    more: `extend`, `undo` and `rules` of the goal.
    """
    from ops.deploy.containers import Options

    return Goal(verb, project, lambda seen: wanted, Options(migrate=False), without=left_out_of(wanted), **more)


def left_out_of(wanted: Wanted) -> Callable[[Seen], Seen]:
    """Adds the optional services that a sealed release does without."""

    def without(seen: Seen) -> Seen:
        absent = set(wanted.images) - {
            name for name, service in wanted.stack.services.items() if service.slots()[0] in wanted.compose["services"]
        }
        return replace(seen, unavailable=dict.fromkeys(absent, "it was left out of that release"))

    return without


def refuse_missing_images(goal: Goal, plan: Plan) -> None:
    """Raises HostLacks where a sealed release would need an image that is gone: nothing is built on the way back."""
    from ops.images.steps import BuildImage, FetchImage, ObtainBase

    gone = [step.key for step in plan.steps if isinstance(step, BuildImage | FetchImage | ObtainBase)]
    if gone:
        raise HostLacks(
            "images of that release are no longer on this host", f"missing: {', '.join(gone)}; nothing was changed",
            "inv releases shows others; inv images.load loads them from an archive",
        )  # fmt: skip


def change_release(
    aim: Callable[[], Goal], *, plan_only: bool = False, yes: bool = False, check: Callable[[Project], None] | None = None
) -> int:
    """Go to another release under measurement; restore the previous one where that fails or costs users too much.

    `aim` reads this host and says where to get; it is asked again under the lock: another command may have ended meanwhile.

    Returns the number of steps done. Raises what went wrong: with exit code 1 where the previous release serves again, 5 where
    a person is needed.
    """
    first = aim()

    def decide() -> Decision:
        return _decided(first if plan_only else aim())

    return execute(Operation(
        first.project, first.verb, decide, plan_only=plan_only, yes=yes, check=check, plans_first=False,
    ))  # fmt: skip


def _decided(goal: Goal) -> Decision:
    from ops.policies.admission import refuse_violations

    wanted, seen, plan = goal.decide()
    if goal.verb not in BUILDING:
        refuse_missing_images(goal, plan)
    attempt = _Attempt(goal, wanted, seen, plan)
    return Decision(
        goal.project, plan, wanted, left=lambda: goal.decide()[2],
        refuse=partial(refuse_violations, plan, bool(goal.accept_violations)),
        nothing_to_do=partial(_recognise, goal.project), observe=attempt.observe, executed=attempt.executed,
        revert=attempt.revert, failed=attempt.failed, ended=attempt.record,
    )  # fmt: skip


def _recognise(project: Project) -> None:
    """A release that is as wanted has served, also where the command that deployed it was killed before it said so."""
    from ops.stack.release import GOOD, Activation, good_releases
    from ops.store.releases import activations, current_number, record_activation

    number = current_number(project.state)
    if number is not None and number not in good_releases(activations(project.state)):
        record_activation(
            project.state, Activation(number, "deploy", machine.now(), GOOD, why="found to serve after a broken-off one")
        )


class _Attempt:
    """One activation: what users notice of it, what reverts it, and its record."""

    def __init__(self, goal: Goal, wanted: Wanted, seen: Seen, plan: Plan) -> None:
        from ops.releases.steps import seals
        from ops.stack.release import good_releases
        from ops.store.releases import activations, current_number, next_number

        self.goal, self.seen, self.plan = goal, seen, plan
        self.project, self.state = goal.project, goal.project.state
        self.began, self.stamp = time.monotonic(), time.strftime(STAMP, time.gmtime())
        good = good_releases(activations(self.state))
        now = current_number(self.state)
        older = [number for number in good if now is None or number <= now]
        self.previous = now if now in good else max(older, default=None)
        makes = any(map(seals, plan.steps))
        self.number = wanted.number or (next_number(self.state) if makes else now) or 0
        self.gaps: dict[str, float] = {}
        self.interruptions: list[tuple[float, float]] = []
        """When requests failed as the plan had announced, in seconds since the epoch."""
        self.summary: dict[str, Any] | None = None

    def observe(self) -> AbstractContextManager[Observer]:
        """The prober, where there is a site that can be asked and something that it could notice."""
        self.began = time.monotonic()
        serving = EDGE in self.seen.containers and self.seen.containers[EDGE].state == "running"
        if self.previous is None or not serving or not self.plan.changes:
            return nullcontext(Observer())
        return self._measured()

    @contextmanager
    def _measured(self) -> Iterator[Observer]:
        from ops.deploy.measure import summarise
        from ops.deploy.measurement import measured

        project = self.project
        with measured(project.settings, project.ports, self.state, LONGEST) as found:
            users = _Users(found)
            yield users
            time.sleep(max(0.0, users.ended + AFTER_SECONDS - time.time()))
        self.interruptions += [(users.touched, users.ended)] if self.plan.stops_requests else []
        self.summary = {**summarise(found.samples, users.touched, users.ended, self.interruptions), "note": found.note}
        self._refuse_the_cost(self.summary)

    def _refuse_the_cost(self, summary: Mapping[str, Any]) -> None:
        """Raises OpsError where users paid more than the settings allow, and the plan had not announced it."""
        budget = self.project.settings.deploy.failed_requests
        failed = summary["failed"] - summary["announced"]
        if summary["failed_before"] or failed <= budget:
            return
        first = next(failure for failure in summary["failures"] if not failure.get("announced"))
        beside = f", and {summary['announced']} more as announced" if summary["announced"] else ""
        raise OpsError(
            f"{failed} of {summary['requests']} requests failed meanwhile{beside}; deploy.failed_requests allows {budget}",
            f"the first: {first['kind']} at {time.strftime('%H:%M:%S', time.localtime(first['at']))}: {first['why']}",
            "inv logs nginx --since 10m",
        )  # fmt: skip

    def executed(self, decision: Decision, execution: Execution) -> None:
        """Remember how long each service was away, and when requests failed as announced."""
        services = (decision.wanted or self.project.deployed).stack.services
        for change in decision.plan.changes:
            # What was rolled was never away, though its container was.
            if change.action == "recreate" and change.service in execution.gaps:
                self.gaps[change.service] = execution.gaps[change.service]
            service = services.get(change.service)
            if service and change.stops_requests:
                self.interruptions += (away for slot in service.slots() for away in execution.away.get(slot, ()))

    def failed(self, problem: BaseException, done: int) -> BaseException:
        """Record what is not reverted, and describe it: an interrupt with the state that it leaves, and the ways out."""
        from ops.store.releases import current_number

        if not isinstance(problem, KeyboardInterrupt):
            failure = described(problem)
            self.record(FAILED, f"{failure.what}: {failure.why}")
            return failure
        verb, now = self.goal.verb, current_number(self.state)
        said = f"{done} of {len(self.plan.steps)} steps were done and stay done; release {now or '–'} is the current one"
        back = f", inv rollback --to {self.previous} returns to the previous release" if self.previous else ""
        self.record("interrupted", "by the operator")
        return KeyboardInterrupt(f"{said}; inv {verb} continues{back}")

    @property
    def revert(self) -> Revert | None:
        """Back to the release before this one, where there is one that has served."""
        if self.previous is None:
            return None
        number = self.previous
        return Revert(
            partial(self._back_to, number), f"reverting to release {number}",
            restored=f"release {number} serves as before, reverted in {{seconds}}",
            by_hand=f"inv status shows what serves; inv rollback --to {number} tries again",
            again=f"inv {self.goal.verb}", unchanged="nothing was changed", interrupts=False,
        )  # fmt: skip

    def _back_to(self, number: int) -> Decision:
        self.goal.undo()
        goal = back_to(self.project, number, Rules(own_since=self.stamp))
        wanted, _, plan = goal.decide()
        refuse_missing_images(goal, plan)
        return Decision(self.project, plan, wanted, left=lambda: goal.decide()[2])

    def record(self, outcome: str, why: str) -> None:
        """That it fails (a full disk) is worth a note: it hides neither what happened nor what serves."""
        from ops.stack.release import GOOD, Activation
        from ops.store.releases import record_activation

        outcome = GOOD if outcome == DONE else outcome
        try:
            record_activation(self.state, Activation(
                release=self.number, verb=self.goal.verb, at=machine.now(), outcome=outcome,
                seconds=round(time.monotonic() - self.began, 1), why=why, previous=self.previous, requests=self.summary,
                gaps=self.gaps,
            ))  # fmt: skip
        except OSError as problem:
            note(f"release {self.number} is {outcome}; not written down: {problem.strerror}")
        if outcome == GOOD:
            self._clean_up()

    def _clean_up(self) -> None:
        """Remove releases and images that nothing needs any more. That it fails is worth a note, no more."""
        from ops.releases.retention import clean_up

        try:
            clean_up(self.project, served)
        except Exception as problem:
            failure = described(problem)
            note(f"old releases could not be cleaned up: {failure.what}: {failure.why}")


class _Users(Observer):
    """What the prober is asked for by execute(): when users could notice something at first, and at last."""

    def __init__(self, found: Measurement) -> None:
        self.found = found
        self.touched = self.ended = time.time()

    def first_touch(self) -> None:
        # What was done until then (an image, a file, a container that does not run yet) is part of "before".
        self.found.baseline(BASELINE_SECONDS)
        self.touched = time.time()

    def executed(self) -> None:
        self.ended = time.time()
