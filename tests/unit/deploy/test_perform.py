"""How each kind of step is done: which programs run, in which order, and what a failure leaves."""

from __future__ import annotations

import threading
import time
from dataclasses import replace
from typing import Any

import pytest

from ops.core.errors import NeedsPerson, OpsError
from ops.core.plan import Described, Step
from ops.deploy import steps
from ops.deploy.steps import (
    CheckConfig,
    CreateContainers,
    CreateNetwork,
    CreateVolume,
    Migrate,
    PromoteContainer,
    Reconnect,
    ReloadService,
    RemoveContainer,
    RemoveNetwork,
    RestartContainer,
    StartContainer,
    StopContainer,
    await_healthy,
)
from ops.engines.podman import prove
from ops.execution import Execution
from ops.lifecycle.steps import RemoveState, RemoveVolume
from ops.project import Project
from ops.secrets.steps import RemoveSecret
from ops.stack.model import EDGE
from ops.store.releases import schema_history
from tests.unit.builders import wanted
from tests.unit.podman_model import Podman, sealed
from tests.unit.podman_model import performer as performer  # noqa: PLC0414  (a fixture)
from tests.unit.podman_model import podman as podman  # noqa: PLC0414  (a fixture)
from tests.unit.podman_model import project as project  # noqa: PLC0414  (a fixture)

# Containers.


def test_containers_are_created_from_the_current_release_in_one_call(
    performer: Execution, project: Project, podman: Podman
) -> None:
    sealed(project)
    performer.do(CreateContainers("create", "", slots=("postgres",), staged=("nginx",)))

    assert {"cc03-postgres", "cc03-nginx-next"} <= podman.there
    assert podman.verbs.count("podman-compose --in-pod=false") == 1


def test_containers_with_another_oom_score_are_created_in_a_call_of_their_own(
    performer: Execution, project: Project, podman: Podman
) -> None:
    """podman-compose has no word for it, and takes an argument for all containers of a call."""
    release = wanted()
    release.compose["services"]["nginx"]["oom_score_adj"] = 200
    sealed(project, release)
    performer.do(CreateContainers("create", "", slots=("postgres", "edge"), staged=("nginx",)))

    calls = [command for command in podman.ran if command[0] == "podman-compose"]
    assert {"cc03-postgres", "cc03-edge", "cc03-nginx-next"} <= podman.there
    assert ["--podman-run-args=--oom-score-adj=200" in call for call in calls] == [False, True], "edge is there before nginx"


def test_leftover_of_a_killed_command_makes_room_first(performer: Execution, project: Project, podman: Podman) -> None:
    sealed(project)
    podman.there = {"cc03-nginx-next", "cc03-nginx"}
    performer.do(CreateContainers("create", "", staged=("nginx",)))

    assert podman.ran[0][:2] == ("podman", "rm") and podman.ran[0][-1] == "cc03-nginx-next"
    assert "cc03-nginx" in podman.there, "the one in place serves"


def test_container_whose_name_is_left_in_the_storage_is_created_the_second_time(
    performer: Execution, project: Project, podman: Podman
) -> None:
    sealed(project)
    podman.creates = False

    def freed(command: tuple[str, ...]) -> None:
        podman.creates = podman.creates or "--storage" in command

    podman.before = freed
    performer.do(CreateContainers("create", "", slots=("postgres",)))
    assert "cc03-postgres" in podman.there
    assert [command[:2] for command in podman.ran if command[0] == "podman-compose"] == [
        ("podman-compose", "--in-pod=false")
    ] * 2


def test_container_that_is_not_there_afterwards_fails_whatever_the_exit_code(
    performer: Execution, project: Project, podman: Podman
) -> None:
    """podman-compose exits with 0."""
    sealed(project)
    podman.creates = False
    with pytest.raises(OpsError, match="cannot create cc03-postgres, cc03-nginx-next"):
        performer.do(CreateContainers("create", "", slots=("postgres",), staged=("nginx",)))


def test_nothing_to_create_runs_nothing(performer: Execution, podman: Podman) -> None:
    performer.do(CreateContainers("create", ""))
    assert podman.ran == []


def test_staged_container_takes_the_name_of_its_slot(performer: Execution, podman: Podman) -> None:
    performer.do(PromoteContainer("p", "", slot="backend-1"))
    assert podman.ran == [("podman", "rename", "cc03-backend-1-next", "cc03-backend-1")]


TOUCHING = [
    (StartContainer("s", "", slot="redis"), "start"),
    (RestartContainer("r", "", slot="redis", grace=7), "restart"),
    (RemoveContainer("rm", "", slot="redis", grace=7), "rm"),
    (ReloadService("l", "", service="nginx", slots=("nginx",), argv=("reload",), version="v"), "exec"),
]


@pytest.mark.parametrize(("step", "verb"), TOUCHING)
def test_measurement_begins_before_the_first_container_is_touched(
    project: Project, podman: Podman, step: Step, verb: str
) -> None:
    order: list[str] = []
    (project.state.config / "nginx").mkdir()
    performer = Execution(project, first_touch=lambda: order.append("touch"))
    podman.before = lambda command: order.append(command[1])

    performer.do(step)
    performer.do(step)

    assert order[0] == "touch" and order.count("touch") == 1 and verb in order


def test_first_touch_is_waited_for_by_every_thread(project: Project, podman: Podman) -> None:
    """The baseline is not measured while another thread stops something."""
    measured: list[float] = []

    def baseline() -> None:
        time.sleep(0.2)
        measured.append(time.monotonic())

    began: list[float] = []
    podman.before = lambda command: began.append(time.monotonic())
    performer = Execution(project, first_touch=baseline)
    threads = [threading.Thread(target=performer.do, args=(StartContainer("s", "", slot=slot),)) for slot in ("redis", "edge")]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(10)

    assert len(measured) == 1 and len(began) == 2 and min(began) >= measured[0]


@pytest.mark.parametrize("kind", [RestartContainer, RemoveContainer, StopContainer])
def test_time_without_a_service_counts_from_the_first_order_to_the_proof(
    performer: Execution, podman: Podman, monkeypatch: pytest.MonkeyPatch, kind: Any
) -> None:
    proved: list[tuple[Any, ...]] = []
    monkeypatch.setattr(prove, "prove", lambda *given: proved.append(given))
    before = time.time()
    performer.do(kind("x", "", slot="nginx", grace=7))
    time.sleep(0.12)
    if kind is StopContainer:
        performer.do(RemoveContainer("x", "", slot="nginx", grace=7))
    performer.do(await_healthy("nginx"))
    performer.do(await_healthy("nginx"))

    assert 0.12 <= performer.gaps["nginx"] < 5
    ((began, ended),) = performer.away["nginx"]
    assert before - 0.1 <= began and 0.1 <= ended - began <= time.time() - before + 0.1
    assert proved[0][3] == f"cc03-{EDGE}"
    assert performer.gaps.keys() == {"nginx"}


def test_service_that_was_never_away_has_no_gap(performer: Execution, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(prove, "prove", lambda *_: None)
    performer.do(await_healthy("nginx"))
    assert performer.gaps == {} and performer.away == {}


def test_container_that_is_not_proved_has_no_gap(performer: Execution, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*_: Any) -> None:
        raise OpsError("nginx is not healthy", "", "")

    monkeypatch.setattr(prove, "prove", refuse)
    performer.do(RemoveContainer("x", "", slot="nginx"))
    with pytest.raises(OpsError):
        performer.do(await_healthy("nginx"))
    assert performer.gaps == {}


@pytest.mark.parametrize(("heals", "verbs"), [(True, []), (False, ["podman restart"])])
def test_container_that_heals_in_its_patience_is_left_alone(
    performer: Execution, podman: Podman, monkeypatch: pytest.MonkeyPatch, heals: bool, verbs: list[str]
) -> None:
    monkeypatch.setattr(prove, "heals", lambda *_: heals)
    performer.do(RestartContainer("r", "", slot="redis" if "redis" in performer.targets else "postgres", patience=5))
    assert podman.verbs == verbs


def test_graces_are_those_of_the_step(performer: Execution, podman: Podman) -> None:
    performer.do(RestartContainer("r", "", slot="postgres", grace=91))
    performer.do(StopContainer("s", "", slot="postgres", grace=92))
    performer.do(RemoveContainer("x", "", slot="postgres", grace=93))
    assert [command[command.index("--time") + 1] for command in podman.ran] == ["91", "92", "93"]


MIGRATION = Migrate("m", "", slot="backend-migrate", service="backend", release=7)
PENDING = {"start --attach cc03-backend-migrate-check": '{"pending": ["1"], "contracting": []}'}


@pytest.mark.parametrize("prepared", [True, False])
def test_migration_runs_once_and_leaves_no_container(
    performer: Execution, project: Project, podman: Podman, prepared: bool
) -> None:
    sealed(project)
    podman.answers = {**PENDING, "start --attach cc03-backend-migrate": '{"revision": "2", "applied": ["1"]}'}
    performer.do(replace(MIGRATION, prepared=prepared))

    assert podman.verbs.count("podman-compose --in-pod=false") == (1 if prepared else 2)
    assert podman.verbs[-2:] == ["podman start", "podman rm"] and podman.there == set()
    assert [(one["release"], one["revision"]) for one in schema_history(project.state)] == [(7, "2")]


def test_migration_that_fails_leaves_no_container(performer: Execution, project: Project, podman: Podman) -> None:
    sealed(project)
    podman.answers = {**PENDING, "start --attach cc03-backend-migrate": OpsError("", "exit 3", "")}
    with pytest.raises(OpsError, match="the migration of backend's database failed"):
        performer.do(MIGRATION)
    assert podman.verbs[-2:] == ["podman start", "podman rm"] and podman.there == set()
    assert schema_history(project.state) == []


def test_migration_that_is_broken_off_leaves_no_container(performer: Execution, podman: Podman) -> None:
    def broken(command: tuple[str, ...]) -> None:
        if command[1] == "start":
            raise KeyError

    podman.before = broken
    with pytest.raises(KeyError):
        performer.do(replace(MIGRATION, prepared=True))
    assert podman.verbs == ["podman rm"]


def test_long_lived_connections_end_once_nginx_takes_no_new_ones(
    performer: Execution, podman: Podman, monkeypatch: pytest.MonkeyPatch
) -> None:
    waited: list[float] = []
    monkeypatch.setattr(time, "sleep", waited.append)
    podman.answers = {"cc03-backend-1": OpsError("", "it has gone", "")}
    performer.do(Reconnect("r", "", slots=("backend-1", "backend-2"), argv=("again",)))

    assert waited == [steps.RECONNECT_AFTER]
    assert podman.ran == [("podman", "exec", f"cc03-backend-{n}", "again") for n in (1, 2)]


# Removal.


def test_network_of_somebody_else_is_not_removed(performer: Execution, podman: Podman) -> None:
    podman.answers = {"network=cc03-app": "stranger\nother\n"}
    with pytest.raises(NeedsPerson, match="cannot remove the network cc03-app") as caught:
        performer.do(RemoveNetwork("n", "", name="cc03-app"))
    assert "stranger, other" in caught.value.why
    assert podman.verbs == ["podman ps"]

    podman.answers = {}
    performer.do(RemoveNetwork("n", "", name="cc03-app"))
    assert podman.ran[-1] == ("podman", "network", "rm", "cc03-app")


def test_what_is_removed_is_named_as_it_was_planned(performer: Execution, podman: Podman) -> None:
    performer.do(RemoveVolume("v", "", name="cc03-data"))
    performer.do(RemoveSecret("s", "", name="cc03-redis-app-1"))
    assert [command[1:3] for command in podman.ran] == [("volume", "rm"), ("secret", "rm")]
    assert [command[-1] for command in podman.ran] == ["cc03-data", "cc03-redis-app-1"]


def test_state_folder_is_removed_whole(performer: Execution, project: Project) -> None:
    (project.state.secrets / "redis-app").mkdir()
    performer.do(RemoveState("r", ""))
    assert not project.state.root.exists()


def test_networks_and_volumes_bear_the_label_of_the_project(performer: Execution, podman: Podman) -> None:
    performer.do(CreateNetwork("n", "", name="cc03-app", subnet="10.1.2.0/24", internal=True))
    performer.do(CreateVolume("v", "", name="cc03-data"))
    network, volume = (" ".join(command) for command in podman.ran)
    assert "cc03" in network and "--internal" in network and "10.1.2.0/24" in network
    assert all("label" in command and "=cc03" in command for command in (network, volume))


def test_step_that_a_command_does_itself_is_not_run(performer: Execution) -> None:
    with pytest.raises(NotImplementedError, match="do x: the command does this itself"):
        performer.do(Described("x", "do x"))


def test_release_that_is_brought_about_decides_over_the_checkout(project: Project, podman: Podman) -> None:
    other = wanted(tags={"nginx": "7"})
    performer = Execution(project, wanted=replace(other))
    performer.do(CheckConfig("c", "", service="nginx", version="v1", files={}))
    assert "localhost/cc03/nginx:7" in podman.ran[0]
