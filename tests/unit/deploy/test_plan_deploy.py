"""What a first deploy does and in which order, and when there is nothing to do."""

from __future__ import annotations

from dataclasses import replace

import pytest

from ops.core.errors import HostLacks
from ops.deploy.plan import plan_deploy
from ops.deploy.steps import CreateNetwork
from ops.stack.model import Seen, seconds
from tests.unit.builders import LEFT_OUT, before, defects, deployed, done, keys, step, wanted


def test_first_deploy_has_every_step_once_and_in_an_order_that_can_run() -> None:
    plan = plan_deploy(wanted(), Seen())

    assert defects(plan) == []
    assert keys(plan) == [
        "base trixie", "image postgres", "image keycloak", "image backend", "image edge", "image nginx", "image grafana",
        "generate postgres-app", "secret postgres-app", "generate postgres-superuser", "secret postgres-superuser",
        "certificate postgres", "certificate nginx",
        "firewall", "network web", "network app", "network data", "volume postgres-data",
        "config postgres", "config keycloak", "config nginx",
        "release",
        "create first", "create rest", "create nginx",
        "start postgres", "healthy postgres", "loaded postgres",
        "start keycloak", "healthy keycloak", "loaded keycloak",
        "migrate backend", "start backend-1", "healthy backend-1", "start backend-2", "healthy backend-2",
        "start edge", "healthy edge", "start nginx", "healthy nginx", "loaded nginx",
        "start grafana", "healthy grafana",
        "supervise",
    ]  # fmt: skip


@pytest.mark.parametrize(
    ("key", "earlier"),
    [
        ("image postgres", {"base trixie"}),
        ("secret postgres-app", {"generate postgres-app"}),
        ("release", {"image grafana", "config nginx"}),
        ("create first", {"release", "network data", "volume postgres-data", "secret postgres-app", "certificate postgres"}),
        ("create rest", {"release", "network data", "volume postgres-data", "secret postgres-app", "certificate postgres"}),
        ("create nginx", {"create first"}),
        ("start nginx", {"create nginx", "healthy edge"}),
        ("start keycloak", {"create first", "healthy postgres"}),
        ("migrate backend", {"release", "secret postgres-app", "healthy postgres", "healthy keycloak"}),
        ("start backend-1", {"migrate backend", "create rest"}),
        ("start backend-2", {"migrate backend", "create rest"}),
        ("supervise", {"healthy backend-2", "healthy nginx", "healthy grafana", "loaded keycloak"}),
    ],
)
def test_first_deploy_waits_for(key: str, earlier: set[str]) -> None:
    assert earlier <= before(plan_deploy(wanted(), Seen()), key)


@pytest.mark.parametrize(
    ("key", "other"),
    [
        ("image keycloak", "image postgres"),
        ("create first", "create rest"),
        ("start nginx", "healthy postgres"),
        ("start backend-2", "start backend-1"),
        ("start grafana", "healthy backend-1"),
    ],
)
def test_first_deploy_does_side_by_side(key: str, other: str) -> None:
    plan = plan_deploy(wanted(), Seen())

    assert other not in before(plan, key)
    assert key not in before(plan, other)


def test_first_deploy_creates_what_others_wait_for_in_a_call_of_its_own() -> None:
    plan = plan_deploy(wanted(), Seen())

    assert step(plan, "create first").slots == ("postgres", "keycloak", "edge")
    assert step(plan, "create rest").slots == ("backend-1", "backend-2", "grafana")


def test_first_deploy_carries_what_each_step_needs() -> None:
    plan = plan_deploy(wanted(), Seen())

    assert step(plan, "network data") == CreateNetwork(
        "network data", "create network data", name="cc03-data", subnet="10.64.2.0/24", internal=True
    )
    assert not step(plan, "network web").internal
    assert step(plan, "certificate postgres").owner == 60705
    assert step(plan, "certificate postgres").names == ("postgres", "localhost")
    assert step(plan, "healthy keycloak").proof.deadline == 600
    assert step(plan, "migrate backend").slot == "backend-migrate"
    assert step(plan, "release").number == 1


def test_deploy_has_nothing_to_do_where_all_is_as_wanted() -> None:
    plan = plan_deploy(wanted(), deployed(wanted()))

    assert plan.steps == ()
    assert plan.notes == ()


def test_deploy_is_not_confirmed_because_it_destroys_nothing() -> None:
    assert plan_deploy(wanted(), Seen()).destroys == ()


def test_optional_service_without_its_image_is_left_out_and_told() -> None:
    plan = plan_deploy(wanted(without=LEFT_OUT), Seen(unavailable=LEFT_OUT))

    assert plan.notes == ("grafana is left out: no registry answers",)
    assert not [key for key in keys(plan) if "grafana" in key]
    assert "grafana" not in step(plan, "release").manifest["images"]
    assert defects(plan) == []


def test_optional_service_joins_once_its_image_is_there() -> None:
    seen = deployed(wanted(without=LEFT_OUT))
    seen = replace(seen, images=seen.images | {wanted().images["grafana"].tag})

    plan = plan_deploy(wanted(), seen)

    assert keys(plan) == ["release", "create rest", "start grafana", "healthy grafana", "supervise"]


def test_one_service_only_touches_nothing_of_the_others() -> None:
    changed = wanted(tags={"keycloak": "2", "backend": "2"}, config={"nginx": "ng-2"})

    plan = plan_deploy(changed, deployed(wanted()), only="keycloak")

    assert keys(plan) == [
        "image keycloak", "release",
        "create keycloak", "remove keycloak", "promote keycloak", "start keycloak", "healthy keycloak",
    ]  # fmt: skip
    assert defects(plan) == []


def test_one_service_only_leaves_orphans_alone() -> None:
    plan = plan_deploy(wanted(text="replicas: {backend: 1}"), deployed(wanted()), only="postgres")

    assert "remove backend-2" not in keys(plan)


def test_one_service_only_on_an_empty_host_does_not_wait_for_services_that_it_does_not_start() -> None:
    plan = plan_deploy(wanted(), Seen(), only="keycloak")

    assert defects(plan) == []
    assert step(plan, "start keycloak").after_keys == ("create first",)


def test_release_number_stays_where_the_manifest_is_the_same() -> None:
    seen = replace(deployed(wanted()), ticker="")

    assert "release" not in keys(plan_deploy(wanted(), seen))


@pytest.mark.parametrize(
    "changed",
    [
        pytest.param(wanted(tags={"backend": "2"}), id="image"),
        pytest.param(wanted(config={"nginx": "ng-2"}), id="config"),
        pytest.param(wanted(text="replicas: {backend: 1}"), id="replicas"),
        pytest.param(wanted(text="limits: {postgres: {memory: 2g}}"), id="limit"),
    ],
)
def test_release_number_goes_up_where_the_manifest_changes(changed: object) -> None:
    assert isinstance(changed, type(wanted()))
    first = deployed(wanted())

    plan = plan_deploy(changed, first)
    assert step(plan, "release").number == 2

    second = done(plan.steps, first, changed)
    assert step(plan_deploy(wanted(), second), "release").number == 3


@pytest.mark.parametrize(
    ("duration", "expected"), [("30s", 30), ("1m30s", 90), ("2h", 7200), ("5m", 300), ("nonsense", 10), (None, 10)]
)
def test_compose_duration_in_seconds(duration: object, expected: int) -> None:
    assert seconds(duration) == expected


def test_secret_that_cannot_be_made_up_is_asked_for_before_anything_is_done() -> None:
    release, name = wanted(), "repository-offsite-key"
    service = release.stack.services["postgres"]
    services = {**release.stack.services, "postgres": replace(service, secrets=(*service.secrets, name))}
    lacking = replace(release, stack=replace(release.stack, services=services), versions={**release.versions, name: 1})

    with pytest.raises(HostLacks, match="repository offsite") as refused:
        plan_deploy(lacking, Seen())
    assert refused.value.next_step == "inv backup.credentials offsite FILE"
    given = plan_deploy(lacking, Seen(secret_versions={name: 1}))
    assert f"secret {name}" in keys(given)
    assert f"generate {name}" not in keys(given)
