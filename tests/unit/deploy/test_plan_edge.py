"""nginx in the network of its holder: rolled beside itself, replaced with the holder, never left in a network that is gone."""

from __future__ import annotations

from dataclasses import replace

import pytest

from ops.deploy.containers import Options
from ops.deploy.plan import plan_deploy
from ops.deploy.steps import AwaitHealthy, RestartContainer, StartContainer
from ops.lifecycle.plan import plan_destroy, plan_restart, plan_start, plan_stop
from ops.stack.model import LABEL_HASH, Container, Seen
from ops.stack.wanted import Wanted, with_one_service
from tests.unit.builders import before, container, defects, deployed, done, keys, stack, step, wanted, with_state

NEW_HOLDER = "limits: {edge: {memory: 48m}}"


def test_nginx_is_replaced_behind_another_one_at_the_same_address() -> None:
    plan = plan_deploy(wanted(tags={"nginx": "2"}), deployed(wanted()), options=Options(settle=6))

    assert keys(plan) == [
        "image nginx", "release",
        "create nginx", "start nginx-surge", "healthy nginx-surge",
        "reconnect backend, nginx", "remove nginx", "promote nginx", "start nginx", "healthy nginx",
        "reconnect backend, nginx-surge", "retire nginx-surge",
    ]  # fmt: skip
    # Beside the stop, not before it: who comes back must find the old one closed.
    assert "reconnect backend, nginx" not in before(plan, "remove nginx")
    assert step(plan, "reconnect backend, nginx").slots == ("backend-1", "backend-2")
    assert "healthy nginx-surge" in before(plan, "remove nginx")
    assert "healthy nginx" in before(plan, "retire nginx-surge")
    assert step(plan, "healthy nginx-surge").proof.settle == 6


def test_image_of_the_holder_alone_replaces_nothing() -> None:
    assert keys(plan_deploy(wanted(tags={"edge": "2"}), deployed(wanted()))) == ["image edge", "release"]


def test_holder_is_replaced_only_while_nobody_stands_in_its_network() -> None:
    seen = deployed(wanted())
    extra = replace(container("nginx-surge", "left over"), holder="edge")
    plan = plan_deploy(wanted(text=NEW_HOLDER), replace(seen, containers={**seen.containers, "nginx-surge": extra}))

    assert defects(plan) == []
    assert {"remove nginx", "remove nginx-surge"} <= before(plan, "remove edge")
    assert step(plan, "reconnect backend, nginx").slots == ("backend-1", "backend-2"), "an open WebSocket holds up the stop"
    assert "reconnect backend, nginx" not in before(plan, "remove nginx") | before(plan, "create edge")
    assert "remove edge" in before(plan, "create edge")
    assert "healthy edge" in before(plan, "create nginx")
    assert "loaded nginx" not in keys(plan), "its configuration is the one that it had loaded"


def without_holder(seen: Seen) -> Seen:
    """As a release left it that had no holder yet: nginx has the address and publishes the ports itself."""
    kept = {slot: one for slot, one in seen.containers.items() if slot != "edge"}
    return replace(seen, containers={**kept, "nginx": container("nginx", "before there was a holder")})


def test_first_holder_takes_address_and_ports_from_an_nginx_that_had_them_itself() -> None:
    seen = without_holder(deployed(wanted()))
    plan = plan_deploy(wanted(), seen)

    assert keys(plan) == [
        "reconnect backend, nginx", "remove nginx", "create edge", "start edge", "healthy edge",
        "create nginx", "start nginx", "healthy nginx",
    ]  # fmt: skip
    assert "remove nginx" in before(plan, "create edge")
    assert plan_deploy(wanted(), done(plan.steps, seen, wanted())).steps == ()


def sealed_without_holder() -> Wanted:
    now = wanted()
    services = {name: one for name, one in now.stack.services.items() if name != "edge"}
    services["nginx"] = replace(services["nginx"], shares=None, needs=())
    slots = {slot: one for slot, one in now.compose["services"].items() if slot not in ("edge", "nginx-surge")}
    slots["nginx"] = {"labels": {**slots["nginx"]["labels"], "cc03.config-hash": "its own address"}}
    return replace(now, stack=replace(now.stack, services=services), compose={**now.compose, "services": slots}, number=1)


def test_way_back_to_a_release_without_holder_takes_it_away_before_nginx_needs_its_ports() -> None:
    seen, old = deployed(wanted()), sealed_without_holder()
    plan = plan_deploy(old, seen)

    assert defects(plan) == []
    assert "remove nginx" in before(plan, "remove edge")
    assert "remove edge" in before(plan, "create nginx")
    assert plan_deploy(old, done(plan.steps, seen, old)).steps == ()


@pytest.mark.parametrize("state", ["exited", "lost", "created"])
def test_nginx_joins_the_new_network_of_a_holder_that_is_started(state: str) -> None:
    plan = plan_deploy(wanted(), with_state(deployed(wanted()), state, "edge"))

    assert keys(plan) == ["start edge", "healthy edge", "start nginx", "healthy nginx"]
    assert isinstance(step(plan, "start nginx"), RestartContainer)
    assert "healthy edge" in before(plan, "start nginx")


def test_nginx_that_has_lost_its_network_is_restarted_however_young_it_is() -> None:
    seen = deployed(wanted())
    lost = replace(seen.containers["nginx"], stranded=True, running_seconds=1.0)
    seen = replace(seen, containers={**seen.containers, "nginx": lost}, unhealthy={"nginx": "it has lost its network"})

    plan = plan_deploy(wanted(), seen)
    assert keys(plan) == ["start nginx", "healthy nginx"]
    assert isinstance(step(plan, "start nginx"), RestartContainer)


def test_nginx_that_has_lost_its_network_is_replaced_without_an_extra_one() -> None:
    seen = deployed(wanted())
    lost = replace(seen.containers["nginx"], stranded=True)
    plan = plan_deploy(wanted(tags={"nginx": "2"}), replace(seen, containers={**seen.containers, "nginx": lost}))

    assert "create nginx-surge" not in keys(plan)
    assert "create nginx" in keys(plan)


def test_nginx_stops_before_its_holder_and_starts_after_it() -> None:
    seen = deployed(wanted())
    stopped = with_state(seen, "exited", *wanted().slots())

    assert "stop nginx" in before(plan_stop(stack(), seen, ticker=True), "stop edge")
    assert "remove nginx" in before(plan_destroy(stack(), seen, keep_data=True), "remove edge")
    assert "healthy edge" in before(plan_start(stack(), stopped, {}, "v1"), "start nginx")


def test_start_brings_back_an_nginx_that_runs_without_its_holder() -> None:
    plan = plan_start(stack(), with_state(deployed(wanted(), supervised="v1"), "exited", "edge"), {}, "v1")

    assert keys(plan) == ["start edge", "healthy edge", "start nginx", "healthy nginx"]
    assert isinstance(step(plan, "start nginx"), RestartContainer)


def test_restart_of_the_holder_takes_nginx_along() -> None:
    seen = deployed(wanted())

    assert keys(plan_restart(stack(), seen, "edge")) == ["restart edge", "healthy edge", "restart nginx", "healthy nginx"]
    assert keys(plan_restart(stack(), seen, "nginx")) == ["restart nginx", "healthy nginx"]


@pytest.mark.parametrize("only", ["nginx", "edge"])
def test_deploy_of_one_of_the_two_is_a_deploy_of_both(only: str) -> None:
    last = wanted()
    new = wanted(text=NEW_HOLDER, tags={"nginx": "2", "backend": "2"})
    mixed = with_one_service(new, last, only)
    plan = plan_deploy(mixed, deployed(last), only=only)

    assert {change.service for change in plan.changes} == {"edge", "nginx"}
    assert "image backend" not in keys(plan)


# A service that moves to a network which nginx joins in the same plan is replaced without a proof through nginx.

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
