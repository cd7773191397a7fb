"""Content hashes, and the steps that lead to missing images."""

from __future__ import annotations

from dataclasses import replace

import pytest

from ops.core.errors import UsageProblem
from ops.images.steps import BuildImage, FetchImage, ObtainBase, image_steps, plan_build
from ops.stack.images import content_hash, pinned_digest, refreshed, stamp_of, suites_of
from tests.unit.builders import GRAFANA, GRAFANA_TAG, image, step

FILES = [("Containerfile", 0o644, b"FROM base"), ("bin/run", 0o755, b"#!/bin/sh")]
BASE = "localhost/cc03/base-trixie:1"


@pytest.mark.parametrize(
    ("files", "more"),
    [
        pytest.param([("Containerfile", 0o644, b"FROM other"), FILES[1]], (BASE,), id="content"),
        pytest.param([FILES[0], ("bin/walk", 0o755, b"#!/bin/sh")], (BASE,), id="name"),
        pytest.param([FILES[0], ("bin/run", 0o644, b"#!/bin/sh")], (BASE,), id="executable bit"),
        pytest.param([*FILES, ("empty", 0o644, b"")], (BASE,), id="another file"),
        pytest.param(FILES, ("localhost/cc03/base-trixie:2",), id="base"),
        pytest.param(FILES, (), id="no base"),
        pytest.param([("Containerfile", 0o644, b"FROM base\0bin/run"), FILES[1]], (BASE,), id="content that looks like a name"),
    ],
)
def test_content_hash_changes_with(files: list[tuple[str, int, bytes]], more: tuple[str, ...]) -> None:
    assert content_hash(files, *more) != content_hash(FILES, BASE)


@pytest.mark.parametrize(
    "files",
    [
        pytest.param(FILES[::-1], id="order of the files"),
        pytest.param([("Containerfile", 0o600, b"FROM base"), ("bin/run", 0o711, b"#!/bin/sh")], id="other bits of the mode"),
    ],
)
def test_content_hash_does_not_change_with(files: list[tuple[str, int, bytes]]) -> None:
    assert content_hash(files, BASE) == content_hash(FILES, BASE)


def test_suites_are_read_from_the_containerfile() -> None:
    text = "# ARG BASE_SID\nARG BASE_TRIXIE=x\nARG BASE_BOOKWORM\nFROM ${BASE_TRIXIE}\nARG OTHER\n"

    assert suites_of(text) == ("bookworm", "trixie")


def test_reference_without_digest_is_refused() -> None:
    assert pinned_digest(GRAFANA) == GRAFANA
    with pytest.raises(UsageProblem, match="not pinned"):
        pinned_digest("docker.io/grafana/grafana:13")


def test_missing_images_are_built_on_a_base_that_is_obtained_once() -> None:
    plan = plan_build({name: image(name) for name in ("backend", "nginx")}, frozenset(), 900)

    assert plan.steps == (
        ObtainBase("base trixie", "obtain Debian trixie", suite="trixie", tag=BASE),
        BuildImage("image backend", "build backend", name="backend", tag="localhost/cc03/backend:1",
                   context="compose/backend", args=(("BASE_TRIXIE", BASE),), deadline=900),
        BuildImage("image nginx", "build nginx", name="nginx", tag="localhost/cc03/nginx:1",
                   context="compose/nginx", args=(("BASE_TRIXIE", BASE),), deadline=900),
    )  # fmt: skip
    assert [step.after_keys for step in plan.steps] == [(), ("base trixie",), ("base trixie",)]


def test_image_without_a_context_is_fetched() -> None:
    (only,) = image_steps({"grafana": image("grafana")}, frozenset(), 900)

    assert only == FetchImage("image grafana", f"fetch {GRAFANA}", name="grafana", tag=GRAFANA_TAG, source=GRAFANA)


def test_base_is_not_obtained_for_images_that_are_there() -> None:
    one = image("backend")

    assert image_steps({"backend": one}, frozenset({one.tag}), 900) == ()


def test_base_that_is_there_is_used() -> None:
    (only,) = image_steps({"backend": image("backend")}, frozenset({BASE}), 900)

    assert only.key == "image backend"


def test_plan_of_a_build_names_its_verb() -> None:
    plan = plan_build({"backend": image("backend")}, frozenset(), 900)

    assert plan.verb == "build"
    assert step(plan, "image backend").deadline == 900


def test_build_on_a_base_that_is_there_waits_for_nothing() -> None:
    redis = image("redis")
    (only,) = plan_build({"redis": redis}, frozenset(tag for _, tag in redis.bases), 60).steps
    assert only.after_keys == ()


@pytest.mark.parametrize(
    ("stamps", "service", "backend", "nginx"),
    [("", None, "new", "new"), ("old", None, "new", "new"), ("", "backend", "new", ""), ("old", "backend", "new", "old")],
)
def test_refresh_of_one_service_leaves_the_others(stamps: str, service: str | None, backend: str, nginx: str) -> None:
    after = refreshed(stamps, service, "new")

    assert (stamp_of(after, "backend"), stamp_of(after, "nginx")) == (backend, nginx)


def test_refresh_of_all_ends_what_was_refreshed_alone() -> None:
    alone = refreshed(refreshed("old", "backend", "newer"), "nginx", "newest")

    assert [stamp_of(alone, name) for name in ("backend", "nginx", "redis")] == ["newer", "newest", "old"]
    assert refreshed(alone, None, "all") == "all"


def test_two_bases_of_one_suite_are_both_obtained() -> None:
    refreshed_backend = replace(image("backend"), bases=(("trixie", "localhost/cc03/base-trixie:2"),))
    plan = plan_build({"nginx": image("nginx"), "backend": refreshed_backend}, frozenset(), 900)

    obtained = {one.key: one.tag for one in plan.steps if isinstance(one, ObtainBase)}
    after = {one.name: [obtained[key] for key in one.after_keys] for one in plan.steps if isinstance(one, BuildImage)}
    assert after == {"nginx": [BASE], "backend": ["localhost/cc03/base-trixie:2"]}
