"""What holds for every change, whatever is wanted, whatever runs, and wherever it is broken off."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import replace
from typing import Any

from hypothesis import given, settings
from hypothesis import strategies as st

from ops.core.plan import Plan, Step
from ops.deploy.containers import serves
from ops.deploy.plan import plan_deploy
from ops.deploy.steps import AwaitHealthy, CreateContainers, RemoveContainer, RestartContainer, StartContainer
from ops.stack.model import Seen
from ops.stack.wanted import Wanted
from tests.unit.builders import container, defects, deployed, done, wanted, with_state

EXAMPLES = 15

releases = st.builds(
    lambda tags, config, replicas, memory, held: wanted(
        tags=tags, config=config, text=f"replicas: {{backend: {replicas}}}\n"
        f"limits: {{nginx: {{memory: {memory}m}}, edge: {{memory: {held}m}}}}",
    ),
    tags=st.dictionaries(st.sampled_from(["postgres", "keycloak", "backend", "nginx", "edge"]), st.sampled_from(["1", "2"])),
    config=st.dictionaries(st.sampled_from(["postgres", "keycloak", "nginx"]), st.sampled_from(["a", "b"])),
    replicas=st.integers(1, 4), memory=st.sampled_from([128, 256]),
    held=st.sampled_from([32, 32, 48]),
)  # fmt: skip

faults = st.dictionaries(
    st.sampled_from([
        "postgres", "keycloak", "edge", "nginx", "nginx-surge", "backend-1", "backend-2", "backend-surge", "memcached",
    ]),
    st.sampled_from(["gone", "exited", "created", "lost", "ill", "other", "stranded"]), max_size=4,
)  # fmt: skip


def broken(seen: Seen, what: Mapping[str, str]) -> Seen:
    """The same host after that has happened to its containers."""
    containers, unhealthy = dict(seen.containers), {}
    for slot, fault in what.items():
        if fault == "gone":
            containers.pop(slot, None)
            if slot == "edge":  # by force only, which takes those that stand in its network with it
                containers = {other: one for other, one in containers.items() if one.holder != "edge"}
        elif fault == "other" or slot not in containers:
            holder = "edge" if slot.startswith("nginx") and "edge" in containers else ""
            containers[slot] = replace(container(slot, "of another release"), holder=holder)
        elif fault == "stranded":
            containers[slot] = replace(containers[slot], stranded=bool(containers[slot].holder))
        elif fault == "ill":
            containers[slot] = replace(containers[slot], running_seconds=9999.0)
            unhealthy[slot] = "HTTP 503"
        else:
            containers[slot] = replace(containers[slot], state=fault)
    return with_state(replace(seen, containers=containers, unhealthy=unhealthy), "", *())


@given(old=releases, new=releases, what=faults)
@settings(max_examples=EXAMPLES, deadline=None)
def test_plan_leads_from_whatever_is_seen_to_what_is_wanted(old: Wanted, new: Wanted, what: Mapping[str, str]) -> None:
    seen = broken(deployed(old), what)
    plan = plan_deploy(new, seen)

    assert defects(plan) == []
    assert plan_deploy(new, done(plan.steps, seen, new)).steps == ()


@given(release=releases)
@settings(max_examples=EXAMPLES, deadline=None)
def test_plan_of_a_converged_stack_is_empty(release: Wanted) -> None:
    assert plan_deploy(release, deployed(release)).steps == ()


@given(old=releases, new=releases, what=faults, data=st.data())
@settings(max_examples=EXAMPLES, deadline=None)
def test_change_broken_off_anywhere_is_finished_or_put_back_by_the_next_one(
    old: Wanted, new: Wanted, what: Mapping[str, str], data: st.DataObject
) -> None:
    seen = broken(deployed(old), what)
    first = plan_deploy(new, seen)
    seen = done(first.steps[: data.draw(st.integers(0, len(first.steps)))], seen, new)

    for goal in (new, replace(old, number=1)):
        plan = plan_deploy(goal, seen)
        assert defects(plan) == []
        assert plan_deploy(goal, done(plan.steps, seen, goal)).steps == ()


def order_drawn(plan: Plan, data: st.DataObject) -> list[Step]:
    """One of the orders in which the executor may do the steps."""
    waiting, finished = list(plan.steps), list[Step]()
    while waiting:
        ready = [step for step in waiting if {one.key for one in finished}.issuperset(step.after_keys)]
        step = data.draw(st.sampled_from(ready))
        waiting.remove(step)
        finished.append(step)
    return finished


def serving(seen: Seen, good: set[str], service: str) -> int:
    """Containers of a service that answer: they run and have been found healthy."""
    return sum(slot in good and serves(seen, slot) for slot in seen.containers if of(service, slot))


def of(service: str, slot: str) -> bool:
    return slot == service or slot.startswith(f"{service}-")


def least_serving(seen: Seen, order: Iterable[Step], new: Wanted, service: str, good: set[str]) -> int:
    """How few containers of a service serve at any time. A failure stops the plan: what it leaves is a state on the way, so
    every one of them is looked at.

    good: slots that serve at first.
    """
    good, least = set(good), serving(seen, good, service)
    for step in order:
        seen = done([step], seen, new)
        if isinstance(step, AwaitHealthy):
            good.add(step.slot)
        elif isinstance(step, CreateContainers):
            good -= set(step.slots)
        least = min(least, serving(seen, good, service))
    return least


@given(old=releases, new=releases, what=faults, data=st.data())
@settings(max_examples=EXAMPLES, deadline=None)
def test_no_order_of_steps_and_no_failure_leaves_fewer_backends_serving_than_before_or_than_are_wanted(
    old: Wanted, new: Wanted, what: Mapping[str, str], data: st.DataObject
) -> None:
    seen = broken(deployed(old), what)
    # What serves now and stays wanted; replicas too many may go, and so may what an earlier deploy has left over.
    good = {slot for slot in seen.containers if of("backend", slot) and serves(seen, slot)}
    kept = good & set(new.stack.services["backend"].slots())

    assert least_serving(seen, order_drawn(plan_deploy(new, seen), data), new, "backend", good) >= len(kept)


@given(old=releases, new=releases, what=faults, data=st.data())
@settings(max_examples=EXAMPLES, deadline=None)
def test_no_order_of_steps_and_no_failure_leaves_no_nginx_serving_where_one_did_unless_its_address_itself_changes(
    old: Wanted, new: Wanted, what: Mapping[str, str], data: st.DataObject
) -> None:
    seen = broken(deployed(old), what)
    plan = plan_deploy(new, seen)
    good = {slot for slot in seen.containers if of("nginx", slot) and serves(seen, slot)}
    if any(isinstance(step, EDGE_ITSELF) and step_slots(step) & {"edge"} for step in plan.steps):
        return

    assert least_serving(seen, order_drawn(plan, data), new, "nginx", good) >= min(1, len(good))


EDGE_ITSELF = CreateContainers | StartContainer | RestartContainer | RemoveContainer


def step_slots(step: Any) -> set[str]:
    return set(step.slots if isinstance(step, CreateContainers) else [step.slot])
