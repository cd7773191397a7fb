"""What the cluster says of workloads and pods, and what its refusals mean for an operator."""

from __future__ import annotations

import json
from typing import Any

import pytest

from ops.core.errors import HostLacks, OpsError
from ops.engines.kubernetes.api import Absent, Conflict, refusal
from ops.engines.kubernetes.reads import ailment, finished, hopeless, is_ready, unready


def workload(kind: str = "Deployment", replicas: int = 2, generation: int = 3, **status: Any) -> dict[str, Any]:
    return {"kind": kind, "metadata": {"generation": generation}, "spec": {"replicas": replicas}, "status": status}


@pytest.mark.parametrize(
    ("found", "why"),
    [
        (workload(observedGeneration=2), "the cluster has not taken it up yet"),
        (workload(observedGeneration=3, replicas=2, updatedReplicas=1), "1 of 2 pods are new"),
        ({**workload(), "status": {"observedGeneration": 3, "replicas": 3, "updatedReplicas": 2}}, "1 old pods still run"),
        (
            {**workload(), "status": {"observedGeneration": 3, "replicas": 2, "updatedReplicas": 2, "availableReplicas": 1}},
            "1 of 2 pods are ready",
        ),
        (
            {**workload(), "status": {"observedGeneration": 3, "replicas": 2, "updatedReplicas": 2, "availableReplicas": 2}},
            "",
        ),
        (
            {**workload("StatefulSet", 1), "status": {
                "observedGeneration": 3, "replicas": 1, "currentRevision": "a", "updateRevision": "a", "readyReplicas": 1,
            }},
            "",
        ),
        (
            {**workload("StatefulSet", 1), "status": {
                "observedGeneration": 3, "replicas": 1, "currentRevision": "a", "updateRevision": "b", "readyReplicas": 1,
            }},
            "0 of 1 pods are new",
        ),
        (workload(replicas=0, observedGeneration=3), ""),
    ],
)  # fmt: skip
def test_why_a_workload_is_not_ready(found: dict[str, Any], why: str) -> None:
    assert unready(found) == why


def pod(*, ready: bool = False, leaving: bool = False, scheduled: bool = True, **state: Any) -> dict[str, Any]:
    conditions = [
        {"type": "Ready", "status": str(ready)},
        {"type": "PodScheduled", "status": str(scheduled), "message": "0/1 nodes are available"},
    ]
    about = {"deletionTimestamp": "now"} if leaving else {}
    return {"metadata": about, "status": {"conditions": conditions, "containerStatuses": [state] if state else []}}


BACK_OFF: dict[str, Any] = {"state": {"waiting": {"reason": "ImagePullBackOff", "message": "not found"}}}
LOOPING: dict[str, Any] = {
    "state": {"waiting": {"reason": "CrashLoopBackOff", "message": "back-off"}},
    "lastState": {"terminated": {"exitCode": 2, "reason": "Error"}},
}


@pytest.mark.parametrize(
    ("found", "why"),
    [
        (pod(ready=True), ""), (pod(ready=True, leaving=True), "it is being stopped"),
        (pod(**BACK_OFF), "ImagePullBackOff: not found"),
        (pod(**LOOPING), "CrashLoopBackOff: back-off; it ended with exit code 2 (Error)"),
        (pod(scheduled=False), "no node takes it: 0/1 nodes are available"),
        (pod(state={"running": {}}), "its readiness probe fails"),
        (pod(state={"waiting": {"reason": "ContainerCreating"}}), "its container is being created"),
        (pod(state={"terminated": {"exitCode": 1}}), "it ended with exit code 1"),
    ],
)  # fmt: skip
def test_why_a_pod_is_not_ready(found: dict[str, Any], why: str) -> None:
    assert ailment(found) == why
    assert is_ready(found) == (why == "")


def test_waiting_is_given_up_for_an_image_that_is_not_there_and_for_a_container_that_ends_again_and_again() -> None:
    assert hopeless(pod(**BACK_OFF))
    assert not hopeless(pod(**LOOPING, restartCount=1)) and hopeless(pod(**LOOPING, restartCount=3))
    assert hopeless({**pod(), "status": {"phase": "Failed"}})
    assert not hopeless({**pod(leaving=True), "status": {"phase": "Failed"}})
    assert not hopeless(pod(ready=True)) and not hopeless(pod(scheduled=False))


def test_end_of_a_job() -> None:
    def ended(kind: str) -> dict[str, Any]:
        return {"status": {"conditions": [{"type": kind, "status": "True"}]}}

    assert (finished(None), finished({}), finished(ended("Complete")), finished(ended("Failed"))) == ("", "", "done", "failed")


RBAC = 'pods is forbidden: User "colleague" cannot list resource "pods" in API group "" in the namespace "shop"'
SECURITY = 'pods "backend-surge" is forbidden: violates PodSecurity "restricted:latest": runAsNonRoot != true'


@pytest.mark.parametrize(
    ("status", "message", "kind", "what", "next_step"),
    [
        (401, "Unauthorized", HostLacks, "the cluster does not know these credentials", "kubectl auth whoami"),
        (403, RBAC, HostLacks, "the cluster does not grant a right that this command needs", "apply the Role"),
        (403, SECURITY, HostLacks, "the cluster's admission refuses an object", "Admission"),
        (404, 'namespaces "shop" not found', Absent, "there is no namespace shop", "kubectl create namespace shop"),
        (404, 'pods "a" not found', Absent, "there is no such object: GET /a", "inv doctor"),
        (409, "already exists", Conflict, "the cluster has another version of an object", "run the command again"),
        (503, "starting", OpsError, "the cluster is overloaded or not ready", "in a minute"),
        (422, "Invalid value", OpsError, "the cluster refuses GET /a", "inv doctor"),
    ],
)
def test_refusals_of_the_cluster_are_told_in_three_lines(
    status: int, message: str, kind: type[OpsError], what: str, next_step: str
) -> None:
    problem = refusal(status, json.dumps({"message": message}), "GET /a", "shop")

    assert type(problem) is kind and problem.what == what
    assert message in problem.why and next_step in problem.next_step
