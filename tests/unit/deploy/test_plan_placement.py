"""A service that moves to a network which nginx joins in the same plan is replaced without a proof through nginx."""

from __future__ import annotations

from dataclasses import replace

from ops.deploy.plan import plan_deploy
from ops.deploy.steps import AwaitHealthy, StartContainer
from ops.stack.model import LABEL_HASH, Container, Seen
from ops.stack.wanted import Wanted
from tests.unit.builders import before, defects, deployed, done, keys, step, wanted

SMOKE = "/api/v1/probe"


def release(*networks: str) -> Wanted:
    """The small stack whose backend stands on these networks, and edge with it; it is asked through nginx."""
    base = wanted()
    services = dict(base.compose["services"])
    for slot, one in services.items():
        if slot.startswith(("backend", "edge")):
            labels = {**one["labels"], LABEL_HASH: networks[0]}
            services[slot] = {**one, "networks": {f"cc03-{name}": {} for name in networks}, "labels": labels}
    asked = replace(base.stack.services["backend"], smoke=SMOKE)
    changed = replace(base.stack, services={**base.stack.services, "backend": asked})
    return replace(base, stack=changed, compose={**base.compose, "services": services})


def running(on: str) -> Seen:
    """A release runs whose nginx stands on that network."""
    seen = deployed(release(on))
    edge: Container = replace(seen.containers["edge"], networks=frozenset({f"cc03-{on}"}))
    return replace(seen, containers={**seen.containers, "edge": edge})


def proofs(plan_steps: tuple[object, ...]) -> list[str]:
    return [one.slot for one in plan_steps if isinstance(one, AwaitHealthy) and one.proof.smoke]


def test_move_to_a_new_network_is_not_proved_through_the_nginx_that_is_not_there_yet() -> None:
    plan = plan_deploy(release("new"), running("app"))

    assert defects(plan) == []
    assert proofs(plan.steps) == []
    assert "start backend-surge" not in keys(plan)
    assert isinstance(step(plan, "start backend-1"), StartContainer)
    assert any("backend: away" in note for note in plan.notes)
    assert plan_deploy(release("new"), done(plan.steps, running("app"), release("new"))).steps == ()


def test_network_in_common_is_enough_for_a_proof() -> None:
    plan = plan_deploy(release("new", "app"), running("app"))

    assert set(proofs(plan.steps)) == {"backend-surge", "backend-1", "backend-2"}
    assert plan.notes == ()


def test_service_alone_is_proved_all_the_same_and_so_refused() -> None:
    plan = plan_deploy(release("new"), running("app"), only="backend")

    assert "backend-surge" in proofs(plan.steps)
    assert "healthy backend-surge" in before(plan, "remove backend-1")
