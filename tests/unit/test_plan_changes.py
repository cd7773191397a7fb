"""What a plan says it will mean for each service and its users."""

from __future__ import annotations

from dataclasses import replace

import pytest

from ops.model import Change, Seen
from ops.plan.deploy import plan_deploy
from ops.plan.wanted import Wanted
from tests.unit.builders import container, deployed, wanted, with_state


def told(release: Wanted, seen: Seen) -> dict[str, tuple[str, str, float]]:
    return {change.service: (change.action, change.why, change.gap_seconds) for change in plan_deploy(release, seen).changes}


@pytest.mark.parametrize(
    ("release", "expected"),
    [
        pytest.param(wanted(), {}, id="nothing"),
        pytest.param(wanted(tags={"backend": "2"}), {"backend": ("roll", "image", 0.0)}, id="replicas are rolled"),
        pytest.param(wanted(config={"nginx": "2"}), {"nginx": ("reload", "configuration", 0.0)}, id="reload"),
        pytest.param(
            wanted(tags={"postgres": "2"}, config={"postgres": "2"}),
            {"postgres": ("recreate", "image, configuration", 10.0)}, id="a gap, as estimated",
        ),
        pytest.param(
            wanted(text="limits: {grafana: {memory: 300m}}"),
            {"grafana": ("recreate", "its definition or limits", 0.0)}, id="limit",
        ),
        pytest.param(wanted(tags={"nginx": "2"}), {"nginx": ("roll", "image", 0.0)}, id="nginx is rolled at its address"),
        pytest.param(wanted(tags={"edge": "2"}), {}, id="what is kept stays"),
        pytest.param(
            wanted(text="limits: {edge: {memory: 48m}}"),
            {
                "edge": ("recreate", "its definition or limits", 0.0),
                "nginx": ("recreate", "edge, which holds its address, is replaced", 5.0),
            }, id="the holder itself",
        ),
        pytest.param(
            wanted(text="replicas: {backend: 4}"), {"backend": ("create", "2 missing", 0.0)}, id="scale up",
        ),
        pytest.param(
            wanted(text="replicas: {backend: 1}"), {"backend": ("remove", "backend-2: no longer wanted", 0.0)}, id="scale down",
        ),
    ],
)  # fmt: skip
def test_each_kind_of_change_is_told(release: Wanted, expected: dict[str, tuple[str, str, float]]) -> None:
    assert told(release, deployed(wanted())) == expected


def test_gap_is_the_one_that_was_measured_where_there_is_one() -> None:
    seen = deployed(wanted(), gaps={"postgres": 3.4})

    assert plan_deploy(wanted(tags={"postgres": "2"}), seen).changes == (
        Change("postgres", "recreate", "image", 3.4, "everybody"),
    )


def test_container_that_does_not_run_and_one_that_is_ill_are_told_apart() -> None:
    seen = with_state(deployed(wanted()), "exited", "nginx")
    long = replace(seen.containers["backend-2"], running_seconds=1000.0)
    seen = replace(seen, containers={**seen.containers, "backend-2": long}, unhealthy={"backend-2": "HTTP 503"})

    assert told(wanted(), seen) == {
        "backend": ("restart", "HTTP 503", 0.0), "nginx": ("start", "it does not run", 0.0),
    }  # fmt: skip


def test_container_that_somebody_changed_by_hand_is_told_as_such() -> None:
    seen = deployed(wanted())
    seen = replace(seen, containers={**seen.containers, "nginx": container("nginx", "by hand")})

    assert told(wanted(), seen)["nginx"][1] == "the container is not the one of the release"


def test_what_the_stack_does_not_have_is_told_by_its_name() -> None:
    seen = deployed(wanted())
    seen = replace(seen, containers={**seen.containers, "memcached": container("memcached", "old")})

    assert told(wanted(), seen) == {"memcached": ("remove", "the stack does not have it", 0.0)}
