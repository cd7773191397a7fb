"""Stopping, starting, restarting and destroying what exists."""

from __future__ import annotations

from dataclasses import replace

import pytest

from ops.lifecycle.plan import plan_destroy, plan_restart, plan_start, plan_stop
from ops.lifecycle.steps import RemoveState, RemoveVolume
from ops.secrets.steps import RemoveSecret
from ops.stack.model import Seen
from tests.unit.builders import before, container, defects, deployed, keys, stack, step, wanted, with_state

LIST: dict[str, object] = {"targets": []}


def test_stop_ends_supervision_first_and_databases_last() -> None:
    plan = plan_stop(stack(), deployed(wanted()), ticker=True)

    assert defects(plan) == []
    assert keys(plan)[0] == "supervise"
    assert set(keys(plan)[-2:]) == {"stop postgres", "stop edge"}
    assert {"supervise", "stop nginx", "stop backend-1", "stop backend-2", "stop keycloak"} <= before(plan, "stop postgres")
    assert {"stop backend-1", "stop backend-2"} <= before(plan, "stop keycloak")
    assert step(plan, "stop postgres").grace == 90


def test_what_outlives_a_service_stops_after_it() -> None:
    own = stack()
    own = replace(own, services={**own.services, "nginx": replace(own.services["nginx"], stop_after=("postgres",))})

    assert "stop postgres" in before(plan_stop(own, deployed(wanted()), ticker=False), "stop nginx")


def test_stop_leaves_out_what_does_not_run() -> None:
    plan = plan_stop(stack(), with_state(deployed(wanted()), "exited", "nginx", "keycloak"), ticker=False)

    assert set(keys(plan)) == {"stop postgres", "stop backend-1", "stop backend-2", "stop grafana", "stop edge"}


def test_stop_includes_containers_that_the_stack_no_longer_has() -> None:
    seen = Seen(containers={"memcached": container("memcached", "old")})

    assert keys(plan_stop(stack(), seen, ticker=False)) == ["stop memcached"]


def test_stop_has_nothing_to_do_where_nothing_runs() -> None:
    assert plan_stop(stack(), Seen(), ticker=False).steps == ()


def test_start_follows_the_needs_and_ends_with_supervision() -> None:
    stopped = with_state(deployed(wanted()), "exited", *wanted().slots())

    plan = plan_start(stack(), replace(stopped, ticker=""), LIST, "v1")

    assert defects(plan) == []
    assert "healthy postgres" in before(plan, "start keycloak")
    assert {"healthy postgres", "healthy keycloak"} <= before(plan, "start backend-1")
    assert step(plan, "start edge").after_keys == ()
    assert step(plan, "start nginx").after_keys == ("healthy edge",)
    assert keys(plan)[-1] == "supervise"
    assert before(plan, "supervise") == set(keys(plan)) - {"supervise"}


def test_start_does_not_wait_for_what_runs_already() -> None:
    plan = plan_start(stack(), with_state(deployed(wanted(), supervised="v1"), "exited", "keycloak"), LIST, "v1")

    assert keys(plan) == ["start keycloak", "healthy keycloak"]
    assert step(plan, "start keycloak").after_keys == ()


def test_start_has_nothing_to_do_where_all_runs_and_is_watched() -> None:
    assert plan_start(stack(), deployed(wanted(), supervised="v1"), LIST, "v1").steps == ()


def test_restart_goes_one_replica_after_the_other() -> None:
    plan = plan_restart(stack(), deployed(wanted()), "backend")

    assert keys(plan) == ["restart backend-1", "healthy backend-1", "restart backend-2", "healthy backend-2"]
    assert step(plan, "restart backend-2").after_keys == ("healthy backend-1",)


def test_restart_leaves_out_a_replica_that_does_not_exist() -> None:
    seen = deployed(wanted())
    seen = replace(seen, containers={"backend-2": seen.containers["backend-2"]})

    assert keys(plan_restart(stack(), seen, "backend")) == ["restart backend-2", "healthy backend-2"]


def test_destroy_keeps_data_and_says_that_the_site_goes_down() -> None:
    plan = plan_destroy(stack(), deployed(wanted()), keep_data=True)

    assert defects(plan) == []
    assert not [one for one in plan.steps if isinstance(one, RemoveVolume | RemoveState)]
    assert len(plan.destroys) == 1
    assert "volumes and state stay" in plan.destroys[0]


def test_destroy_without_keeping_data_names_every_loss_and_removes_the_state_last() -> None:
    plan = plan_destroy(stack(), deployed(wanted()), keep_data=False)

    assert defects(plan) == []
    assert keys(plan)[-1] == "state"
    assert before(plan, "state") == set(keys(plan)) - {"state"}
    assert plan.destroys[0] == "volume cc03-postgres-data"
    assert "backup key" in plan.destroys[-1]


@pytest.mark.parametrize("kind", ["network cc03-data", "volume cc03-postgres-data", "secret cc03-postgres-app-1"])
def test_destroy_removes_containers_before_what_they_use(kind: str) -> None:
    plan = plan_destroy(stack(), deployed(wanted()), keep_data=False)

    assert {f"remove {slot}" for slot in wanted().slots()} | {"supervise"} <= before(plan, kind)


def test_destroy_of_one_project_never_takes_the_secrets_of_another_whose_name_begins_alike() -> None:
    names = {"cc03-postgres-app-1", "cc03-postgres-app-12", "cc03-test-postgres-app-1", "cc03-other-1", "cc03-postgres-app"}
    seen = Seen(podman_secrets=frozenset(names))

    def taken(project: str) -> list[str]:
        plan = plan_destroy(stack(project=project), seen, keep_data=True)
        return [one.name for one in plan.steps if isinstance(one, RemoveSecret)]

    assert taken("cc03") == ["cc03-postgres-app-1", "cc03-postgres-app-12"]
    assert taken("cc03-test") == ["cc03-test-postgres-app-1"]


def test_destroy_takes_the_credentials_of_repositories_that_are_no_longer_declared() -> None:
    """Left behind, they are what a later deploy with such a repository takes for secrets that were lost."""
    names = {
        "cc03-repository-nas-key-1",
        "cc03-repository-offsite-key-secret-2",
        "cc03-repository-1",
        "cc03-test-repository-nas-key-1",
    }
    plan = plan_destroy(stack(), Seen(podman_secrets=frozenset(names)), keep_data=True)

    taken = [one.name for one in plan.steps if isinstance(one, RemoveSecret)]
    assert taken == ["cc03-repository-nas-key-1", "cc03-repository-offsite-key-secret-2"]


def test_destroy_with_data_kept_has_nothing_to_do_on_an_empty_host() -> None:
    plan = plan_destroy(stack(), Seen(), keep_data=True)

    assert (plan.steps, plan.destroys) == ((), ())
