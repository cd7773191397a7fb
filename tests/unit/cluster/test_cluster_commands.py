"""On a cluster a command does what it can do there, or refuses; it never acts on this host's containers."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import pytest

from ops.cluster.doctor import RIGHTS, missing
from ops.cluster.plan import plan
from ops.cluster.shown import status_rows
from ops.core.errors import HostLacks, UsageProblem
from ops.engines.kubernetes.objects import identity
from ops.engines.kubernetes.render import render, rescaled
from ops.project import BUILDS, RUNS, open_project
from ops.stack.yaml_model import load_yaml
from tests.unit.builders import REPOSITORY
from tests.unit.cluster.builders import CLUSTER, after, facts, validate, wish
from tests.unit.cluster.test_cluster_plan import EMPTY, deployed, stopped


@pytest.fixture
def cluster(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A stack.yaml that names a cluster."""
    path = tmp_path / "stack.yaml"
    path.write_text(CLUSTER)
    monkeypatch.setenv("CC03_STACK", str(path))
    monkeypatch.setenv("CC03_STATE", str(tmp_path / "states"))
    monkeypatch.delenv("CC03_PROJECT", raising=False)
    return path


def test_command_that_knows_one_host_only_is_refused(cluster: Path) -> None:
    with pytest.raises(UsageProblem, match="does not work on a cluster yet"):
        open_project()


def test_command_for_a_cluster_needs_no_root_and_takes_the_ports_of_the_settings(
    cluster: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(os, "geteuid", lambda: 1000)

    project = open_project(cluster=RUNS)

    assert project.ports == {"http": 80, "https": 443, "ops": 9443}
    assert project.cluster is not None and project.cluster.namespace == "shop"
    assert "clusters" in project.state.root.parts
    with pytest.raises(HostLacks, match="needs root"):
        open_project(cluster=BUILDS)


def test_state_of_another_cluster_or_namespace_is_in_a_folder_of_its_own(cluster: Path) -> None:
    one = open_project(cluster=RUNS).state.root
    cluster.write_text(CLUSTER.replace("shop", "other"))
    other = open_project(cluster=RUNS).state.root
    cluster.write_text(CLUSTER.replace("namespace: shop", "namespace: shop, context: far"))

    assert len({one, other, open_project(cluster=RUNS).state.root}) == 3


def test_cluster_without_a_way_to_it_is_told_in_three_lines(
    cluster: Path, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    pytest.importorskip("kubernetes")
    monkeypatch.setenv("KUBECONFIG", str(tmp_path / "none"))

    with pytest.raises(UsageProblem, match="no way to the cluster"):
        open_project(cluster=RUNS).kubernetes.ask("GET", "/version")


def test_rights_of_the_documented_role_are_those_that_the_commands_use() -> None:
    page = (REPOSITORY / "docs" / "how-to" / "cluster.md").read_text(encoding="utf-8")
    block = next(part for part in page.split("```") if "kind: Role" in part).removeprefix("yaml")
    rules: list[Any] = load_yaml("\n".join(line.removeprefix("  ") for line in block.splitlines()))["rules"]

    assert missing(rules) == []
    assert missing(rules[1:])[0] == "configmaps: get, list, create, patch, delete"
    assert len(missing([])) == len(RIGHTS)


def test_status_has_a_row_for_each_pod_and_each_that_is_missing() -> None:
    seen = deployed()

    assert [(row.service, row.health) for row in status_rows(seen)][:2] == [("postgres", "missing"), ("redis", "missing")]
    assert sum(row.service == "backend" for row in status_rows(seen)) == 2
    assert {row.health for row in status_rows(stopped(seen))} == {"stopped"}


@pytest.mark.parametrize(("number", "budget"), [(1, False), (3, True)])
def test_scaled_release_differs_in_one_deployment_and_its_budget(number: int, budget: bool) -> None:
    backend = facts().wanted.stack.services["backend"]
    found = {identity(one): one for one in rescaled(render(facts()), "cc03", backend, number)}
    before = {identity(one): one for one in render(facts())}

    assert found["Deployment", "backend"]["spec"]["replicas"] == number
    assert (("PodDisruptionBudget", "backend") in found) == budget
    changed = {key for key in before if found.get(key) != before[key]}
    assert changed <= {("Deployment", "backend"), ("PodDisruptionBudget", "backend")}
    validate(found["Deployment", "backend"])


def test_scale_is_remembered_and_makes_a_release() -> None:
    seen = deployed()
    objects = rescaled(render(facts()), "cc03", facts().wanted.stack.services["backend"], 3)
    found = plan(wish(objects=objects, canaries={}, said={"scale": '{"backend": 3}'}), seen)

    later = after(found.steps, seen)
    assert later.current["scale"] == '{"backend": 3}' and later.number == 2
    assert EMPTY.number is None
