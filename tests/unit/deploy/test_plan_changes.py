"""What a plan says it will mean for each service and its users."""

from __future__ import annotations

from dataclasses import replace

import pytest

from ops.core.plan import Change
from ops.deploy.plan import plan_deploy
from ops.stack.model import Seen
from ops.stack.render import digest
from ops.stack.wanted import Wanted
from tests.unit.builders import container, deployed, done, wanted, with_state


def told(release: Wanted, seen: Seen) -> dict[str, tuple[str, str, float]]:
    return {change.service: (change.action, change.why, change.gap_seconds) for change in plan_deploy(release, seen).changes}


@pytest.mark.parametrize(
    ("release", "expected"),
    [
        pytest.param(wanted(), {}, id="nothing"),
        pytest.param(wanted(tags={"backend": "2"}), {"backend": ("roll", "image", 0.0)}, id="replicas are rolled"),
        pytest.param(wanted(config={"nginx": "2"}), {"nginx": ("reload", "configuration (file)", 0.0)}, id="reload"),
        pytest.param(
            wanted(tags={"postgres": "2"}, config={"postgres": "2"}),
            {"postgres": ("recreate", "image, configuration (file)", 10.0)}, id="a gap, as estimated",
        ),
        pytest.param(
            wanted(text="limits: {grafana: {memory: 300m}}"),
            {"grafana": ("recreate", "limits.grafana.memory default -> 300m", 0.0)}, id="limit",
        ),
        pytest.param(wanted(tags={"nginx": "2"}), {"nginx": ("roll", "image", 0.0)}, id="nginx is rolled at its address"),
        pytest.param(wanted(tags={"edge": "2"}), {}, id="what is kept stays"),
        pytest.param(
            wanted(text="limits: {edge: {memory: 48m}}"),
            {
                "edge": ("recreate", "limits.edge.memory default -> 48m", 0.0),
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
        Change("postgres", "recreate", "image", 3.4, "every request fails", True),
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


def changed(before: Wanted, after: Wanted) -> dict[str, str]:
    return {change.service: change.why for change in plan_deploy(after, deployed(before)).changes}


def test_a_plan_speaks_in_settings() -> None:
    before, after = wanted(text="limits: {grafana: {memory: 1g}}"), wanted(text="limits: {grafana: {memory: 1536m}}")

    assert changed(before, after) == {"grafana": "limits.grafana.memory 1g -> 1536m"}


def test_setting_of_another_service_is_not_named() -> None:
    after = wanted(text="limits: {grafana: {memory: 300m}}", tags={"postgres": "2"})

    assert changed(wanted(), after)["postgres"] == "image"


def test_changed_files_are_named_and_the_many_counted() -> None:
    def with_files(**files: str) -> Wanted:
        release = wanted(config={"nginx": digest(files)})
        mounted = {f"{name}.conf": text for name, text in files.items()}
        return replace(release, config_files={**release.config_files, "nginx": mounted})

    before = with_files(a="1", b="1", c="1", d="1", e="1")

    assert changed(before, with_files(a="1", b="2", c="1", d="1", e="1")) == {"nginx": "configuration (b.conf)"}
    assert changed(before, with_files(b="2", c="2", d="2", e="2", f="1"))["nginx"] == (
        "configuration (a.conf, b.conf, c.conf, 3 more)"
    )


def test_release_of_an_earlier_version_that_kept_no_record_of_files_says_configuration() -> None:
    seen = deployed(wanted())
    kept = {key: value for key, value in (seen.release or {}).items() if key not in ("files", "settings")}

    (change,) = plan_deploy(wanted(config={"nginx": "2"}), replace(seen, release=kept)).changes
    assert change.why == "configuration"


def test_what_is_left_out_is_said_once() -> None:
    release, away = wanted(without=["grafana"]), {"grafana": "no registry offers it"}
    empty = Seen(unavailable=away)
    without = done(plan_deploy(release, empty).steps, empty, release)
    before = replace(deployed(wanted()), unavailable=away)

    assert [bool(plan_deploy(release, seen).notes) for seen in (empty, before, without)] == [True, True, False]
