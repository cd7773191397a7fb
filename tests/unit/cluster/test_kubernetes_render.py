"""A release as objects of the Kubernetes API: each is valid, confined, and the same each time."""

from __future__ import annotations

import json
import re
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from ops.engines.kubernetes.network_policies import pairs
from ops.engines.kubernetes.objects import WORKLOADS, Object, hash_of, identity
from ops.engines.kubernetes.render import Facts, canary, files_of, mounted_secrets, render, replicas, rolls
from ops.stack.yaml_model import dump_yaml, load_yaml
from tests.unit.cluster.builders import facts, validate

NAME = re.compile(r"[a-z0-9]([a-z0-9-]{0,61}[a-z0-9])?")


def pods(objects: list[Object]) -> list[Any]:
    return [one["spec"]["template"]["spec"] for one in objects if one["kind"] in (*WORKLOADS, "Job")]


def named(objects: list[Object], kind: str, name: str) -> Any:
    return next(one for one in objects if identity(one) == (kind, name))


def test_every_object_is_valid() -> None:
    for one in render(facts()):
        validate(one)


def test_canaries_are_valid_and_no_service_sends_them_requests() -> None:
    for service in facts().services():
        if rolls(service):
            pod = canary(facts(), service)
            validate(pod)
            selector = named(render(facts()), "Service", service.name)["spec"]["selector"]
            assert not selector.items() <= pod["metadata"]["labels"].items()


releases = st.builds(
    lambda replicas, memory, registry, storage, expose, size: facts(
        f"engine: {{kubernetes: {{namespace: shop, registry: '{registry}', storageClass: '{storage}', expose: {expose}, "
        f"storage: {{postgres-data: {size}g}}}}}}\n"
        f"replicas: {{backend: {replicas}}}\nlimits: {{backend: {{memory: {memory}m, cpus: 0.25}}}}\n"
    ),
    replicas=st.integers(1, 8), memory=st.integers(64, 4096), registry=st.sampled_from(["", "registry.example.com/shop"]),
    storage=st.sampled_from(["", "fast"]), expose=st.sampled_from(["NodePort", "LoadBalancer", "ClusterIP"]),
    size=st.integers(1, 900),
)  # fmt: skip


@settings(max_examples=15, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(releases)
def test_whatever_is_set_the_objects_are_named_hashed_confined_and_the_same_each_time(found: Facts) -> None:
    objects = render(found)

    assert json.dumps(objects) == json.dumps(render(found))
    assert len({identity(one) for one in objects}) == len(objects)
    for one in objects:
        assert NAME.fullmatch(one["metadata"]["name"])
        assert re.fullmatch("[0-9a-f]{16}", hash_of(one))
    for pod in pods(objects):
        assert pod["securityContext"]["runAsNonRoot"] and pod["securityContext"]["runAsUser"] > 0
        assert pod["securityContext"]["seccompProfile"] == {"type": "RuntimeDefault"}
        assert pod["automountServiceAccountToken"] is False
        assert {"hostNetwork", "hostPID", "hostIPC"}.isdisjoint(pod)
        assert not any("hostPath" in volume for volume in pod["volumes"])
        for container in pod["containers"]:
            assert container["securityContext"] == {
                "allowPrivilegeEscalation": False, "readOnlyRootFilesystem": True, "capabilities": {"drop": ["ALL"]},
            }  # fmt: skip
            assert set(container["resources"]) == {"limits", "requests"}
            assert container["image"].startswith(found.cluster.registry or "localhost/cc03/")


@settings(max_examples=3, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(releases)
def test_whatever_is_set_the_objects_are_valid(found: Facts) -> None:
    for one in render(found):
        if one["kind"] in (*WORKLOADS, "PersistentVolumeClaim", "Service", "PodDisruptionBudget"):
            validate(one)


def test_another_value_is_another_hash_and_another_name_of_configuration() -> None:
    one, other = render(facts()), render(facts("limits: {backend: {memory: 3g}}\ndomain: shop.example.com\n"))

    assert hash_of(named(one, "Deployment", "backend")) != hash_of(named(other, "Deployment", "backend"))
    assert hash_of(named(one, "StatefulSet", "redis")) == hash_of(named(other, "StatefulSet", "redis"))
    names = [{name for kind, name in map(identity, objects) if kind == "ConfigMap"} for objects in (one, other)]
    assert len(names[0] - names[1]) == len(names[1] - names[0]) >= 2


def test_no_manifest_holds_a_secret_and_each_that_is_mounted_is_named_with_its_version() -> None:
    objects = render(facts())

    assert "Secret" not in {one["kind"] for one in objects}
    sources = {
        source["secret"]["name"] for pod in pods(objects) for volume in pod["volumes"]
        for source in volume.get("projected", {}).get("sources", ())
    }  # fmt: skip
    assert sources == {f"{name}-{version}" for name, version in mounted_secrets(facts()).items()}


def test_services_reach_those_with_whom_they_share_a_network_and_no_others() -> None:
    allowed = pairs(facts().wanted.stack.services.values())

    assert "backend" in allowed["postgres"] and "nginx" in allowed["backend"] and "keycloak" in allowed["postgres"]
    assert "frontend" not in allowed["postgres"] and "nginx" not in allowed["postgres"]
    assert allowed["frontend"] == ["nginx"]


def test_everything_is_denied_that_no_policy_allows() -> None:
    objects = render(facts())

    assert named(objects, "NetworkPolicy", "deny-all")["spec"] == {"podSelector": {}, "policyTypes": ["Ingress", "Egress"]}
    postgres = named(objects, "NetworkPolicy", "postgres")["spec"]["ingress"]
    assert [one["port"] for one in postgres[0]["ports"]] == [5432, 8432]
    anybody = [one for one in named(objects, "NetworkPolicy", "nginx")["spec"]["ingress"] if "from" not in one]
    assert [port["port"] for one in anybody for port in one["ports"]] == [8080, 8443]


def test_health_of_a_service_that_needs_another_does_not_restart_it() -> None:
    container = named(render(facts()), "Deployment", "backend")["spec"]["template"]["spec"]["containers"][0]

    assert container["readinessProbe"]["httpGet"]["path"] == "/api/v1/health/ready"
    assert (
        container["startupProbe"]["httpGet"]["path"] == container["livenessProbe"]["httpGet"]["path"] == "/api/v1/health/live"
    )


def test_pods_leave_their_service_before_they_stop() -> None:
    pod = named(render(facts()), "Deployment", "backend")["spec"]["template"]["spec"]

    assert pod["containers"][0]["lifecycle"] == {"preStop": {"sleep": {"seconds": 5}}}
    assert pod["terminationGracePeriodSeconds"] == 35


def test_migration_has_its_own_account_and_is_another_job_for_another_image() -> None:
    one, other = ([job for job in render(facts("", tag)) if job["kind"] == "Job"] for tag in ("1", "2"))

    assert one[0]["metadata"]["name"] != other[0]["metadata"]["name"]
    pod = one[0]["spec"]["template"]["spec"]
    assert {"name": "CC03_DATABASE_USER", "value": "app_migration"} in pod["containers"][0]["env"]
    assert pod["containers"][0]["args"] == ["migrate"]
    sources = {s["secret"]["items"][0]["path"]: s["secret"]["name"] for s in pod["volumes"][3]["projected"]["sources"]}
    assert sources["postgres-app"] == "postgres-migration-1"


@pytest.mark.parametrize(("service", "number"), [("backend", 2), ("nginx", 2), ("frontend", 1), ("postgres", 1)])
def test_number_of_pods(service: str, number: int) -> None:
    assert replicas(facts().wanted.stack.services[service]) == number


def test_postgres_admits_pods_of_every_subnet_on_a_cluster_only() -> None:
    assert "samenet" not in facts().wanted.config_files["postgres"]["pg_hba.conf"]


def test_manifests_are_one_file_for_each_object() -> None:
    objects = render(facts())
    written = files_of(objects, dump_yaml)

    assert len(written) == len(objects)
    assert [load_yaml(text) for text in written.values()] == objects
