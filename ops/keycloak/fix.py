"""inv keycloak.fix: repair Keycloak, one finding at a time, verified by real logins, reverted where it does not help."""

from __future__ import annotations

import sys
import time
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any

from invoke import Context

from ops.cli.command import described, print_json, verb
from ops.cli.execute import Decision, Operation, execute, locked
from ops.core import machine
from ops.core.errors import HostLacks, NeedsPerson, OpsError
from ops.core.plan import Plan
from ops.keycloak.repair import undo_steps as undo

if TYPE_CHECKING:
    from ops.keycloak.failures.failure import Diagnosis, Finding
    from ops.keycloak.repair.situation import Repair, Situation
    from ops.keycloak.repair.undo_steps import Entry
    from ops.project import Project
    from ops.stack.wanted import Wanted

VERB = "keycloak.fix"
ROUNDS = 12
"""Repairs in one run: three times what two faults with every way tried would take."""
LOOKS, PAUSE = 5, 2.0
"""A fault that shows for a moment after a restart (nginx has not asked again yet) is looked at again before it counts."""
VERIFY_SECONDS = 30
STARTING_SECONDS = 120.0
"""How long a start that shows no fault is waited for; a migration may take longer, and is left alone."""


@verb(help={
    "plan": "show every finding with what would be done first, and do nothing",
    "yes": "do not ask: not before a Keycloak that serves is restarted, an earlier release comes back, a container of somebody "
    "else is stopped, or locks are cleared during an attack",
    "json": "print the outcome for other programs",
})  # fmt: skip
def fix(c: Context, plan: bool = False, yes: bool = False, json: bool = False) -> None:
    """Repair Keycloak, verified by real logins.

    Stops a crash loop, makes a dump, applies one repair at a time and undoes one that does not help."""
    from ops.cli import show
    from ops.project import must_exist, open_project
    from ops.releases.situation import must_run

    project = must_exist(open_project())
    if json:
        show.out.file = sys.stderr
    must_run(project)
    run = _Run(project, yes=yes, quiet=json)
    if plan:
        run.show_plan()
        if json:
            print_json(run.as_json(planned=True))
        return
    project.host.prepare()
    try:
        run.run()
    except KeyboardInterrupt as interrupt:
        raise KeyboardInterrupt(f"{len(run.done)} repairs are not verified yet; inv keycloak.fix continues") from interrupt
    except Exception as problem:
        run.problem = described(problem)
        raise run.problem from problem
    finally:
        if json:
            print_json(run.as_json(planned=False))


def escape(text: str) -> str:
    """Text that is shown as it is, and is no markup."""
    from rich.markup import escape

    return escape(text)


@dataclass
class Done:
    """One repair that was carried out. outcome: `kept`, `undone`."""

    repair: Repair
    wanted: Wanted | None
    """The release that was the current one before it."""
    steps: list[dict[str, Any]] = field(default_factory=list)
    entries: list[Entry] = field(default_factory=list)
    """What undoes it."""
    seconds: float = 0.0
    outcome: str = ""
    why: str = ""

    def as_json(self) -> dict[str, Any]:
        return {
            "finding": self.repair.finding, "kind": self.repair.kind, "title": self.repair.title, "steps": self.steps,
            "seconds": round(self.seconds, 1), "outcome": self.outcome, "why": self.why,
        }  # fmt: skip


@dataclass
class _Run:
    project: Project
    yes: bool
    quiet: bool
    began: float = field(default_factory=time.monotonic)
    done: list[Done] = field(default_factory=list)
    tried: set[tuple[str, str]] = field(default_factory=set)
    agreed: set[tuple[str, str]] = field(default_factory=set)
    known: set[str] | None = None
    """Findings that the operator was told of."""
    verified: list[str] = field(default_factory=list)
    left: list[dict[str, Any]] = field(default_factory=list)
    problem: OpsError | None = None

    # Looking.

    def look(self) -> tuple[Situation, Diagnosis]:
        from ops.keycloak.failures.diagnose import diagnose
        from ops.keycloak.repair.observed import situation

        found = situation(self.project)
        return found, diagnose(found.facts)

    def settled(self, known: set[str] | None) -> tuple[Situation, Diagnosis]:
        """Look until what is seen stays: a start has ended, and nothing is new.

        known: findings that are believed at once; None: all are.
        """
        from ops.keycloak.repair.plan import unsettled

        ends, looks = time.monotonic() + STARTING_SECONDS, 0
        while True:
            found, diagnosis = self.look()
            fresh = set() if known is None else unsettled(diagnosis.findings) - known
            # The log alone may tell of a failure that is over: what could not be read is asked for again before it is believed.
            again = fresh or (diagnosis.unread and not any(finding.certain for finding in diagnosis.findings))
            looks += bool(again)
            waits = (found.facts.starting and not diagnosis.findings) or (again and looks < LOOKS)
            if not waits or time.monotonic() > ends:
                return found, diagnosis
            time.sleep(PAUSE)

    def say(self, text: str) -> None:
        from ops.cli import show

        show.out.print(text)

    def show_plan(self) -> None:
        from ops.keycloak.repair.plan import decide, nothing_may_be_made
        from ops.keycloak.repair.situation import Repair

        found, diagnosis = self.look()
        for drift in found.drift:
            self.say(f"[dim]differs from the release: {escape(drift)}[/dim]")
        for finding in diagnosis.findings:
            self.say(f"[bold]{escape(finding.title)}[/bold] [dim]{finding.id}[/dim]: {escape('; '.join(finding.saw))}")
            way = decide(found, finding, full=nothing_may_be_made(diagnosis))
            if isinstance(way, Repair):
                self.say(f"  repair: {escape(way.title)}; users: {escape(way.notice)}; undo: {escape(way.undo)}")
                self._left(finding, [step.title for step in way.steps], mends=True)
            else:
                self.say("  not repaired here:")
                self._left(finding, list(way.lines), mends=False)
        if not diagnosis.findings:
            self.say("no finding: nothing to repair")
        else:
            self.say("then: verify by the discovery document, two tokens and a userinfo call; the gravest cause goes first")
        if diagnosis.unread and not diagnosis.findings:
            raise HostLacks("Keycloak could not be inspected completely", diagnosis.unread[0], "inv status; then run it again")

    def _left(self, finding: Finding, steps: list[str], *, mends: bool) -> None:
        for number, title in enumerate(steps, 1):
            self.say(f"  {number:2}. {escape(title)}")
        self.left.append({"id": finding.id, "title": finding.title, "mends": mends, "steps": steps})

    def as_json(self, *, planned: bool) -> dict[str, Any]:
        problem = self.problem
        return {
            "mended": not planned and problem is None, "planned": planned, "seconds": round(time.monotonic() - self.began, 1),
            "repairs": [one.as_json() for one in self.done],
            "verified": self.verified, "left": self.left, "exit_code": problem.exit_code if problem else 0,
            "problem": list(problem.lines()) if problem else [],
        }  # fmt: skip

    # Repairing.

    def run(self) -> None:
        """Repair under the lock. The operator is asked with the lock free, and then all is looked at afresh."""
        while True:
            with locked(self.project, VERB):
                unasked = self.repair()
            if unasked is None:
                return
            self._ask(unasked)

    def repair(self) -> Repair | None:
        """Returns a repair that the operator has to agree to first; None: all is done."""
        from ops.keycloak.repair.plan import first_repair

        if self.known is None and (broken_off := undo.kept(self.project.state)):
            self.say(f"[dim]note: an earlier run was interrupted; {len(broken_off)} of its changes can still be undone[/dim]")
        found, diagnosis = self.settled(None)
        self._tell(diagnosis, told=self.known)
        while len(self.done) < ROUNDS and (repair := first_repair(found, diagnosis, frozenset(self.tried))):
            known = self.known = {finding.id for finding in diagnosis.findings}
            if repair.must_be_agreed(serving=found.facts.ready) and not self.yes and repair.way not in self.agreed:
                return repair
            self._one(repair, found, len(diagnosis.findings))
            found, diagnosis = self._judge(found, known)
            self._tell(diagnosis, told=known)
        self._end(found, diagnosis)
        return None

    def _tell(self, diagnosis: Diagnosis, told: set[str] | None = None) -> None:
        """What was found; told: findings of which that has been said before."""
        for finding in diagnosis.findings:
            if finding.id in (told or ()):
                continue
            also = f" [dim](explains {', '.join(finding.consequences)})[/dim]" if finding.consequences else ""
            self.say(
                f"found: [bold]{escape(finding.title)}[/bold] [dim]{finding.id}[/dim]: {escape('; '.join(finding.saw))}{also}"
            )
        if told is not None:
            return
        for note in diagnosis.notes:
            self.say(f"[dim]note: {escape(note)}[/dim]")
        if not diagnosis.findings:
            self.say("found: nothing that is known as a fault")

    def _one(self, repair: Repair, found: Situation, findings: int) -> None:
        """Carry one repair out. Its failure is told, and judged by what is seen afterwards."""
        number = len(self.done) + 1
        self.say(
            f"repair {number} of {number - 1 + findings}: {escape(repair.title)} "
            f"[dim]({repair.finding}; users: {escape(repair.notice)})[/dim]"
        )
        self.tried.add(repair.way)
        self.done.append(one := Done(repair, found.wanted))
        before, began = {entry.name for entry in undo.kept(self.project.state)}, time.monotonic()
        if repair.kind == "earlier release" and found.wanted is not None:
            undo.keep(self.project.state, "release", number=found.wanted.number)
        try:
            self._apply(Plan(VERB, repair.steps), found.wanted, one.steps, repair=repair)
        except Exception as problem:
            # Also what nobody has foreseen is undone where the finding is still there.
            failure = described(problem)
            one.why = f"{failure.what}: {failure.why}"
            self.say(f"  [yellow]{escape(one.why)}[/yellow]")
        one.seconds = time.monotonic() - began
        one.entries = [entry for entry in undo.kept(self.project.state) if entry.name not in before]

    def _ask(self, repair: Repair) -> None:
        from ops.cli import show

        if not show.ask(f"{repair.title}: {repair.asks or repair.notice}. Type yes to continue.", "yes"):
            raise OpsError("this repair was declined", "it was not confirmed", "type yes when asked, or give --yes")
        self.agreed.add(repair.way)

    def _judge(self, before: Situation, known: set[str]) -> tuple[Situation, Diagnosis]:
        """Look again. Where the finding is still there, what was done for it is undone."""
        one = self.done[-1]
        finding = one.repair.finding
        found, diagnosis = self.settled(known if one.why else known - {finding})
        present = {other.id for other in diagnosis.findings}
        if one.why:
            # A failed repair has not repaired what another cause merely explains by now.
            present |= {name for other in diagnosis.findings for name in other.consequences}
        if finding not in present:
            one.outcome = "kept"
            return found, diagnosis
        one.outcome, one.why = "undone", one.why or "the finding is still there"
        self.say(f"  [yellow]{finding} is still there: what was done for it is undone[/yellow]")
        self._undo(one.entries, before)
        one.entries = []
        return self.settled(known)

    def _undo(self, entries: Sequence[Entry], before: Situation) -> None:
        """Raises NeedsPerson where that fails: what is kept stays, and the next run can still undo it."""
        from ops.keycloak.repair.undo_plan import plan_undo

        try:
            self._apply(plan_undo(entries, before.wanted), before.wanted, [])
        except (Exception, KeyboardInterrupt) as problem:
            failure = described(problem)
            next_step = f"inv keycloak shows what is wrong now; {undo.folder(self.project.state)} holds what undoes it"
            raise NeedsPerson(f"a repair could not be undone: {failure.what}", failure.why, next_step) from problem
        for entry in entries:
            undo.forget(self.project.state, entry.name)

    def _apply(self, plan: Plan, wanted: Wanted | None, steps: list[dict[str, Any]], repair: Repair | None = None) -> None:
        """Carry out a plan. steps: filled with title and seconds of each that ended."""
        from ops.cli.show import Progress, Watch

        if not plan.steps:
            return
        decision = Decision(self.project, plan, wanted)
        execute(Operation(
            self.project, VERB, lambda: decision, locks=False, remembers=False,
            progress=lambda shown: Watch(Progress() if self.quiet else shown, steps),
        ))  # fmt: skip

    # The end.

    def _end(self, found: Situation, diagnosis: Diagnosis) -> None:
        """Verify, then keep what was done or put it back; say what is left for a person."""
        from ops.keycloak.failures.failure import DOWN

        down = [finding for finding in diagnosis.findings if finding.severity == DOWN]
        for unread in diagnosis.unread:
            self.say(f"[yellow]not seen:[/yellow] {escape(unread)}")
        if found.facts.starting and not diagnosis.findings:
            # What undoes the repairs of this run is kept: the next one verifies them.
            raise HostLacks(
                "Keycloak is still starting, and shows no fault",
                "a migration may take minutes; nothing could be verified yet",
                "inv logs keycloak --follow; then inv keycloak.fix again",
            )
        if not down:
            self._verify(found)
        self._keep()
        if diagnosis.findings:
            self._leave(found, diagnosis)
        word = "repaired" if self.done else "nothing to repair"
        self.say(f"[bold green]{word}[/bold green] in {time.monotonic() - self.began:.1f} s")

    def _verify(self, found: Situation) -> None:
        """Raises OpsError, after everything of this run has been undone, where people could not log in."""
        from ops.keycloak.repair.steps import VerifyLogins

        step = VerifyLogins("verify", "verify by real logins", deadline=VERIFY_SECONDS)
        steps: list[dict[str, Any]] = []
        try:
            self._apply(Plan(VERB, (step,)), found.wanted, steps)
        except HostLacks:
            self._keep()
            raise
        except Exception as failure:
            problem = described(failure)
            entries = undo.kept(self.project.state)
            if not self.done:
                raise NeedsPerson(
                    "no known cause, but users cannot log in", f"{problem.what}: {problem.why}", problem.next_step
                ) from failure
            self.say(f"[yellow]{problem.what}: {problem.why}: undoing the repairs of this run[/yellow]")
            self._undo(entries, replace(found, wanted=self.done[0].wanted))
            for one in self.done:
                one.outcome = "undone"
            raise OpsError(
                "logins failed after the repairs, which were reverted", f"{problem.what}: {problem.why}", problem.next_step
            ) from failure
        self.verified = [line for entry in steps for line in entry.get("said", ())]

    def _keep(self) -> None:
        """What was done stays: what was set aside goes, and so does what would have undone it."""
        from ops.keycloak.repair.undo_plan import plan_keep

        entries = undo.kept(self.project.state)
        self._apply(plan_keep(entries), None, [])
        for entry in entries:
            undo.forget(self.project.state, entry.name)
        if any(one.repair.kind == "earlier release" and one.outcome == "kept" for one in self.done):
            self._record()

    def _record(self) -> None:
        """A release that was sealed for a repair has served."""
        from ops.stack.release import GOOD, Activation
        from ops.store.releases import current_number, record_activation

        number = current_number(self.project.state) or 0
        at = machine.now()
        record_activation(self.project.state, Activation(number, VERB, at, GOOD, time.monotonic() - self.began))
        self.say(f"release {number} runs the earlier Keycloak: correct compose/keycloak or config/keycloak, then inv deploy")

    def _leave(self, found: Situation, diagnosis: Diagnosis) -> None:
        """Raises NeedsPerson with what a person has to do about each finding that is left."""
        from ops.keycloak.repair.plan import instructions

        for finding in diagnosis.findings:
            told = instructions(found, finding)
            self.say(f"left: [bold]{escape(finding.title)}[/bold] [dim]{finding.id}[/dim]")
            self._left(finding, list(told.lines), mends=False)
        first = diagnosis.findings[0]
        mended = sum(one.outcome == "kept" for one in self.done)
        raise NeedsPerson(
            f"{mended} repaired, {len(diagnosis.findings)} left for a person",
            f"{first.title}: {'; '.join(first.saw)}",
            self.left[0]["steps"][0],
        )
