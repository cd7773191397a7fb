"""From one release to another: under measurement, reverted whatever goes wrong, and nobody asked while the lock is held.

The host is the model of `builders`: each step has its effect on what is seen next. State folder, lock, journal, audit trail,
sealed releases and the executor with its threads are real.
"""

from __future__ import annotations

import os
import signal
import time
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from ops.cli import show
from ops.core.errors import HostLacks, NeedsPerson, OpsError
from ops.core.journal import interrupted
from ops.core.lock import busy
from ops.core.plan import Change
from ops.deploy import measure, transition
from ops.deploy.transition import change_release
from ops.project import Project
from ops.releases import retention
from ops.stack.release import GOOD
from ops.store import releases
from tests.unit.builders import image, wanted
from tests.unit.modelled import BACKEND, NEW, OLD, World
from tests.unit.modelled import served as served  # noqa: PLC0414  (a fixture)
from tests.unit.modelled import world as world  # noqa: PLC0414  (a fixture)


def test_new_release_serves_and_is_recorded(served: World) -> None:
    steps = change_release(served.aim(NEW), yes=True)

    assert steps == len(served.done) > 0
    assert (served.serving, served.outcomes[1:]) == (2, [(2, GOOD)])
    assert served.cleaned == 2
    entry = releases.activations(served.state)[-1]
    assert entry.previous == 1 and entry.gaps == {"keycloak": 1.5, "postgres": 1.5}
    assert entry.requests is not None and entry.requests["failed"] == 0
    assert not busy(served.state.lock)


def test_what_is_as_wanted_is_left_alone(served: World) -> None:
    assert change_release(served.aim(OLD), yes=True) == 0
    assert served.done == [] and served.outcomes == [(1, GOOD)]


def test_release_that_a_killed_command_brought_about_is_recognised(served: World) -> None:
    served.state.activations.unlink()

    assert change_release(served.aim(OLD), yes=True) == 0
    assert served.outcomes == [(1, GOOD)]


def test_only_the_plan_is_shown(served: World) -> None:
    assert change_release(served.aim(NEW), plan_only=True) == 0
    assert served.done == []


PROBLEMS = [
    pytest.param(OpsError("postgres is not healthy", "it printed nothing", "inv logs nginx"), id="failure"),
    pytest.param(NeedsPerson("left over", "something", "look"), id="a person was needed"),
    pytest.param(KeyError("slot"), id="defect"),
    pytest.param(MemoryError(), id="no memory"),
    pytest.param(OSError(28, "No space left on device", "/var/lib/x"), id="full disk"),
]


@pytest.mark.parametrize("problem", PROBLEMS)
def test_whatever_goes_wrong_the_release_before_serves_again(served: World, problem: BaseException) -> None:
    """A defect of this program used to leave users with half a release, and nobody said so."""
    before = served.running
    served.fails = {"healthy postgres": problem}

    with pytest.raises(OpsError) as caught:
        change_release(served.aim(NEW), yes=True)

    assert type(caught.value) is OpsError and caught.value.exit_code == 1
    assert served.serving == 1 and served.running == before
    assert caught.value.next_step.startswith("release 1 serves as before, reverted in ")
    assert served.outcomes[1:] == [(2, "reverted")]
    assert not busy(served.state.lock)
    served.fails = {}
    assert change_release(served.aim(NEW), yes=True) > 0, "the next deploy goes all the way"


@pytest.mark.parametrize("at", ["release", "create", "remove keycloak", "healthy keycloak", "supervise"])
def test_wherever_it_goes_wrong_the_release_before_serves_again(served: World, at: str) -> None:
    before = served.running
    served.fails = {at: OpsError("no", "why", "next")}
    _, _, plan = served.goal(NEW).decide()
    if not any(step.key == at for step in plan.steps):
        served.fails = {plan.steps[-1].key: OpsError("no", "why", "next")}

    with pytest.raises(OpsError, match="no") as caught:
        change_release(served.aim(NEW), yes=True)

    assert served.serving == 1 and served.running == before
    assert caught.value.next_step.startswith("release 1 serves as before, reverted in ")


def test_failure_before_anything_was_changed_says_so(served: World) -> None:
    served.fails = {"image backend": HostLacks("cannot build backend", "no space", "df -h")}

    with pytest.raises(HostLacks) as caught:
        change_release(served.aim(BACKEND), yes=True)

    assert caught.value.next_step == "nothing was changed; df -h"
    assert served.serving == 1


def test_defect_is_told_with_its_traceback(served: World) -> None:
    served.fails = {"healthy postgres": KeyError("slot")}

    with pytest.raises(OpsError) as caught:
        change_release(served.aim(NEW), yes=True)

    assert caught.value.what == "this command met a defect in its own code" and caught.value.why == "KeyError: 'slot'"
    path = Path(caught.value.next_step.partition("report it with ")[2].partition(",")[0])
    assert "KeyError: 'slot'" in path.read_text()
    path.unlink()


def test_first_release_that_fails_has_nothing_to_go_back_to(world: World) -> None:
    world.fails = {"healthy postgres": OpsError("postgres is not healthy", "", "")}

    with pytest.raises(OpsError, match="postgres is not healthy"):
        change_release(world.aim(OLD), yes=True)

    assert world.outcomes == [(1, "failed")]


@pytest.mark.parametrize("second", [OpsError("again", "as before", ""), KeyError("x"), KeyboardInterrupt()])
def test_what_cannot_be_reverted_needs_a_person_who_learns_both_reasons(served: World, second: BaseException) -> None:
    def then() -> None:
        served.fails = {"remove postgres": second}
        raise OpsError("postgres is not healthy", "it printed nothing", "inv logs nginx")

    served.fails = {"healthy postgres": then}
    with pytest.raises(NeedsPerson, match="postgres is not healthy") as caught:
        change_release(served.aim(NEW), yes=True)

    assert "it printed nothing; reverting to release 1 failed as well: " in caught.value.why
    assert "inv rollback --to 1" in caught.value.next_step
    assert served.outcomes[1:] == [(2, "failed")]


def test_undo_of_the_goal_comes_before_the_release(served: World) -> None:
    order: list[str] = []
    served.fails = {"healthy postgres": OpsError("no", "", "")}

    with pytest.raises(OpsError):
        change_release(served.aim(NEW, undo=lambda: order.append(f"undone in release {served.serving}")), yes=True)

    assert order == ["undone in release 2"] and served.serving == 1


def test_undo_that_fails_is_no_silence(served: World) -> None:
    def undo() -> None:
        raise RuntimeError("no")

    served.fails = {"healthy postgres": OpsError("not healthy", "", "")}
    with pytest.raises(NeedsPerson, match="not healthy") as caught:
        change_release(served.aim(NEW, undo=undo), yes=True)
    assert "RuntimeError: no" in caught.value.why


def test_interrupt_reverts_nothing_and_says_what_is_left(served: World) -> None:
    def interrupt() -> None:
        os.kill(os.getpid(), signal.SIGINT)
        time.sleep(0.2)

    served.fails = {"healthy postgres": interrupt}
    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    try:
        with pytest.raises(KeyboardInterrupt) as caught:
            change_release(served.aim(NEW), yes=True)
    finally:
        signal.signal(signal.SIGINT, before)

    said = str(caught.value)
    assert f"{len(served.done)} of " in said and "release 2 is the current one" in said
    assert said.endswith("inv deploy continues, inv rollback --to 1 returns to the previous release")
    assert served.outcomes[1:] == [(2, "interrupted")]
    assert interrupted(served.state.journal) is None and not busy(served.state.lock)


def test_record_that_cannot_be_written_hides_nothing(served: World, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(*_: Any) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(releases, "record_activation", full)
    served.fails = {"healthy postgres": OpsError("postgres is not healthy", "why", "next")}
    with pytest.raises(OpsError, match="postgres is not healthy") as caught:
        change_release(served.aim(NEW), yes=True)
    assert served.serving == 1 and "release 1 serves as before" in caught.value.next_step


@pytest.mark.parametrize("problem", [OSError(5, "Input/output error"), KeyError("images"), OpsError("no", "", "")])
def test_clean_up_that_fails_fails_no_release(served: World, monkeypatch: pytest.MonkeyPatch, problem: Exception) -> None:
    def clean_up(*_: object) -> None:
        raise problem

    monkeypatch.setattr(retention, "clean_up", clean_up)
    assert change_release(served.aim(NEW), yes=True) > 0
    assert served.serving == 2 and served.outcomes[-1] == (2, GOOD)


# What users paid.


def test_failed_requests_put_a_release_back_that_announced_no_interruption(served: World) -> None:
    served.failing = {"backend-1": 3}

    with pytest.raises(OpsError, match=r"3 of 3 requests failed meanwhile; deploy\.failed_requests allows 0") as caught:
        change_release(served.aim(BACKEND), yes=True)

    assert caught.value.why.startswith("the first: get at ") and caught.value.why.endswith(": answered 502")
    assert served.serving == 1 and served.outcomes[-1] == (2, "reverted")


@pytest.mark.parametrize("history", [{}, {"keycloak": 7.0, "backend": 2.0, "redis": 1.0}])
def test_remembered_gap_of_another_service_excuses_nothing(served: World, history: dict[str, float]) -> None:
    """Once Keycloak had been replaced on a host, no failed request of any later deploy that replaced it counted."""
    served.gaps = history
    served.seen = replace(served.seen, gaps=history)
    served.failing = {"backend-1": 1}

    with pytest.raises(OpsError, match="1 of 1 requests failed meanwhile"):
        change_release(served.aim(wanted(tags={"backend": "2", "keycloak": "2"})), yes=True)
    assert served.serving == 1


def test_announced_interruption_excuses_what_fails_in_it(served: World) -> None:
    served.failing = {"postgres": 4}

    change_release(served.aim(NEW), yes=True)

    requests = releases.activations(served.state)[-1].requests
    assert requests is not None and (requests["failed"], requests["announced"]) == (4, 4)


def test_announced_interruption_excuses_nothing_outside_of_it(served: World, monkeypatch: pytest.MonkeyPatch) -> None:
    """Four requests that failed while PostgreSQL was away, and seven while Keycloak was: nginx has those wait."""
    monkeypatch.setattr(measure, "AFTERWARDS_SECONDS", 0.0)
    served.failing = {"postgres": 4, "keycloak": 7}

    with pytest.raises(OpsError, match="7 of 11 requests failed meanwhile, and 4 more as announced"):
        change_release(served.aim(NEW), yes=True)
    assert served.serving == 1


@pytest.mark.parametrize(
    ("change", "stops"),
    [
        (Change("postgres", "recreate", "", 10, "every request fails; the API and logins answer errors", True), True),
        (Change("nginx", "recreate", "", 5, "every request fails", True), True),
        (Change("redis", "recreate", "", 5, "nobody; the API answers from PostgreSQL meanwhile"), False),
        (Change("keycloak", "recreate", "", 25, "who logs in waits"), False),
        (Change("prometheus", "recreate", "", 3.2), False),
        (Change("nginx", "reload", "", 0, "every request fails", True), False),
    ],
)
def test_only_what_everybody_was_told_of_stops_requests(change: Change, stops: bool) -> None:
    assert change.stops_requests is stops


# Questions.


def test_nobody_is_asked_while_the_lock_is_held(served: World, monkeypatch: pytest.MonkeyPatch) -> None:
    """A question that nobody answers kept the health supervisor and renewals from their work."""
    asked: list[bool] = []

    def ask(question: str, expected: str) -> bool:
        asked.append(busy(served.state.lock))
        return True

    monkeypatch.setattr(show, "ask", ask)
    served.lossy = ("realm cc03: the client shop",)
    change_release(served.aim(NEW))

    assert asked == [False]
    assert served.serving == 2


def test_refused_question_changes_nothing(served: World, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(show, "ask", lambda *_: False)
    served.lossy = ("realm cc03: the client shop",)

    with pytest.raises(OpsError, match="nothing was changed"):
        change_release(served.aim(NEW))
    assert served.done == [] and served.outcomes == [(1, GOOD)] and not busy(served.state.lock)


@pytest.mark.parametrize(
    ("later", "times"),
    [
        (("the client shop (3 users now)",), 1),
        ((), 1),
        (("the client shop", "the user anna"), 2),
        (("the user anna",), 2),
    ],
)
def test_it_is_asked_again_only_where_something_else_is_lost_by_then(
    served: World, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], later: tuple[str, ...], times: int
) -> None:
    asked: list[str] = []

    def ask(question: str, expected: str) -> bool:
        asked.append(question)
        served.lossy = later
        return True

    monkeypatch.setattr(show, "ask", ask)
    served.lossy = ("the client shop (2 users now)",)
    change_release(served.aim(NEW))

    assert len(asked) == times and served.serving == 2
    assert capsys.readouterr().out.count("destroys: the client shop (2 users now)") == 1


def test_yes_is_never_asked(served: World, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(show, "ask", lambda *_: pytest.fail("asked"))
    served.lossy = ("the client shop",)

    change_release(served.aim(NEW), yes=True)
    assert served.serving == 2


def test_what_the_host_lacks_is_told_before_anybody_is_asked(served: World, monkeypatch: pytest.MonkeyPatch) -> None:
    def check(_: Project) -> None:
        raise HostLacks("no space", "", "")

    monkeypatch.setattr(show, "ask", lambda *_: pytest.fail("asked"))
    served.lossy = ("the client shop",)
    with pytest.raises(HostLacks, match="no space"):
        change_release(served.aim(NEW), check=check)
    assert served.done == []


def test_sealed_release_whose_image_is_gone_is_refused_before_anything(served: World) -> None:
    change_release(served.aim(NEW), yes=True)
    served.done.clear()
    served.seen = replace(served.seen, images=served.seen.images - {image("postgres").tag})

    with pytest.raises(HostLacks, match="images of that release are no longer on this host"):
        change_release(lambda: transition.back_to(served.project, 1), yes=True)
    assert served.done == [] and served.serving == 2


def test_rollback_goes_to_the_sealed_release(served: World) -> None:
    before = served.running
    change_release(served.aim(NEW), yes=True)

    change_release(lambda: transition.back_to(served.project, 1), yes=True)

    assert served.serving == 1 and served.running == before
    assert [outcome for _, outcome in served.outcomes] == [GOOD, GOOD, GOOD]
