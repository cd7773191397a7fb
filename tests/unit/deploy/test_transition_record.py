"""From one release to another: when users are watched, what is recorded of it, and which release it goes back to."""

from __future__ import annotations

import os
import signal
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from types import SimpleNamespace
from typing import Any, cast

import pytest

from ops.core import files
from ops.core.errors import HostLacks, NeedsPerson, OpsError
from ops.core.lock import busy
from ops.core.plan import Described, Plan
from ops.deploy import measure, measurement, participant, transition
from ops.deploy.commands import checkout_goal
from ops.deploy.measure import Sample
from ops.deploy.participant import Rules
from ops.deploy.steps import Migrate
from ops.deploy.transition import Goal, again, back_to, change_release, left_out_of
from ops.project import Project
from ops.stack.model import EDGE
from ops.stack.release import GOOD, Activation
from ops.stack.wanted import Wanted
from ops.store import releases
from tests.unit import modelled
from tests.unit.builders import done, image, settings, wanted, with_state
from tests.unit.modelled import BACKEND, NEW, OLD, World
from tests.unit.modelled import served as served  # noqa: PLC0414  (a fixture)
from tests.unit.modelled import world as world  # noqa: PLC0414  (a fixture)
from tests.unit.policies.test_admission import exempt

THIRD = wanted(config={"keycloak": "kc-3"}, tags={"postgres": "3"})
NOT_HEALTHY = OpsError("postgres is not healthy", "it printed nothing", "inv logs postgres", ("a line of its log",))


def activation(world: World) -> Activation:
    return releases.activations(world.state)[-1]


# When users are watched.


@dataclass
class Watch:
    """Stands for the prober. given: what it was started with; baselines: seconds that it was watched before the first touch."""

    world: World
    note: str = ""
    given: list[tuple[Any, ...]] = field(default_factory=list)
    baselines: list[float] = field(default_factory=list)
    before: tuple[Sample, ...] = ()

    @contextmanager
    def measured(self, *given: Any) -> Iterator[Any]:
        self.given.append(given)
        self.world.samples[:] = self.before
        yield self

    @property
    def samples(self) -> list[Sample]:
        return self.world.samples

    def baseline(self, seconds: float) -> None:
        self.baselines.append(seconds)


@pytest.fixture
def watch(world: World, monkeypatch: pytest.MonkeyPatch) -> Watch:
    made = Watch(world)
    monkeypatch.setattr(measurement, "measured", made.measured)
    return made


def failing(at: float, kind: str = "get") -> Sample:
    return Sample(at=at, kind=kind, ms=1, status=502, failed="answered 502")


def fails_now(world: World) -> Callable[[], None]:
    return lambda: world.samples.append(failing(time.time()))


def test_first_release_has_no_users_to_watch(world: World, watch: Watch) -> None:
    change_release(world.aim(OLD), yes=True)

    assert watch.given == [] and activation(world).requests is None and activation(world).previous is None


def test_stack_that_is_down_has_no_users_to_watch(watch: Watch, served: World) -> None:
    for seen in (with_state(served.seen, "exited", EDGE), replace(served.seen, containers={})):
        served.seen = seen
        change_release(served.aim(NEW), yes=True)
        assert watch.given == [] and activation(served).requests is None
        assert activation(served).outcome == GOOD


def test_users_are_watched_from_before_the_first_touch(watch: Watch, served: World) -> None:
    watch.note = "1 host has no IPv6"
    change_release(served.aim(NEW), yes=True)

    project = served.project
    assert watch.given == [(project.settings, project.ports, served.state, transition.LONGEST)]
    assert watch.baselines == [transition.BASELINE_SECONDS]
    requests = activation(served).requests
    assert requests is not None and requests["note"] == "1 host has no IPv6"


def test_users_are_watched_for_a_while_afterwards(watch: Watch, served: World, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(transition, "AFTER_SECONDS", 0.2)
    waits: list[float] = []
    monkeypatch.setattr(time, "sleep", waits.append)
    change_release(served.aim(NEW), yes=True)

    assert 0 <= max(waits) <= 0.2 and max(waits) > 0


def test_what_failed_before_the_first_touch_is_not_of_this_release(watch: Watch, served: World) -> None:
    """Files are written and images built before anything is touched."""
    served.fails = {"release": fails_now(served)}
    change_release(served.aim(BACKEND), yes=True)

    requests = activation(served).requests
    assert requests is not None and (requests["failed"], requests["failed_before"]) == (0, 1)
    assert served.serving == 2


def test_site_that_failed_before_is_no_measure(watch: Watch, served: World) -> None:
    watch.before = (failing(time.time() - 60),)
    served.failing = {"backend-1": 3}
    change_release(served.aim(BACKEND), yes=True)

    assert served.serving == 2 and activation(served).outcome == GOOD


@pytest.mark.parametrize(("budget", "serving"), [(3, 2), (2, 1)])
def test_settings_allow_some_failed_requests(
    watch: Watch, served: World, monkeypatch: pytest.MonkeyPatch, budget: int, serving: int
) -> None:
    monkeypatch.setattr(modelled, "settings", lambda: settings(f"deploy: {{failed_requests: {budget}}}"))
    served.failing = {"backend-1": 3}
    if serving == 1:
        with pytest.raises(OpsError, match="3 of 3 requests failed"):
            change_release(served.aim(BACKEND), yes=True)
    else:
        change_release(served.aim(BACKEND), yes=True)
    assert served.serving == serving


def test_first_failed_request_that_was_not_announced_is_named(
    watch: Watch, served: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(measure, "AFTERWARDS_SECONDS", 0.0)
    served.failing = {"postgres": 1}
    served.fails = {"healthy keycloak": lambda: served.samples.append(failing(time.time(), "post"))}
    with pytest.raises(OpsError, match="1 of 2 requests failed meanwhile, and 1 more as announced") as caught:
        change_release(served.aim(NEW), yes=True)
    assert caught.value.why.startswith("the first: post at ")


def test_plan_that_announces_to_stop_all_requests_is_excused_for_all_of_its_time(watch: Watch, served: World) -> None:
    served.failing = {"backend-1": 3}

    def goal() -> Goal:
        return replace(served.goal(BACKEND), extend=lambda plan, seen: replace(plan, stops_requests=bool(plan.steps)))

    change_release(goal, yes=True)
    requests = activation(served).requests
    assert requests is not None and (requests["failed"], requests["announced"]) == (3, 3)
    assert served.serving == 2


# What is recorded.


def test_record_says_what_it_came_to(served: World) -> None:
    def slow_failure() -> None:
        time.sleep(0.2)
        raise NOT_HEALTHY

    served.fails = {"healthy postgres": slow_failure}
    before = time.monotonic()
    with pytest.raises(OpsError) as caught:
        change_release(served.aim(NEW), yes=True)
    took = time.monotonic() - before

    entry = activation(served)
    assert (entry.release, entry.verb, entry.outcome, entry.previous) == (2, "deploy", "reverted", 1)
    assert entry.why == "postgres is not healthy: it printed nothing"
    assert time.strptime(entry.at, "%Y-%m-%dT%H:%M:%S%z")
    assert 0.2 <= entry.seconds <= round(took, 1)
    assert caught.value.details == ("a line of its log",)


def test_next_step_is_the_cause_unless_a_person_is_needed(served: World) -> None:
    for problem, step in ((NOT_HEALTHY, "correct the cause"), (NeedsPerson("left over", "something", "look"), "look")):
        served.fails = {"healthy postgres": problem}
        with pytest.raises(OpsError) as caught:
            change_release(served.aim(NEW), yes=True)
        assert caught.value.next_step.endswith(f" s; {step}, then inv deploy")


def test_failure_that_changed_nothing_keeps_its_kind_unless_it_asked_for_a_person(served: World) -> None:
    for problem, kind in ((HostLacks("no space", "", "df"), HostLacks), (NeedsPerson("odd", "", "look"), OpsError)):
        served.fails = {"image backend": problem}
        with pytest.raises(OpsError) as caught:
            change_release(served.aim(BACKEND), yes=True)
        assert type(caught.value) is kind and caught.value.next_step.startswith("nothing was changed; ")
    assert served.outcomes == [(1, GOOD)], "a release that never was is not recorded"


def test_failed_release_keeps_its_number(served: World) -> None:
    served.fails = {"healthy postgres": NOT_HEALTHY}
    with pytest.raises(OpsError):
        change_release(served.aim(NEW), yes=True)
    change_release(served.aim(THIRD), yes=True)

    assert served.outcomes == [(1, GOOD), (2, "reverted"), (3, GOOD)] and served.serving == 3
    assert activation(served).previous == 1


def interrupt() -> None:
    os.kill(os.getpid(), signal.SIGINT)
    time.sleep(0.2)


@pytest.fixture
def listening() -> Iterator[None]:
    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    yield
    signal.signal(signal.SIGINT, before)


def test_way_back_leads_past_a_release_that_never_served(served: World, listening: None) -> None:
    served.fails = {"healthy postgres": interrupt}
    with pytest.raises(KeyboardInterrupt):
        change_release(served.aim(NEW), yes=True)
    assert served.serving == 2

    served.fails = {"healthy postgres": NOT_HEALTHY}
    with pytest.raises(OpsError, match="not healthy") as caught:
        change_release(served.aim(THIRD), yes=True)
    assert caught.value.next_step.startswith("release 1 serves as before")
    assert served.serving == 1 and activation(served).previous == 1


def test_way_back_never_leads_to_a_newer_release(served: World) -> None:
    change_release(served.aim(NEW), yes=True)
    change_release(lambda: back_to(served.project, 1), yes=True)
    served.fails = {"healthy postgres": NOT_HEALTHY}
    with pytest.raises(OpsError):
        change_release(served.aim(THIRD), yes=True)
    assert served.serving == 1 and activation(served).previous == 1

    files.link(served.state.current, "3")  # 3 never served; 2 and 1 have
    served.fails = {}
    change_release(served.aim(wanted(tags={"postgres": "4"})), yes=True)
    assert activation(served).previous == 2


def test_first_release_that_is_interrupted_has_no_way_back(world: World, listening: None) -> None:
    world.fails = {"healthy postgres": interrupt}
    with pytest.raises(KeyboardInterrupt) as caught:
        change_release(world.aim(OLD), yes=True)

    assert str(caught.value).endswith("inv deploy continues") and world.outcomes == [(1, "interrupted")]
    world.fails = {}
    change_release(world.aim(OLD), yes=True)
    assert world.outcomes == [(1, "interrupted"), (1, GOOD)]


def test_release_that_a_killed_command_brought_about_is_recorded_once(served: World) -> None:
    served.state.activations.unlink()
    for _ in range(2):
        change_release(served.aim(OLD), yes=True)

    (entry,) = releases.activations(served.state)
    assert (entry.release, entry.verb, entry.outcome) == (1, "deploy", GOOD) and entry.why and entry.at


def test_nothing_is_recorded_where_there_is_no_release_yet(world: World) -> None:
    world.seen = done([], world.seen, OLD)
    transition._recognise(world.project)
    assert world.outcomes == []


# Goals


def test_sealed_release_does_without_what_it_was_left_out_of(served: World) -> None:
    """Else it would be built on the way back."""
    small = wanted(without=("grafana",))
    seen = left_out_of(small)(served.seen)

    assert set(seen.unavailable) == {"grafana"} and seen.unavailable["grafana"]
    assert left_out_of(OLD)(served.seen).unavailable == {}
    goal = again(served.project, small, "scale", undo=interrupt, rules=Rules(own_since="x"))
    assert (goal.verb, goal.want(None), goal.options.migrate) == ("scale", small, False)
    assert set(goal.without(served.seen).unavailable) == {"grafana"}
    assert (goal.undo, goal.rules) == (interrupt, Rules(own_since="x"))


def test_rollback_whose_image_is_gone_is_refused_in_its_plan_already(served: World) -> None:
    change_release(served.aim(NEW), yes=True)
    served.seen = replace(served.seen, images=served.seen.images - {image("postgres").tag})

    with pytest.raises(HostLacks, match="images of that release are no longer on this host") as caught:
        change_release(lambda: back_to(served.project, 1), plan_only=True)
    assert "image postgres" in caught.value.why
    served.seen = replace(served.seen, images=frozenset())
    assert change_release(served.aim(NEW), plan_only=True) == 0, "a deploy builds what is missing"


@pytest.mark.parametrize(("release", "held"), [(NEW, [True]), (OLD, [])])
def test_host_is_checked_under_the_lock_where_there_is_something_to_do(
    served: World, release: Wanted, held: list[bool]
) -> None:  # fmt: skip
    checked: list[bool] = []
    change_release(served.aim(release), yes=True, check=lambda project: checked.append(busy(project.state.lock)))
    assert checked == held


def test_release_that_violates_policies_is_refused_unless_that_is_accepted(served: World) -> None:
    loose = replace(NEW, violations=("postgres: runs as root",))
    with pytest.raises(OpsError, match="1 policy violation"):
        change_release(served.aim(loose, accept_violations=False), yes=True)
    assert served.done == [] and served.outcomes == [(1, GOOD)]

    change_release(served.aim(loose, accept_violations=True), yes=True)
    assert served.serving == 2


def test_release_that_was_admitted_before_is_not_judged_again(served: World) -> None:
    _, _, plan = served.goal(replace(NEW, violations=("postgres: runs as root",))).decide()
    assert (plan.violations, plan.exemptions) == ((), ())


def test_exemptions_are_those_that_the_running_release_lacks(served: World) -> None:
    loose = replace(NEW, stack=exempt(NEW.stack, "nginx", root="it binds a low port"))
    goal = served.goal(loose, accept_violations=False)
    cast(Any, goal.project).release = OLD
    something = Plan("deploy", (Described("a", "do a"),))

    assert goal._admitted(something, loose).exemptions == ("nginx: root: it binds a low port",)
    assert goal._admitted(something, NEW).exemptions == ()
    assert goal._admitted(Plan("deploy"), loose) == Plan("deploy"), "there is nothing to decide"
    cast(Any, goal.project).release = None
    assert goal._admitted(something, loose).exemptions == ()


def test_databases_are_migrated_on_the_way_forth_alone(served: World) -> None:
    _, _, forth = served.goal(BACKEND).decide()
    change_release(served.aim(BACKEND), yes=True)
    _, _, back = back_to(served.project, 1).decide()

    assert any(isinstance(step, Migrate) for step in forth.steps)
    assert back.steps and not any(isinstance(step, Migrate) for step in back.steps)


@pytest.mark.parametrize(("here", "away"), [(True, set()), (False, {"grafana"})])
def test_image_of_the_checkout_that_was_not_looked_for_is_asked_for_before_it_is_left_out(
    served: World, monkeypatch: pytest.MonkeyPatch, here: bool, away: set[str]
) -> None:
    """The release that a single service is deployed into may have another one."""
    monkeypatch.setattr(participant, "participants", lambda: ())
    engine = SimpleNamespace(images=lambda tags: dict.fromkeys(tags if here else (), "id"), offered=lambda source: False)
    parts = {"stack": OLD.stack, "images": OLD.images, "engine": engine}
    project = cast(Project, SimpleNamespace(**{**vars(served.project), **parts}))
    goal = checkout_goal(project, "backend")

    assert set(goal.without(replace(served.seen, images=frozenset())).unavailable) == away
