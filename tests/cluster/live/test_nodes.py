"""The test bed is what it claims to be: Services, names, volumes and the registry work; NetworkPolicies are enforced; a node
that loses its power or its cable comes back."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest

from ops.core.process import until
from tests.cluster import registry
from tests.cluster.bed import Cluster
from tests.cluster.node import Node
from tests.cluster.pods import deployment, pod

READY_SECONDS, RETURN_SECONDS, AWAY_SECONDS = 60.0, 90.0, 90.0
PORT = 8080
SERVE = ("python3", "-m", "http.server", str(PORT), "--directory", "/tmp")
"""Of a pod whose image is the backend's: an HTTP server as any other."""


@pytest.fixture(scope="session")
def python(bed: Cluster) -> str:
    """An image that has Python, by its reference in the registry."""
    from ops.project import open_project

    return registry.push(open_project().images["backend"].tag)


@pytest.fixture
def web(bed: Cluster, own_namespace: str, python: str) -> Iterator[str]:
    """A Service with a pod on the last node, and a client on the first; the name of the namespace."""
    server = pod("web", own_namespace, python, SERVE, nodeName="n3", volumes=[{"name": "tmp", "emptyDir": {}}])
    server["spec"]["containers"][0]["volumeMounts"] = [{"name": "tmp", "mountPath": "/tmp"}]
    port = {"port": PORT}
    service = {
        "apiVersion": "v1", "kind": "Service", "metadata": {"name": "web", "namespace": own_namespace},
        "spec": {"selector": {"app": "web"}, "ports": [port]},
    }  # fmt: skip
    clients = [pod(name, own_namespace, python, ("sleep", "infinity"), nodeName="n1") for name in ("friend", "stranger")]
    bed.client("operator").apply(server, service, *clients)
    bed.admin.run("wait", f"--namespace={own_namespace}", "--for=condition=Ready", "pod", "--all", "--timeout=60s", timeout=70)
    yield own_namespace


def refused(bed: Cluster, namespace: str, client: str, seconds: float = READY_SECONDS) -> str:
    """Why a client gets no answer from the Service, by its name; empty where it does, at once or within that time."""
    code = f"import urllib.request as r; r.urlopen('http://web.{namespace}:{PORT}/', timeout=2)"
    argv = ("exec", f"--namespace={namespace}", client, "--", "python3", "-c", code)
    return until(lambda: bed.admin.refusal(*argv), seconds)


def test_a_service_is_found_by_its_name_and_answers_across_nodes(bed: Cluster, web: str) -> None:
    assert refused(bed, web, "friend") == ""


def test_a_network_policy_is_enforced(bed: Cluster, web: str) -> None:
    assert refused(bed, web, "stranger") == ""
    bed.client("operator").apply(policy(web))
    assert until(lambda: "" if refused(bed, web, "stranger", 0.0) else "the stranger is answered", READY_SECONDS) == ""
    assert refused(bed, web, "friend") == ""


def policy(namespace: str) -> dict[str, Any]:
    """Only the friend reaches the server."""
    friend = {"podSelector": {"matchLabels": {"app": "friend"}}}
    spec = {"podSelector": {"matchLabels": {"app": "web"}}, "policyTypes": ["Ingress"], "ingress": [{"from": [friend]}]}
    metadata = {"name": "web", "namespace": namespace}
    return {"apiVersion": "networking.k8s.io/v1", "kind": "NetworkPolicy", "metadata": metadata, "spec": spec}


def test_a_volume_keeps_its_data_over_a_power_cut(bed: Cluster, own_namespace: str, python: str) -> None:
    node = bed.nodes[1]
    claim = {
        "apiVersion": "v1", "kind": "PersistentVolumeClaim", "metadata": {"name": "data", "namespace": own_namespace},
        "spec": {"accessModes": ["ReadWriteOnce"], "resources": {"requests": {"storage": "10Mi"}}},
    }  # fmt: skip
    shell = ("sh", "-c", "date > /data/made-$(date +%s%N); sync; exec sleep infinity")
    keeper = pod(
        "keeper", own_namespace, python, shell, volumes=[{"name": "data", "persistentVolumeClaim": {"claimName": "data"}}]
    )
    keeper["spec"]["containers"][0]["volumeMounts"] = [{"name": "data", "mountPath": "/data"}]
    keeper["spec"]["nodeSelector"] = {"kubernetes.io/hostname": node.name}
    bed.client("operator").apply(claim, keeper)
    assert until(lambda: files_missing(bed, own_namespace, 1), RETURN_SECONDS) == ""
    node.cut_power()
    node.power_on()
    assert until(lambda: files_missing(bed, own_namespace, 2), RETURN_SECONDS) == ""


def files_missing(bed: Cluster, namespace: str, wanted: int) -> str:
    answer = bed.admin.run("exec", f"--namespace={namespace}", "keeper", "--", "ls", "/data", ok=None)
    found = len(answer.stdout.split())
    return "" if found == wanted else f"{found} of {wanted} files: {answer.last_words()}"


def test_a_node_without_its_cable_is_not_ready_and_returns(bed: Cluster) -> None:
    node = bed.nodes[2]
    node.unplug()
    try:
        assert until(lambda: "" if unready(bed, node) else f"{node.name} is ready", AWAY_SECONDS) == ""
    finally:
        node.plug()
    bed.await_nodes()


def unready(bed: Cluster, node: Node) -> bool:
    return bed.admin.not_ready([node.name]) == node.name


def test_a_drained_node_has_no_pods_left(bed: Cluster, own_namespace: str, python: str) -> None:
    operator, node = bed.client("operator"), bed.nodes[0]
    operator.apply(deployment("web", own_namespace, 3, pod("web", own_namespace, python, ("sleep", "infinity"))))
    operator.await_rollout(own_namespace, "deployment/web", READY_SECONDS)
    bed.drain(node)
    try:
        operator.await_rollout(own_namespace, "deployment/web", READY_SECONDS)
        found = operator.get("pods", f"--namespace={own_namespace}")["items"]
        assert node.name not in {item["spec"]["nodeName"] for item in found if "deletionTimestamp" not in item["metadata"]}
    finally:
        bed.uncordon(node)


def test_a_replaced_node_is_ready_and_empty(bed: Cluster, own_namespace: str, python: str) -> None:
    node = bed.nodes[2]
    node.exec("touch", "/var/lib/volumes/old")
    bed.replace(node)
    bed.await_nodes()
    assert node.exec("ls", "/var/lib/volumes").stdout == ""
    bed.client("operator").apply(pod("new", own_namespace, python, ("sleep", "infinity"), nodeName=node.name))
    bed.admin.run("wait", f"--namespace={own_namespace}", "--for=condition=Ready", "pod/new", "--timeout=60s", timeout=70)
