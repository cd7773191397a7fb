"""What every command that changes something has in common, whatever it does: order, lock, hooks, questions, reverts."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import replace
from io import StringIO
from types import SimpleNamespace
from typing import Any

import pytest
from rich.console import Console

from ops import composition, execution
from ops.cli import show
from ops.cli.execute import DONE, FAILED, REVERTED, Decision, Operation, Revert, UnderWay, confirm, execute, planned
from ops.core.errors import HostLacks, LockHeld, NeedsPerson, OpsError
from ops.core.lock import busy, hold, holder
from ops.core.plan import Described, Plan
from ops.core.records import entries
from ops.project import Project
from tests.unit.deploy.test_reverts import World
from tests.unit.deploy.test_reverts import world as world  # noqa: PLC0414  (a fixture)

FIRST = Described("a", "do a")
STEPS = (FIRST, Described("b", "do b", (FIRST,)))
BACK = Plan("work", (Described("back", "undo a"),))


@pytest.fixture(autouse=True)
def at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("ops.cli.execute.PAUSE_SECONDS", 0.0)


def work(world: World, *, destroys: tuple[str, ...] = (), **more: Any) -> Operation:
    """An operation of two steps; what it has done is not planned again."""

    def decide() -> Plan:
        return Plan("work", tuple(step for step in STEPS if step.key not in world.done), destroys=destroys)

    return Operation(world.project, "work", planned(world.project, decide), **more)


def deciding(world: World, **more: Any) -> Callable[[], Decision]:
    return lambda: Decision(world.project, Plan("work", STEPS), **more)


def reverting(world: World, told: list[tuple[str, str]], **more: Any) -> Callable[[], Decision]:
    revert = Revert(
        lambda: Decision(world.project, BACK if "a" in world.done else Plan("work")), "restoring a",
        restored="a is as before, after {seconds}", by_hand="undo a by hand", **more,
    )  # fmt: skip
    return deciding(world, revert=revert, ended=lambda *outcome: told.append(outcome))


def test_steps_are_done_under_the_lock_and_counted(world: World) -> None:
    assert execute(work(world)) == 2
    assert world.done == ["a", "b"] and not busy(world.state.lock)
    assert execute(work(world)) == 0


def test_what_is_left_over_needs_a_person(world: World) -> None:
    with pytest.raises(NeedsPerson, match="after work, this is still not as wanted: do a, do b"):
        execute(Operation(world.project, "work", planned(world.project, lambda: Plan("work", STEPS))))


# Hooks.


def hooks(monkeypatch: pytest.MonkeyPatch, world: World, refuses: str = "") -> list[str]:
    """Replaces what features have registered; what happened, in order."""
    order: list[str] = []

    def hook(name: str) -> Callable[..., Any]:
        @contextmanager
        def around(*_: Any) -> Iterator[None]:
            if name == refuses:
                raise OpsError("no", f"{name} refuses", "")
            order.append(f"{name}, {'locked' if busy(world.state.lock) else 'free'}, {len(world.done)} done")
            try:
                yield
            finally:
                order.append(f"{name} left, {'locked' if busy(world.state.lock) else 'free'}, {len(world.done)} done")

        return around

    monkeypatch.setattr(composition, "WHILE_LOCKED", (hook("guard"),))
    monkeypatch.setattr(composition, "WHILE_EXECUTING", (hook("outer"), hook("inner")))
    return order


def test_hooks_of_features_surround_the_steps(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    order = hooks(monkeypatch, world)

    execute(work(world))

    assert order == [
        "guard, locked, 0 done", "outer, locked, 0 done", "inner, locked, 0 done",
        "inner left, locked, 2 done", "outer left, locked, 2 done", "guard left, locked, 2 done",
    ]  # fmt: skip


@pytest.mark.parametrize(("refuses", "entered"), [("guard", 0), ("outer", 1), ("inner", 2)])
def test_hook_that_refuses_leaves_everything_as_it_is(
    world: World, monkeypatch: pytest.MonkeyPatch, refuses: str, entered: int
) -> None:
    order = hooks(monkeypatch, world, refuses)

    with pytest.raises(OpsError, match="no"):
        execute(work(world))

    assert world.done == [] and len(order) == 2 * entered and not busy(world.state.lock)


def test_features_have_registered_what_they_owe() -> None:
    names = [hook.__name__ for hook in (*composition.WHILE_LOCKED, *composition.WHILE_EXECUTING)]

    assert names == [
        "refuse_unfinished", "keep_current",
        "write_after", "follow_change", "warn_of_host_network", "record_change", "run_around", "announce",
    ]  # fmt: skip


# The lock.


def test_plan_alone_needs_no_lock_unless_planning_does(world: World) -> None:
    with hold(world.state.lock, "deploy"):
        assert execute(work(world, plan_only=True)) == 0
        with pytest.raises(LockHeld):
            execute(work(world, plan_only=True, locks_to_plan=True))
        with pytest.raises(LockHeld):
            execute(work(world))
    assert world.done == []


def test_job_beside_a_deploy_needs_no_lock_and_has_its_own_journal(world: World) -> None:
    journal = world.state.root / "backup.jsonl"
    with hold(world.state.lock, "deploy"):
        assert execute(work(world, locks=False, journal=journal)) == 2
    assert [entry["event"] for entry in entries(journal)][::5] == ["begin", "end"]
    assert not world.state.journal.exists()


def test_nothing_to_do_needs_no_lock(world: World) -> None:
    world.done += ["a", "b"]
    with hold(world.state.lock, "deploy"):
        assert execute(work(world)) == 0


@pytest.mark.parametrize("plans_first", [True, False])
def test_host_is_checked_where_there_is_something_to_do(world: World, plans_first: bool) -> None:
    checked: list[bool] = []
    one = work(world, plans_first=plans_first, check=lambda _: checked.append(busy(world.state.lock)))

    execute(one)
    assert execute(one) == 0

    assert checked == [not plans_first]


def test_plan_that_is_refused_is_neither_asked_for_nor_executed(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse() -> None:
        raise HostLacks("no", "", "")

    monkeypatch.setattr(show, "ask", lambda *_: pytest.fail("asked"))
    decide = deciding(world, refuse=refuse)
    with pytest.raises(HostLacks):
        execute(Operation(world.project, "work", decide, plans_first=False))
    assert execute(Operation(world.project, "work", decide, plan_only=True)) == 0
    assert world.done == []


# What planning leaves on the host.


@pytest.mark.parametrize("answer", [True, False])
def test_what_planning_has_left_goes_under_the_lock(world: World, monkeypatch: pytest.MonkeyPatch, answer: bool) -> None:
    tidied: list[tuple[bool, int]] = []
    monkeypatch.setattr(show, "ask", lambda *_: answer)
    one = work(world, destroys=("x",), plans_first=False, tidy=lambda: tidied.append((busy(world.state.lock), len(world.done))))

    if answer:
        execute(one)
    else:
        with pytest.raises(OpsError, match="nothing was changed"):
            execute(one)

    assert tidied == [(True, 2 if answer else 0)]


def test_plan_that_cannot_be_made_is_tidied_up_after(world: World) -> None:
    tidied: list[str] = []

    def decide() -> Decision:
        raise OpsError("no", "", "")

    for plan_only in (True, False):
        with pytest.raises(OpsError):
            execute(Operation(
                world.project, "work", decide, plan_only=plan_only, plans_first=False, tidy=lambda: tidied.append("tidy"),
            ))  # fmt: skip
    assert tidied == ["tidy", "tidy"]


# Reverts.


def test_failure_is_reverted_and_said_to_be(world: World) -> None:
    told: list[tuple[str, str]] = []
    world.fails = {"b": HostLacks("b is missing", "why", "look for b")}

    with pytest.raises(OpsError, match="b is missing") as caught:
        execute(Operation(world.project, "work", reverting(world, told, again="inv work")))

    assert type(caught.value) is OpsError and world.done == ["a", "back"]
    assert caught.value.next_step.startswith("a is as before, after ")
    assert caught.value.next_step.endswith(" s; correct the cause, then inv work")
    assert told == [(REVERTED, "b is missing: why")]


def test_nothing_to_revert_keeps_the_kind_of_the_failure(world: World) -> None:
    told: list[tuple[str, str]] = []
    world.fails = {"a": HostLacks("a is missing", "why", "look for a")}

    with pytest.raises(HostLacks) as caught:
        execute(Operation(world.project, "work", reverting(world, told, unchanged="nothing was changed")))

    assert caught.value.next_step == "nothing was changed; look for a" and told == []


def test_failure_that_changed_nothing_is_raised_as_it_is(world: World) -> None:
    told: list[tuple[str, str]] = []
    world.fails = {"b": HostLacks("b is missing", "why", "look for b")}
    revert = Revert(lambda: None, "restoring a", restored="a is as before", by_hand="undo a by hand")

    with pytest.raises(HostLacks, match="b is missing") as caught:
        execute(Operation(world.project, "work", deciding(world, revert=revert, ended=lambda *one: told.append(one))))

    assert caught.value.next_step == "look for b" and told == []


def test_revert_that_fails_needs_a_person(world: World) -> None:
    told: list[tuple[str, str]] = []
    world.fails = {"b": OpsError("no", "why", ""), "back": KeyboardInterrupt()}

    with pytest.raises(NeedsPerson) as caught:
        execute(Operation(world.project, "work", reverting(world, told)))

    assert (caught.value.why, caught.value.next_step) == ("why; restoring a failed as well: interrupted", "undo a by hand")
    assert told == [(FAILED, "no: why")]


@pytest.mark.parametrize(("interrupts", "done"), [(True, ["a", "back"]), (False, ["a"])])
def test_interrupt_stays_one_whether_it_is_reverted_or_not(world: World, interrupts: bool, done: list[str]) -> None:
    decide = reverting(world, [], interrupts=interrupts)
    world.fails = {"b": KeyboardInterrupt()}

    def decided() -> Decision:
        return replace(decide(), failed=lambda problem, number: KeyboardInterrupt(f"{number} done"))

    with pytest.raises(KeyboardInterrupt) as caught:
        execute(Operation(world.project, "work", decided))

    assert world.done == done
    assert str(caught.value).startswith("a is as before, after " if interrupts else "1 done")


def test_success_is_told(world: World) -> None:
    told: list[tuple[str, str]] = []
    execute(Operation(world.project, "work", reverting(world, told)))
    assert told == [(DONE, "")]


# What others are given.


@pytest.mark.parametrize("more", [{"plan_only": True, "locks_to_plan": True}, {"yes": True}, {}])
def test_lock_bears_the_name_of_the_command(world: World, monkeypatch: pytest.MonkeyPatch, more: dict[str, Any]) -> None:
    holders: list[str] = []

    def look() -> None:
        holders.append(who.verb if (who := holder(world.state.lock)) else "nobody")

    def refused(*_: object) -> bool:
        look()
        return False

    def decide() -> Decision:
        look()
        return deciding(world)() if more else Decision(world.project, Plan("work", STEPS, destroys=("x",)))

    monkeypatch.setattr(show, "ask", refused)
    with suppress(OpsError):
        execute(Operation(world.project, "work", decide, plans_first=False, tidy=look, **more))

    assert holders == (["work", "work"] if more else ["work", "nobody", "work"])


def test_word_that_confirms_is_yes_where_no_other_is_wanted(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    asked: list[tuple[str, str]] = []

    def ask(*given: str) -> bool:
        asked.append((given[0], given[1]))
        return True

    monkeypatch.setattr(show, "ask", ask)
    execute(work(world, destroys=("x",)))
    world.done.clear()
    execute(work(world, destroys=("x",), word="cc03"))
    confirm(Plan("work", STEPS, destroys=("x",)), yes=False)

    assert asked == [("Type yes to continue.", "yes"), ("Type cc03 to continue.", "cc03"), ("Type yes to continue.", "yes")]


def test_hooks_can_leave_notes(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    written = StringIO()
    monkeypatch.setattr(show, "err", Console(file=written, width=120))

    @contextmanager
    def locked(project: Project, verb: str, note: Callable[[str], None]) -> Iterator[None]:
        note(f"{verb} is locked")
        yield

    @contextmanager
    def executing(change: UnderWay) -> Iterator[None]:
        change.note(f"{change.plan.verb} begins")
        yield

    monkeypatch.setattr(composition, "WHILE_LOCKED", (locked,))
    monkeypatch.setattr(composition, "WHILE_EXECUTING", (executing,))
    execute(work(world))

    assert written.getvalue().splitlines() == ["note: work is locked", "note: work begins"]


def test_steps_run_with_the_release_of_the_decision(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    made: list[Any] = []
    executed: list[Any] = []
    totals: list[int] = []

    class Model:
        def __init__(self, *given: Any) -> None:
            self.given, self.do = given, world.perform
            made.append(self)

    progress = show.progress

    def counted(total: int) -> show.Progress:
        totals.append(total)
        return progress(total)

    monkeypatch.setattr(show, "progress", counted)
    monkeypatch.setattr(execution, "Execution", Model)
    release: Any = "release 7"
    first = deciding(world, wanted=release, executed=lambda *given: executed.append(given))()
    execute(Operation(world.project, "work", lambda: first))
    deployed: Any = SimpleNamespace(**{**world.project.__dict__, "deployed": "release 3"})
    execute(Operation(deployed, "work", lambda: Decision(deployed, Plan("work", STEPS))))

    assert [one.given[2] for one in made] == ["release 7", "release 3"] and totals == [2, 2]
    assert made[0].given[0].state is world.state and made[1].given[0] is deployed
    assert executed == [(first, made[0])]


@pytest.mark.parametrize(("again", "next_step"), [("", "look for b"), ("inv work", "correct the cause, then inv work")])
def test_command_to_repeat_is_named_where_there_is_one(world: World, again: str, next_step: str) -> None:
    world.fails = {"b": OpsError("b is missing", "why", "look for b")}

    with pytest.raises(OpsError) as caught:
        execute(Operation(world.project, "work", reverting(world, [], again=again)))

    assert caught.value.next_step.partition("; ")[2] == next_step


def test_nothing_to_revert_needs_no_person(world: World) -> None:
    world.fails = {"a": NeedsPerson("a is missing", "why", "look for a")}

    with pytest.raises(OpsError) as caught:
        execute(Operation(world.project, "work", reverting(world, [], unchanged="nothing was changed")))

    assert type(caught.value) is OpsError
