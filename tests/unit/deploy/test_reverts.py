"""Restore, move from H2, repair of Keycloak: whatever goes wrong, the state before is back, or what is left is said."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass, field, replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any, cast

import pytest

from ops import execution
from ops.audit_log import record as audit
from ops.backup import around, container
from ops.backup import host_archive as archive
from ops.backup.restore import commands as restore
from ops.backup.restore import restoring, volumes
from ops.backup.restore.steps import ForgetRestore, RememberRestore
from ops.backup.restore.target import Target
from ops.cli import show
from ops.cli.execute import Operation, execute, planned
from ops.core import files
from ops.core.errors import LockHeld, NeedsPerson, OpsError
from ops.core.lock import busy, hold
from ops.core.plan import Described, Plan, Step
from ops.core.state import State
from ops.keycloak import fix as keycloak_fix
from ops.keycloak.h2 import commands as keycloak_h2
from ops.keycloak.h2 import file as h2
from ops.keycloak.repair import undo_steps as undo
from ops.keycloak.repair.situation import Repair
from ops.project import Project
from tests.unit.backup.test_plan_restore import both, facts
from tests.unit.builders import REPOSITORY, settings, with_state


@dataclass
class World:
    """A host. fails: key of a step -> what it meets, once. done: keys of the steps."""

    state: State
    fails: dict[str, BaseException] = field(default_factory=dict)
    done: list[str] = field(default_factory=list)

    @property
    def project(self) -> Project:
        return cast(Project, SimpleNamespace(
            name="cc03", state=self.state, settings=settings(), deployed=None, release=None, remember=lambda: None,
            cluster=None, prepare=lambda: None,
            host=SimpleNamespace(prepare=lambda: None, repository=REPOSITORY, state=self.state),
        ))  # fmt: skip

    def perform(self, step: Step) -> None:
        if problem := self.fails.pop(step.key, None):
            raise problem
        if isinstance(step, RememberRestore):
            files.write(around.journal(self.state), files.dump(dict(step.content or {})))
        if isinstance(step, ForgetRestore):
            around.journal(self.state).unlink(missing_ok=True)
        self.done.append(step.key)


@pytest.fixture
def world(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> World:
    made = World(State(tmp_path / "cc03"))
    made.state.prepare()

    class Model:
        """Stands for `Execution`."""

        def __init__(self, *_: Any) -> None:
            self.do = made.perform

    def seen(*_: Any) -> Any:
        found = facts(left=around.left_over(made.state))
        stopped = {key.partition(" ")[2] for key in made.done if key.startswith("stop ")}
        return replace(found, seen=with_state(found.seen, "exited", *stopped))

    monkeypatch.setattr(execution, "Execution", Model)
    monkeypatch.setattr(restoring, "facts", seen)
    monkeypatch.setattr(container, "status", lambda _: both())
    monkeypatch.setattr(audit, "origin", lambda _: {})
    monkeypatch.setattr(archive, "keep", lambda _: None)
    monkeypatch.setattr("ops.secrets.facts.write_metrics", lambda _: None)
    return made


def outcome(world: World) -> str:
    return str(list(audit_entries(world))[-1]["outcome"])


def audit_entries(world: World) -> Iterator[dict[str, Any]]:
    from ops.core.records import entries

    yield from entries(world.state.audit)


def run(world: World, *, yes: bool = True, plan_only: bool = False) -> None:
    restore._restore(world.project, Target(), ("postgres",), plan_only=plan_only, yes=yes)


def asking(world: World, monkeypatch: pytest.MonkeyPatch, *, answer: bool) -> list[bool]:
    """Answer every question; whether the lock was held at each."""
    held: list[bool] = []

    def ask(question: str, expected: str) -> bool:
        held.append(busy(world.state.lock))
        return answer

    monkeypatch.setattr(show, "ask", ask)
    return held


def test_restore_goes_through(world: World) -> None:
    run(world)

    assert world.done[-1] == "full" and "aside postgres" in world.done and "back postgres" not in world.done
    assert around.left_over(world.state) is None and outcome(world) == "done"


@pytest.mark.parametrize(
    "problem",
    [OpsError("no", "why", "next"), KeyError("slot"), OSError(28, "No space left on device"), RuntimeError("x")],
)
@pytest.mark.parametrize("at", ["stop postgres", "recover postgres", "verify"])
def test_restore_that_fails_anywhere_is_reverted(world: World, problem: Exception, at: str) -> None:
    """A defect or a full disk left the services stopped and the data put aside, and said nothing of it."""
    world.fails = {at: problem}

    with pytest.raises(OpsError) as caught:
        run(world)

    assert type(caught.value) is OpsError
    assert caught.value.next_step.startswith("everything is as before, reverted in ")
    assert ("back postgres" in world.done) is (at != "stop postgres")
    assert around.left_over(world.state) is None
    assert outcome(world) == "failed" and not busy(world.state.lock)


def test_restore_that_is_interrupted_is_reverted_and_remains_an_interrupt(world: World) -> None:
    """It had exit code 1; documented is 130."""
    world.fails = {"recover postgres": KeyboardInterrupt()}

    with pytest.raises(KeyboardInterrupt, match="everything is as before, reverted in "):
        run(world)

    assert "back postgres" in world.done and around.left_over(world.state) is None
    assert outcome(world) == "interrupted"


@pytest.mark.parametrize("second", [OpsError("full", "no space", ""), KeyError("x"), KeyboardInterrupt()])
def test_restore_that_cannot_be_reverted_says_what_is_left(world: World, second: BaseException) -> None:
    world.fails = {"recover postgres": OpsError("no", "why", "next"), "back postgres": second}

    with pytest.raises(NeedsPerson, match="no") as caught:
        run(world)

    assert caught.value.why.startswith("why; putting the former state back failed as well: ")
    assert "inv restore --undo tries again" in caught.value.next_step
    assert around.left_over(world.state) is not None


def test_undo_that_fails_says_how_it_goes_on(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    world.fails = {"recover postgres": OpsError("no", "why", "next"), "back postgres": OpsError("full", "no space", "")}
    with pytest.raises(NeedsPerson):
        run(world)
    monkeypatch.setattr(volumes, "safeties", lambda _: ())
    for problem in (KeyError("x"), OpsError("full", "no space", "df -h")):
        world.fails = {"back postgres": problem}
        with pytest.raises(NeedsPerson) as caught:
            restore._undo(world.project, "", plan_only=False, yes=True)
        assert caught.value.next_step.startswith("inv restore --undo continues; nothing of the previous state is removed; ")
    world.fails = {"back postgres": KeyboardInterrupt()}
    with pytest.raises(KeyboardInterrupt, match="inv restore --undo continues"):
        restore._undo(world.project, "", plan_only=False, yes=True)

    restore._undo(world.project, "", plan_only=False, yes=True)
    assert around.left_over(world.state) is None


def test_nobody_is_asked_under_the_lock_and_losses_are_told_once(
    world: World, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    asked = asking(world, monkeypatch, answer=True)

    run(world, yes=False)

    assert asked == [False] and world.done[-1] == "full"
    said = capsys.readouterr().out
    assert said.count("destroys: in PostgreSQL") == 1, said


def test_plan_alone_asks_nothing_and_does_nothing(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(show, "ask", lambda *_: pytest.fail("asked"))
    run(world, yes=False, plan_only=True)
    assert world.done == []


# Every other command that destroys something.


@pytest.mark.parametrize(("later", "times"), [("the volume a", 1), ("the volumes a, b", 2), ("", 1)])
def test_command_asks_with_the_lock_free_and_again_where_it_destroys_something_else(
    world: World, monkeypatch: pytest.MonkeyPatch, later: str, times: int
) -> None:
    losses = ["the volume a"]
    held: list[bool] = []

    def ask(question: str, expected: str) -> bool:
        held.append(busy(world.state.lock))
        losses[:] = [later] if later else []
        assert expected == "cc03"
        return True

    def decide() -> Plan:
        return Plan("destroy", () if world.done else (Described("volume", "remove volume"),), destroys=tuple(losses))

    monkeypatch.setattr(show, "ask", ask)
    assert execute(Operation(world.project, "destroy", planned(world.project, decide), word="cc03")) == 1

    assert held == [False] * times and world.done == ["volume"]


def test_command_whose_plan_became_empty_meanwhile_does_nothing(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    plans = [Plan("destroy", (Described("volume", "remove volume"),), destroys=("a",)), Plan("destroy")]
    monkeypatch.setattr(show, "ask", lambda *_: True)
    assert execute(Operation(world.project, "destroy", planned(world.project, lambda: plans.pop(0)))) == 0
    assert world.done == [] and plans == []


# Keycloak from H2.


@pytest.fixture
def moving(world: World, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Callable[..., None]:
    """Runs the command's own part; what it plans is three steps."""
    swap = Described("swap", "swap", (export := Described("export", "export"),))
    steps = (export, swap, Described("verify", "verify", (swap,)))
    plan = Plan(keycloak_h2.VERB, steps, destroys=("what PostgreSQL holds of Keycloak",))
    copy = world.state.root / "h2"

    def decide(*_: Any) -> Any:
        copy.mkdir(exist_ok=True)
        return SimpleNamespace(realms=("shop",)), plan

    aside: list[str] = []
    monkeypatch.setattr(h2, "find", lambda _: tmp_path)
    monkeypatch.setattr(keycloak_h2, "_decide", decide)
    monkeypatch.setattr(keycloak_h2, "_put_aside", lambda _: {"before_1"} if "swap" in world.done else set(aside))
    monkeypatch.setattr(keycloak_h2, "_back", lambda _, to: Plan(keycloak_h2.VERB, (Described("back", f"back to {to}"),)))
    monkeypatch.setattr("ops.project.open_project", lambda **_: world.project)
    monkeypatch.setattr("ops.project.must_exist", lambda project: project)
    command = vars(keycloak_h2.migrate_h2.body)["__wrapped__"]

    def move(**how: Any) -> None:
        command(None, str(tmp_path), **how)
        assert not copy.exists()

    return move


def test_move_goes_through(world: World, moving: Callable[..., None]) -> None:
    moving(yes=True)
    assert world.done == ["export", "swap", "verify"]


@pytest.mark.parametrize("problem", [OpsError("no", "why", ""), KeyError("x"), OSError(28, "No space left on device")])
def test_move_that_fails_is_reverted(world: World, moving: Callable[..., None], problem: Exception) -> None:
    world.fails = {"verify": problem}

    with pytest.raises(OpsError) as caught:
        moving(yes=True)

    assert world.done == ["export", "swap", "back"]
    assert caught.value.next_step.startswith("Keycloak serves what it served before; ")
    assert not (world.state.root / "h2").exists()


def test_move_that_is_interrupted_is_reverted(world: World, moving: Callable[..., None]) -> None:
    world.fails = {"verify": KeyboardInterrupt()}
    with pytest.raises(KeyboardInterrupt, match="Keycloak serves what it served before"):
        moving(yes=True)
    assert world.done[-1] == "back"


@pytest.mark.parametrize("second", [OpsError("again", "x", ""), KeyError("x"), KeyboardInterrupt()])
def test_move_that_cannot_be_reverted_says_so(world: World, moving: Callable[..., None], second: BaseException) -> None:
    world.fails = {"verify": OpsError("no", "why", ""), "back": second}
    with pytest.raises(NeedsPerson, match="no") as caught:
        moving(yes=True)
    assert "restoring the previous database failed as well" in caught.value.why


def test_move_asks_with_the_lock_free_and_leaves_no_copy_where_it_is_refused(
    world: World, moving: Callable[..., None], monkeypatch: pytest.MonkeyPatch
) -> None:
    asked = asking(world, monkeypatch, answer=False)

    with pytest.raises(OpsError, match="nothing was changed"):
        moving()

    assert asked == [False] and world.done == [] and not (world.state.root / "h2").exists()


def test_move_that_is_only_planned_leaves_no_copy(world: World, moving: Callable[..., None]) -> None:
    moving(plan=True)
    assert world.done == []


# keycloak.fix


def finding(name: str = "kc-1") -> Any:
    return SimpleNamespace(id=name, title=name, saw=("x",), consequences=(), severity="impaired", certain=True)


@pytest.fixture
def fixing(world: World, monkeypatch: pytest.MonkeyPatch) -> keycloak_fix._Run:
    """One finding with one repair that restarts a Keycloak that serves; it is over once the repair is done."""
    steps = (Described("restart keycloak", "restart keycloak"),)
    repair = Repair("kc-1", "restart", "restart keycloak", steps, "logins wait", "it is not", restarts=True)
    facts_ = SimpleNamespace(ready=True, starting=False)
    situation = SimpleNamespace(facts=facts_, wanted=None, drift=())

    def look(_: Any) -> Any:
        left = [] if "restart keycloak" in world.done else [finding()]
        return situation, SimpleNamespace(findings=left, notes=(), unread=())

    def first(_: Any, diagnosis: Any, tried: frozenset[Any]) -> Any:
        return repair if diagnosis.findings and (repair.finding, repair.kind) not in tried else None

    monkeypatch.setattr(keycloak_fix._Run, "look", look)
    monkeypatch.setattr(keycloak_fix, "PAUSE", 0.0)
    monkeypatch.setattr("ops.keycloak.repair.plan.first_repair", first)
    monkeypatch.setattr("ops.keycloak.repair.plan.unsettled", lambda findings: {one.id for one in findings})
    monkeypatch.setattr("ops.keycloak.repair.plan.instructions", lambda *_: SimpleNamespace(lines=("call somebody",)))
    monkeypatch.setattr(undo, "kept", lambda _: [])
    monkeypatch.setattr("ops.keycloak.repair.undo_plan.plan_undo", lambda *_: Plan(keycloak_fix.VERB))
    monkeypatch.setattr("ops.keycloak.repair.undo_plan.plan_keep", lambda *_: Plan(keycloak_fix.VERB))
    return keycloak_fix._Run(world.project, yes=False, quiet=True)


def test_repair_is_asked_for_with_the_lock_free(
    world: World, fixing: keycloak_fix._Run, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    asked = asking(world, monkeypatch, answer=True)

    fixing.run()

    assert asked == [False] and world.done == ["restart keycloak", "verify"]
    assert [one.outcome for one in fixing.done] == ["kept"]
    assert capsys.readouterr().out.count("found: kc-1") == 1


def test_repair_that_nobody_agrees_to_is_not_made(
    world: World, fixing: keycloak_fix._Run, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(show, "ask", lambda *_: False)
    with pytest.raises(OpsError, match="this repair was declined"):
        fixing.run()
    assert world.done == [] and not busy(world.state.lock)


def test_repair_that_meets_a_defect_is_judged_and_undone(world: World, fixing: keycloak_fix._Run) -> None:
    fixing.yes = True
    world.fails = {"restart keycloak": KeyError("slot")}

    with pytest.raises(NeedsPerson, match="0 repaired, 1 left for a person"):
        fixing.run()

    assert [(one.outcome, one.why) for one in fixing.done] == [
        ("undone", "this command met a defect in its own code: KeyError: 'slot'")
    ]


def test_lock_that_somebody_took_meanwhile_ends_it(
    world: World, fixing: keycloak_fix._Run, monkeypatch: pytest.MonkeyPatch
) -> None:
    holders = []

    def ask(*_: Any) -> bool:
        holder = hold(world.state.lock, "deploy")
        holder.__enter__()
        holders.append(holder)
        return True

    monkeypatch.setattr(show, "ask", ask)
    with pytest.raises(LockHeld):
        fixing.run()
    holders[0].__exit__(None, None, None)
    assert world.done == []
