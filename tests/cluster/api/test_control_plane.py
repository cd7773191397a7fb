"""The control plane is a real one: it stores, schedules, admits and refuses as every cluster does."""

from __future__ import annotations

from tests.cluster.api_server import Api
from tests.cluster.build import KUBERNETES
from tests.cluster.pods import deployment, pod, privileged

ROLLOUT_SECONDS = 60.0


def test_the_version_is_the_pinned_one(api: Api) -> None:
    assert f"v{KUBERNETES}" in api.admin.run("version").stdout


def test_a_deployment_is_scheduled_over_the_nodes_and_becomes_ready(api: Api, own_namespace: str) -> None:
    operator = api.client("operator")
    operator.apply(deployment("web", own_namespace, 3, pod("web", own_namespace)))
    operator.await_rollout(own_namespace, "deployment/web", ROLLOUT_SECONDS)
    found = operator.get("pods", f"--namespace={own_namespace}")["items"]
    assert {item["spec"]["nodeName"] for item in found} <= set(api.nodes)
    assert len(found) == 3


def test_a_privileged_pod_is_refused(api: Api, own_namespace: str) -> None:
    refusal = api.client("operator").apply_refusal(privileged("root", own_namespace))
    assert 'violates PodSecurity "restricted:latest"' in refusal


def test_a_restricted_pod_is_admitted(api: Api, own_namespace: str) -> None:
    assert api.client("operator").apply_refusal(pod("plain", own_namespace)) == ""


def test_the_operator_has_no_rights_outside_of_the_namespace(api: Api, own_namespace: str) -> None:
    operator = api.client("operator")
    assert 'cannot list resource "nodes"' in operator.refusal("get", "nodes")
    assert 'in the namespace "default"' in operator.apply_refusal(pod("plain", "default"))
    assert operator.refusal("get", "pods", f"--namespace={own_namespace}") == ""


def test_a_user_without_a_role_is_refused(api: Api, own_namespace: str) -> None:
    refusal = api.client("colleague").apply_refusal(pod("plain", own_namespace))
    assert 'User "colleague" cannot' in refusal
