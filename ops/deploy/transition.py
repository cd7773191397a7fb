"""From the release that runs to another one, and back where that fails: what deploy, rollback and scale have in common."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass, replace
from functools import partial
from typing import TYPE_CHECKING, Any

from ops.cli.command import as_told, confirm, nothing_left, recorded, refuse_before_anything, with_consent
from ops.core.errors import HostLacks, NeedsPerson, OpsError
from ops.keycloak.schema.dumps import STAMP
from ops.keycloak.schema.upgrade import FORWARD, Rules
from ops.stack.model import EDGE

if TYPE_CHECKING:
    from ops.core.plan import Plan, Step
    from ops.deploy.containers import Options
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
    """The wanted release, given what was seen; None where only the containers to look at are asked for."""
    options: Options
    only: str | None = None
    without: Callable[[Seen], Seen] = lambda seen: seen
    """Adds which optional services cannot be had."""
    extend: Callable[[Plan, Seen], Plan] = lambda plan, seen: plan
    """Adds what a release does not say."""
    undo: Callable[[], None] = lambda: None
    """Takes back what was done outside of the release, before the last one is put back."""
    rules: Rules = FORWARD
    """What it may do to Keycloak's database."""
    accept_violations: bool | None = None
    """Whether the operator accepts policy violations; None where the release was admitted before."""

    def decide(self) -> tuple[Wanted, Seen, Plan]:
        """Observe, then plan."""
        from ops.deploy.plan import plan_deploy
        from ops.engines.podman.observe import observe
        from ops.keycloak.realm.deploy import ONLY, SERVICE
        from ops.keycloak.realm.live import realm_seen
        from ops.keycloak.schema.observed import with_schema
        from ops.project import targets_of
        from ops.releases.store import next_number

        project = self.project
        first = self.want(None)
        with realm_seen(project, first.realm if self.only in (None, ONLY, SERVICE) else "") as realm:
            seen = self.without(observe(project.host, targets_of(project.state, first.stack, first.allocation)))
            wanted = self.want(seen)
            seen = replace(seen, realm=realm(wanted.versions))
        plan = plan_deploy(
            wanted, seen, only=self.only, verb=self.verb, options=self.options, next_number=next_number(project.state)
        )
        plan = with_schema(project, self.extend(plan, seen), wanted, seen, self.rules, wanted.number or 0)
        return wanted, seen, self._admitted(plan, wanted)

    def _admitted(self, plan: Plan, wanted: Wanted) -> Plan:
        """The plan with what it loosens, where that was not decided before."""
        from ops.security_audit.admission import new_exemptions

        if self.accept_violations is None or not plan.steps:
            return plan
        running = self.project.release
        exemptions = new_exemptions(wanted.stack, running.stack if running else None)
        return replace(plan, violations=wanted.violations, exemptions=exemptions)


def back_to(project: Project, number: int, rules: Rules = FORWARD) -> Goal:
    """A sealed release of this host as the goal: no build, no network, no migration, no settling: it has served before.

    Its secrets are today's: one that was rotated since is not accepted any more, and never comes back.
    """
    from ops.engines.podman.observe import secret_versions
    from ops.stack.wanted import with_versions

    wanted = with_versions(project.wanted_again(number), secret_versions(project.state))
    return again(project, wanted, "rollback", rules=rules)


def again(project: Project, wanted: Wanted, verb: str, **more: Any) -> Goal:
    """What this host has run before as the goal: nothing is built or migrated, and what was left out stays out.

    Parameters
    ----------
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
    from ops.deploy.steps import BuildImage, FetchImage, ObtainBase

    gone = [step.key for step in plan.steps if isinstance(step, BuildImage | FetchImage | ObtainBase)]
    if gone:
        raise HostLacks(
            "images of that release are no longer on this host", f"missing: {', '.join(gone)}; nothing was touched",
            "inv releases shows others; inv images.load takes them from an archive",
        )  # fmt: skip


def bring_about(
    aim: Callable[[], Goal], *, plan_only: bool = False, yes: bool = False, check: Callable[[Project], None] | None = None
) -> int:
    """Plan, confirm with the lock free, plan afresh, apply under measurement; put everything back where it fails or costs too
    much.

    `aim` reads this host and says where to get; it is asked again under the lock: another command may have ended meanwhile.

    Returns the number of steps done. Raises what went wrong: with exit code 1 where the old release serves again, 5 where
    a person is needed.
    """
    from ops.cli import show
    from ops.security_audit.admission import refuse_violations

    goal = aim()
    project = goal.project
    if plan_only:
        _, _, plan = goal.decide()
        if goal.verb not in BUILDING:
            refuse_missing_images(goal, plan)
        show.plan(plan)
        return 0
    refuse_before_anything(project, check)
    project.host.prepare()

    def decided() -> tuple[Plan, Callable[[], int]]:
        goal = aim()
        wanted, seen, plan = goal.decide()
        if goal.verb not in BUILDING:
            refuse_missing_images(goal, plan)
        if plan.steps:
            refuse_violations(plan, bool(goal.accept_violations))
            if check:
                check(goal.project)
        return plan, partial(_carry_out, goal, wanted, seen, plan)

    def ask(plan: Plan) -> None:
        show.loosened(plan)
        confirm(plan, yes)

    return with_consent(project, goal.verb, decided, ask, yes=yes)


def _carry_out(goal: Goal, wanted: Wanted, seen: Seen, plan: Plan) -> int:
    from ops.cli import show

    project = goal.project
    if not plan.steps:
        show.plan(plan)
        _recognise(project)
        return 0
    project.remember()
    with recorded(project, plan):
        _Attempt(goal, wanted, seen, plan).run()
    return len(plan.steps)


def _recognise(project: Project) -> None:
    """A release that is as wanted has served, also where the command that brought it about was killed before it said so."""
    from ops.releases.store import activations, current_number, record_activation
    from ops.stack.release import GOOD, Activation, good_releases

    number = current_number(project.state)
    if number is not None and number not in good_releases(activations(project.state)):
        record_activation(
            project.state, Activation(number, "deploy", _now(), GOOD, why="found to serve after a broken-off one")
        )


def _now() -> str:
    return time.strftime("%Y-%m-%dT%H:%M:%S%z")


class _Attempt:
    """One activation, from its first step to its record."""

    def __init__(self, goal: Goal, wanted: Wanted, seen: Seen, plan: Plan) -> None:
        from ops.releases.store import activations, current_number, next_number
        from ops.stack.release import good_releases

        self.goal, self.wanted, self.seen, self.plan = goal, wanted, seen, plan
        self.project, self.state = goal.project, goal.project.state
        self.began, self.stamp = time.monotonic(), time.strftime(STAMP, time.gmtime())
        good = good_releases(activations(self.state))
        now = current_number(self.state)
        older = [number for number in good if now is None or number <= now]
        self.previous = now if now in good else max(older, default=None)
        makes = any(step.key == "release" for step in plan.steps)
        self.number = wanted.number or (next_number(self.state) if makes else now) or 0
        self.gaps: dict[str, float] = {}
        self.interruptions: list[tuple[float, float]] = []
        """When requests failed as the plan had announced, in seconds since the epoch."""
        self.done: list[str] = []
        self.summary: dict[str, Any] | None = None

    def run(self) -> None:
        from ops.stack.release import GOOD

        try:
            self._measure()
            self._refuse_the_cost()
        except KeyboardInterrupt as interrupt:
            state = self._left()
            self._record("interrupted", "by the operator")
            raise KeyboardInterrupt(state) from interrupt
        except Exception as problem:
            # Also what nobody has foreseen: users are not to be left with half a release.
            self._put_back(as_told(problem))
        self._record(GOOD)
        self._clean_up()

    def _left(self) -> str:
        """The state in which an interrupt leaves this host, and the ways out."""
        from ops.releases.store import current_number

        verb, now = self.goal.verb, current_number(self.state)
        said = (
            f"{len(self.done)} of {len(self.plan.steps)} steps were done and stay done; release {now or '–'} is the current one"
        )
        back = f", inv rollback --to {self.previous} goes back" if self.previous else ""
        return f"{said}; inv {verb} goes on{back}"

    def _measure(self) -> None:
        """Do the work while the prober asks, where there is a site that can be asked and something that it could notice."""
        from ops.deploy.measure import summarise
        from ops.deploy.measurement import measured

        serving = EDGE in self.seen.containers and self.seen.containers[EDGE].state == "running"
        if self.previous is None or not serving or not self.plan.changes:
            self._apply(self.goal, self.wanted, self.plan)
            nothing_left(lambda: self.goal.decide()[2])
            return
        project = self.project
        touched = [time.time()]

        def first_touch() -> None:
            # What was done until then (an image, a file, a container that does not run yet) is part of "before".
            found.baseline(BASELINE_SECONDS)
            touched[0] = time.time()

        with measured(project.settings, project.ports, self.state, LONGEST) as found:
            try:
                self._apply(self.goal, self.wanted, self.plan, first_touch)
            finally:
                ended = time.time()
                self.interruptions += [(touched[0], ended)] if self.plan.stops_requests else []
            nothing_left(lambda: self.goal.decide()[2])
            time.sleep(max(0.0, ended + AFTER_SECONDS - time.time()))
        self.summary = {**summarise(found.samples, touched[0], ended, self.interruptions), "note": found.note}

    def _refuse_the_cost(self) -> None:
        """Raises OpsError where users paid more than the settings allow, and the plan had not announced it."""
        summary = self.summary
        budget = self.project.settings.get("deploy", "failed_requests")
        if not summary or summary["failed_before"]:
            return
        failed = summary["failed"] - summary["announced"]
        if failed <= budget:
            return
        first = next(failure for failure in summary["failures"] if not failure.get("announced"))
        beside = f", and {summary['announced']} more as announced" if summary["announced"] else ""
        raise OpsError(
            f"{failed} of {summary['requests']} requests failed meanwhile{beside}; deploy.failed_requests allows {budget}",
            f"the first: {first['kind']} at {time.strftime('%H:%M:%S', time.localtime(first['at']))}: {first['why']}",
            "inv logs nginx --since 10m",
        )  # fmt: skip

    def _apply(
        self, goal: Goal, wanted: Wanted, plan: Plan, first_touch: Callable[[], None] = lambda: None
    ) -> None:  # fmt: skip
        from ops.cli import show
        from ops.core.execute import apply
        from ops.core.journal import Journal
        from ops.execution import Execution

        journal = Journal.of_this_process(self.state.journal)
        with show.progress(len(plan.steps)) as progress:
            performer = Execution(self.project, progress.report, wanted, first_touch)

            def do(step: Step) -> None:
                performer.do(step)
                self.done.append(step.key)

            try:
                apply(plan, do, journal, progress)
            finally:
                for change in plan.changes:
                    # What was rolled was never away, though its container was.
                    if change.action == "recreate" and change.service in performer.gaps:
                        self.gaps[change.service] = performer.gaps[change.service]
                    service = wanted.stack.services.get(change.service)
                    if service and change.stops_requests:
                        self.interruptions += (away for slot in service.slots() for away in performer.away.get(slot, ()))

    def _put_back(self, problem: OpsError) -> None:
        """Raises `problem`, told as what it has come to."""
        why = f"{problem.what}: {problem.why}"
        if self.previous is None:
            self._record("failed", why)
            raise problem
        began = time.monotonic()
        try:
            self.goal.undo()
            changed = self._restore(problem, self.previous)
        except (KeyboardInterrupt, Exception) as second:
            self._record("failed", why)
            told = as_told(second)
            said = "interrupted" if isinstance(second, KeyboardInterrupt) else f"{told.what}: {told.why}"
            raise NeedsPerson(
                problem.what, f"{problem.why}; putting release {self.previous} back failed as well: {said}",
                f"inv status shows what serves; inv rollback --to {self.previous} tries again", problem.details,
            ) from second  # fmt: skip
        if not changed:
            kind = OpsError if isinstance(problem, NeedsPerson) else type(problem)
            raise kind(problem.what, problem.why, f"nothing was changed; {problem.next_step}", problem.details)
        self._record("reverted", why)
        then = problem.next_step if type(problem) is NeedsPerson else "correct the cause"
        raise OpsError(
            problem.what, problem.why,
            f"release {self.previous} serves as before, put back in {time.monotonic() - began:.1f} s; "
            f"{then}, then inv {self.goal.verb}",
            problem.details,
        )  # fmt: skip

    def _restore(self, problem: OpsError, number: int) -> bool:
        """Bring the release before this one about again; whether there was anything to do."""
        from ops.cli import show

        goal = back_to(self.project, number, Rules(own_since=self.stamp))
        wanted, _, plan = goal.decide()
        refuse_missing_images(goal, plan)
        if not plan.steps:
            return False
        show.err.print(f"{problem.what}: putting release {number} back")
        self._apply(goal, wanted, plan)
        nothing_left(lambda: goal.decide()[2])
        return True

    def _record(self, outcome: str, why: str = "") -> None:
        """That it fails (a full disk) is worth a word: it hides neither what happened nor what serves."""
        from ops.cli import show
        from ops.releases.store import record_activation
        from ops.stack.release import Activation

        try:
            record_activation(self.state, Activation(
                release=self.number, verb=self.goal.verb, at=_now(), outcome=outcome,
                seconds=round(time.monotonic() - self.began, 1), why=why, previous=self.previous, requests=self.summary,
                gaps=self.gaps,
            ))  # fmt: skip
        except OSError as problem:
            show.err.print(f"[yellow]note:[/yellow] release {self.number} is {outcome}; not written down: {problem.strerror}")

    def _clean_up(self) -> None:
        """Releases and images that nothing needs any more. That it fails is worth a word, no more."""
        from ops.cli import show
        from ops.releases.retention import clean_up

        try:
            clean_up(self.project)
        except Exception as problem:
            told = as_told(problem)
            show.err.print(f"[yellow]note:[/yellow] old releases could not be cleaned up: {told.what}: {told.why}")
