"""What a deploy does to a stack that runs: replace, reload, mend, and go on from where a killed one stopped."""

from __future__ import annotations

from dataclasses import replace
from itertools import pairwise
from typing import Any

import pytest

from ops.deploy.containers import Options
from ops.deploy.plan import plan_deploy
from ops.deploy.steps import CreateContainers, RemoveContainer, RestartContainer, StartContainer
from ops.releases.steps import ActivateRelease, WriteRelease
from ops.stack.model import Seen
from ops.stack.wanted import Wanted
from tests.unit.builders import LEFT_OUT, before, container, defects, deployed, done, keys, step, wanted, with_state


def test_replicated_service_is_replaced_one_by_one_behind_an_extra_container_that_is_proved_first() -> None:
    plan = plan_deploy(wanted(tags={"backend": "2"}), deployed(wanted()), options=Options(settle=6))

    assert keys(plan) == [
        "image backend", "release", "create backend", "migrate backend", "start backend-surge", "healthy backend-surge",
        "remove backend-1", "promote backend-1", "start backend-1", "healthy backend-1",
        "remove backend-2", "promote backend-2", "start backend-2", "healthy backend-2",
        "retire backend-surge",
    ]  # fmt: skip
    assert {"image backend", "migrate backend"} <= before(plan, "start backend-surge")
    assert step(plan, "create backend").slots == ("backend-surge", "backend-migrate-check")
    assert step(plan, "create backend").staged == ("backend-1", "backend-2")
    assert "healthy backend-surge" in before(plan, "remove backend-1")
    assert "healthy backend-1" in before(plan, "remove backend-2")
    assert "healthy backend-2" in before(plan, "retire backend-surge")
    assert step(plan, "healthy backend-surge").proof.settle == 6
    assert {step(plan, f"healthy backend-{slot}").proof.once for slot in ("surge", 1, 2)} == {True}


def test_replica_that_does_not_serve_is_replaced_before_those_that_do() -> None:
    seen = deployed(wanted(), unhealthy={"backend-2": "HTTP 503"})
    plan = plan_deploy(wanted(tags={"backend": "2"}), seen)

    assert "healthy backend-2" in before(plan, "start backend-surge")
    assert "healthy backend-surge" in before(plan, "remove backend-1")


def test_extra_container_that_a_killed_deploy_has_left_is_used_where_it_is_the_wanted_one() -> None:
    new = wanted(tags={"backend": "2"})
    seen = deployed(wanted())
    extra = container("backend-surge", new.slot_hash("backend-surge"))
    plan = plan_deploy(new, replace(seen, containers={**seen.containers, "backend-surge": extra}))

    assert "backend-surge" not in step(plan, "create backend").slots
    assert "healthy backend-surge" in before(plan, "remove backend-1")
    assert "retire backend-surge" in keys(plan)


def test_extra_container_of_another_release_makes_room_first() -> None:
    seen = deployed(wanted())
    extra = container("backend-surge", "another")
    plan = plan_deploy(wanted(tags={"backend": "2"}), replace(seen, containers={**seen.containers, "backend-surge": extra}))

    assert "remove backend-surge" in before(plan, "create backend")
    assert "backend-surge" in step(plan, "create backend").slots


def test_container_is_made_before_the_one_in_its_place_is_touched() -> None:
    plan = plan_deploy(wanted(tags={"postgres": "2"}), deployed(wanted()))

    assert step(plan, "create postgres").staged == ("postgres",)
    assert "create postgres" in before(plan, "remove postgres")


def test_container_that_a_killed_deploy_has_made_is_put_in_its_place() -> None:
    new = wanted(tags={"postgres": "2"})
    seen = deployed(wanted())
    waiting = container("postgres-next", new.slot_hash("postgres"), "created")
    seen = replace(seen, containers={**seen.containers, "postgres-next": waiting})
    assert step(plan_deploy(new, seen), "create postgres").staged == ()

    del seen.containers["postgres"]  # type: ignore[attr-defined]
    plan = plan_deploy(new, seen)
    assert {"promote postgres", "start postgres"} <= set(keys(plan))
    assert "remove postgres-next" not in keys(plan)


def test_container_that_was_made_for_another_release_is_removed() -> None:
    seen = deployed(wanted())
    waiting = container("postgres-next", "another", "created")

    plan = plan_deploy(wanted(), replace(seen, containers={**seen.containers, "postgres-next": waiting}))
    assert keys(plan) == ["remove postgres-next"]


def test_extra_container_that_is_left_over_is_removed_and_nothing_else_is_touched() -> None:
    seen = deployed(wanted())
    seen = replace(seen, containers={**seen.containers, "backend-surge": container("backend-surge", "another")})

    assert keys(plan_deploy(wanted(), seen)) == ["remove backend-surge"]


def test_way_back_migrates_nothing_and_makes_the_sealed_release_the_current_one() -> None:
    old, new = replace(wanted(), number=7), wanted(tags={"backend": "2"})
    plan = plan_deploy(old, deployed(new), options=Options(migrate=False))

    assert "migrate backend" not in keys(plan)
    assert isinstance(step(plan, "release"), ActivateRelease)


def test_migration_is_preceded_by_a_backup_once_there_is_something_to_lose() -> None:
    options = Options(backup_before=("postgres", ("backup", "now")))
    first = step(plan_deploy(wanted(), Seen(), options=options), "migrate backend")
    later = step(plan_deploy(wanted(tags={"backend": "2"}), deployed(wanted()), options=options), "migrate backend")

    assert (first.backup, first.contracting) == ((), True)
    assert (later.backup, later.backup_slot, later.contracting) == (("backup", "now"), "postgres", False)


def test_migration_waits_for_the_container_that_backs_up_first_where_it_is_replaced() -> None:
    options = Options(backup_before=("nginx", ("backup", "now")))
    plan = plan_deploy(wanted(tags={"backend": "2", "nginx": "2"}), deployed(wanted()), options=options)

    assert {"start nginx", "healthy nginx"} <= before(plan, "migrate backend")


def test_no_configuration_is_switched_before_all_have_been_found_good() -> None:
    plan = plan_deploy(wanted(config={"nginx": "ng-2", "postgres": "pg-2"}), deployed(wanted()))

    for switched in ("config nginx", "config postgres"):
        assert {"check nginx", "check postgres"} <= before(plan, switched)


def test_proxy_learns_of_more_replicas_once_they_serve() -> None:
    more = wanted(text="replicas: {backend: 4}", config={"nginx": "ng-2"})
    plan = plan_deploy(more, deployed(wanted()))

    assert {"healthy backend-3", "healthy backend-4"} <= before(plan, "reload nginx")


def test_container_is_stopped_within_the_grace_period_of_its_service() -> None:
    plan = plan_deploy(wanted(tags={"postgres": "2"}), deployed(wanted()))

    assert step(plan, "remove postgres").grace == 90


def test_replacement_waits_for_the_replacement_of_what_it_needs() -> None:
    plan = plan_deploy(wanted(tags={"postgres": "2", "keycloak": "2"}), deployed(wanted()))

    assert "healthy postgres" in before(plan, "remove keycloak")


def test_replacement_of_a_service_leaves_those_that_need_it_alone() -> None:
    plan = plan_deploy(wanted(tags={"postgres": "2"}), deployed(wanted()))

    assert {key.split()[-1] for key in keys(plan)} == {"postgres", "release"}


def test_config_of_a_service_that_reloads_is_checked_written_and_loaded_without_touching_its_container() -> None:
    plan = plan_deploy(wanted(config={"nginx": "ng-2"}), deployed(wanted()))

    assert keys(plan) == ["check nginx", "config nginx", "release", "reload nginx"]
    assert step(plan, "config nginx").after_keys == ("check nginx",)
    assert "config nginx" in before(plan, "reload nginx")
    assert step(plan, "reload nginx").argv == ("nginx", "-s", "reload")
    assert step(plan, "reload nginx").slots == ("nginx",)
    assert {step(plan, key).version for key in ("check nginx", "config nginx", "reload nginx")} == {"ng-2"}


def test_config_of_a_service_that_cannot_reload_replaces_it() -> None:
    plan = plan_deploy(wanted(config={"keycloak": "kc-2"}), deployed(wanted()))

    assert keys(plan) == [
        "config keycloak", "release",
        "create keycloak", "remove keycloak", "promote keycloak", "start keycloak", "healthy keycloak", "loaded keycloak",
    ]  # fmt: skip
    assert "config keycloak" in before(plan, "remove keycloak")


def test_new_image_and_new_config_together_need_no_reload() -> None:
    plan = plan_deploy(wanted(tags={"nginx": "2"}, config={"nginx": "ng-2"}), deployed(wanted()))

    assert "reload nginx" not in keys(plan)
    assert step(plan, "check nginx").after_keys == ("image nginx",)
    assert step(plan, "loaded nginx").after_keys == ("healthy nginx",)


def test_written_config_that_was_never_taken_up_is_only_loaded() -> None:
    seen = deployed(wanted())
    seen = replace(seen, config_loaded={**seen.config_loaded, "postgres": "pg-0"})

    assert keys(plan_deploy(wanted(), seen)) == ["reload postgres"]


def test_scaling_up_migrates_and_starts_the_new_replica_only() -> None:
    few = wanted(text="replicas: {backend: 1}")
    seen = deployed(few)
    plan = plan_deploy(wanted(), seen)

    assert {"migrate backend", "start backend-2", "healthy backend-2"} <= set(keys(plan))
    assert step(plan, "create rest").slots[-1] == "backend-2"


def test_scaling_up_replaces_no_container_of_another_service() -> None:
    plan = plan_deploy(wanted(), deployed(wanted(text="replicas: {backend: 1}")))

    assert [key for key in keys(plan) if key.startswith("remove ")] == []


def test_scaling_down_removes_the_replica_that_is_too_many() -> None:
    plan = plan_deploy(wanted(text="replicas: {backend: 1}"), deployed(wanted()))

    assert isinstance(step(plan, "remove backend-2"), RemoveContainer)
    assert "create backend-2" not in keys(plan)


def test_replica_that_is_too_many_serves_until_nobody_sends_requests_to_it() -> None:
    fewer = wanted(text="replicas: {backend: 1}", config={"nginx": "ng-2"})

    assert "reload nginx" in before(plan_deploy(fewer, deployed(wanted())), "remove backend-2")


def test_container_that_the_stack_no_longer_has_is_removed() -> None:
    seen = deployed(wanted())
    seen = replace(seen, containers={**seen.containers, "memcached": container("memcached", "old")})

    assert keys(plan_deploy(wanted(), seen)) == ["remove memcached"]


def test_leftover_of_a_killed_migration_is_removed_without_meeting_the_next_one() -> None:
    seen = deployed(wanted())
    seen = replace(seen, containers={**seen.containers, "backend-migrate": container("backend-migrate", "old", "exited")})

    assert keys(plan_deploy(wanted(), seen)) == ["remove backend-migrate"]
    # Both bear the same container name: the next run removes the leftover itself.
    plan = plan_deploy(wanted(tags={"backend": "2"}), seen)
    assert "migrate backend" in keys(plan)
    assert "remove backend-migrate" not in keys(plan)


@pytest.mark.parametrize("state", ["exited", "created", "configured", "stopped"])
def test_container_that_does_not_run_is_started(state: str) -> None:
    plan = plan_deploy(wanted(), with_state(deployed(wanted()), state, "nginx"))

    assert keys(plan) == ["start nginx", "healthy nginx"]
    assert isinstance(step(plan, "start nginx"), StartContainer)


def ill(running_seconds: float) -> Seen:
    """backend-2 runs for that long and answers 503; it may take 120 s to start."""
    seen = deployed(wanted(), unhealthy={"backend-2": "HTTP 503"})
    one = replace(seen.containers["backend-2"], running_seconds=running_seconds)
    return replace(seen, containers={**seen.containers, "backend-2": one})


def test_unhealthy_container_is_restarted_and_the_reason_told() -> None:
    plan = plan_deploy(wanted(), ill(running_seconds=121))

    assert keys(plan) == ["start backend-2", "healthy backend-2"]
    assert isinstance(step(plan, "start backend-2"), RestartContainer)
    assert "HTTP 503" in step(plan, "start backend-2").title


def test_unhealthy_replicas_are_restarted_in_turn_and_not_where_they_heal_with_what_they_lacked() -> None:
    seen = deployed(wanted(), unhealthy={"backend-1": "HTTP 503", "backend-2": "HTTP 503"})
    long_since = {slot: replace(seen.containers[slot], running_seconds=1000.0) for slot in seen.unhealthy}
    seen = replace(seen, containers={**seen.containers, **long_since})

    alone = plan_deploy(wanted(), seen)
    assert "healthy backend-1" in before(alone, "start backend-2")
    assert [step(alone, f"start backend-{n}").patience for n in (1, 2)] == [0, 0]

    without = plan_deploy(wanted(), with_state(seen, "exited", "keycloak"))
    assert {"healthy keycloak", "healthy backend-1"} <= before(without, "start backend-2")
    assert all(step(without, f"start backend-{n}").patience > 0 for n in (1, 2))


def test_container_that_may_still_be_starting_is_waited_for_and_left_alone() -> None:
    assert keys(plan_deploy(wanted(), ill(running_seconds=119))) == ["healthy backend-2"]


def test_mended_service_waits_for_the_mending_of_what_it_needs() -> None:
    plan = plan_deploy(wanted(), with_state(deployed(wanted()), "exited", "postgres", "keycloak"))

    assert "healthy postgres" in before(plan, "start keycloak")


@pytest.mark.parametrize(
    ("changes", "expected"),
    [
        ({"ticker": "", "supervised": ""}, "start the health supervisor"),
        ({"supervised": "an older list"}, "restart the health supervisor"),
    ],
)
def test_health_ticker_is_brought_up_to_date(changes: dict[str, str], expected: str) -> None:
    plan = plan_deploy(wanted(), deployed(wanted(), **changes))

    assert [one.title for one in plan.steps] == [expected]


def test_secret_that_was_generated_but_not_stored_is_stored_and_never_made_up_again() -> None:
    seen = deployed(wanted(), podman_secrets=frozenset({"cc03-postgres-superuser-1"}))

    plan = plan_deploy(wanted(), seen)

    assert keys(plan) == ["secret postgres-app"]
    assert step(plan, "secret postgres-app").after_keys == ()


def test_missing_image_is_built_again_without_replacing_the_container() -> None:
    seen = deployed(wanted())

    plan = plan_deploy(wanted(), replace(seen, images=seen.images - {wanted().images["keycloak"].tag}))

    assert keys(plan) == ["image keycloak"]


def test_deploy_killed_after_create_only_starts() -> None:
    release = wanted()
    first = plan_deploy(release, Seen())
    position = keys(first).index("create nginx") + 1

    plan = plan_deploy(release, done(first.steps[:position], Seen(), release))

    repeated = CreateContainers | RemoveContainer | WriteRelease
    assert [one.key for one in plan.steps if isinstance(one, repeated)] == []
    assert {f"start {slot}" for slot in release.slots()} <= set(keys(plan))


def test_deploy_killed_before_its_migration_migrates_before_it_starts() -> None:
    release = wanted()
    first = plan_deploy(release, Seen())
    position = keys(first).index("create nginx") + 1

    plan = plan_deploy(release, done(first.steps[:position], Seen(), release))

    assert "migrate backend" in before(plan, "start backend-1")


CHANGES = [
    pytest.param(None, wanted(), id="first deploy"),
    pytest.param(wanted(), wanted(tags={"postgres": "2", "backend": "2"}), id="new images"),
    pytest.param(wanted(), wanted(config={"nginx": "ng-2", "keycloak": "kc-2", "postgres": "pg-2"}), id="new config"),
    pytest.param(wanted(), wanted(tags={"nginx": "2"}, config={"nginx": "ng-2"}), id="new image and config"),
    pytest.param(wanted(), wanted(text="replicas: {backend: 4}"), id="scale up"),
    pytest.param(wanted(text="replicas: {backend: 3}"), wanted(), id="scale down"),
    pytest.param(wanted(without=LEFT_OUT), wanted(), id="optional service joins"),
    pytest.param(wanted(), wanted(text="limits: {edge: {memory: 48m}}", tags={"nginx": "2"}), id="new holder"),
    pytest.param(wanted(text="limits: {redis: {memory: 1g}}"), wanted(text="limits: {backend: {cpus: 1}}"), id="limit"),
]


@pytest.mark.parametrize(("old", "new"), CHANGES)
def test_deploy_killed_anywhere_is_finished_by_the_next_one(old: Wanted | None, new: Wanted) -> None:
    start = deployed(old) if old else Seen()
    first = plan_deploy(new, start)
    assert first.steps
    assert defects(first) == []

    for position in range(len(first.steps) + 1):
        broken_off = done(first.steps[:position], start, new)
        second = plan_deploy(new, broken_off)
        assert defects(second) == []
        left = plan_deploy(new, done(second.steps, broken_off, new))
        assert left.steps == (), f"killed after {keys(first)[:position][-1:]}"


def replaced(old: Wanted | None, new: Wanted) -> set[str]:
    """Slots of the backend whose container is another one afterwards."""
    slots = {slot for slot in new.slots() if slot.startswith("backend-")} & set(old.slots() if old else ())
    return {slot for slot in slots if old and old.slot_hash(slot) != new.slot_hash(slot)}


@pytest.mark.parametrize(("old", "new"), CHANGES)
def test_deploy_never_has_two_replicas_of_a_running_service_down_at_once(old: Wanted | None, new: Wanted) -> None:
    plan = plan_deploy(new, deployed(old) if old else Seen())
    slots = replaced(old, new)
    removed = [one for one in plan.steps if isinstance(one, RemoveContainer) and one.slot in slots]

    assert {one.slot for one in removed} == slots
    for earlier, later in pairwise(removed):
        assert f"healthy {earlier.slot}" in before(plan, later.key)


def test_some_of_these_changes_replace_several_replicas() -> None:
    """Else the test above would assert nothing."""
    cases: list[Any] = [param.values for param in CHANGES]
    assert [len(replaced(old, new)) for old, new in cases].count(2) >= 2
