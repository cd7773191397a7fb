"""Pods as tests need them: as restricted as Pod Security demands, unless a test wants them otherwise."""

from __future__ import annotations

from typing import Any

RESTRICTED = {
    "allowPrivilegeEscalation": False, "capabilities": {"drop": ["ALL"]}, "readOnlyRootFilesystem": True,
}  # fmt: skip
PAUSE = "localhost/cc03-cluster/pause:latest"


def pod(name: str, namespace: str, image: str = PAUSE, command: tuple[str, ...] = (), **more: Any) -> dict[str, Any]:
    """more: fields of its spec."""
    container = {
        "name": "main", "image": image, "imagePullPolicy": "IfNotPresent", "securityContext": RESTRICTED,
        **({"command": list(command)} if command else {}),
    }  # fmt: skip
    account = {"runAsNonRoot": True, "runAsUser": 60999, "seccompProfile": {"type": "RuntimeDefault"}}
    spec = {
        "containers": [container], "securityContext": account, "automountServiceAccountToken": False,
        "terminationGracePeriodSeconds": 0, **more,
    }  # fmt: skip
    return {
        "apiVersion": "v1",
        "kind": "Pod",
        "metadata": {"name": name, "namespace": namespace, "labels": {"app": name}},
        "spec": spec,
    }


def privileged(name: str, namespace: str) -> dict[str, Any]:
    """One that Pod Security's restricted level refuses."""
    made = pod(name, namespace)
    made["spec"]["containers"][0]["securityContext"] = {"privileged": True}
    return made


def deployment(name: str, namespace: str, replicas: int, template: dict[str, Any]) -> dict[str, Any]:
    """template: a pod."""
    labels = {"app": name}
    spec = {
        "replicas": replicas, "selector": {"matchLabels": labels},
        "template": {"metadata": {"labels": labels}, "spec": template["spec"]},
    }  # fmt: skip
    return {"apiVersion": "apps/v1", "kind": "Deployment", "metadata": {"name": name, "namespace": namespace}, "spec": spec}
