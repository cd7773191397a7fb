"""Objects of the Kubernetes API as plain mappings: their names, labels, paths, and the hash of what they say. Pure."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from ops.stack.model import LABEL_HASH, LABEL_PROJECT, LABEL_SERVICE
from ops.stack.render import digest

Object = dict[str, Any]

LABEL_ROLE = "cc03.role"
SERVING, CANARY, ONE_OFF = "serving", "canary", "one-off"
"""Roles of pods: behind the Service; the first of a new release, outside of it; runs once and ends."""
LABEL_VERSION = "cc03.version"
"""On a Secret: version of the secret or certificate that it holds."""
LABEL_KIND = "cc03.kind"
SECRET, CERTIFICATE, AUTHORITY, RELEASE, CURRENT = "secret", "certificate", "authority", "release", "current"
"""What a Secret or ConfigMap that no manifest has is for."""


@dataclass(frozen=True)
class Kind:
    """Where the API has objects of a kind. at: path up to the namespace. plural: as in the path behind it."""

    at: str
    plural: str

    def path(self, namespace: str, name: str = "") -> str:
        return f"{self.at}/namespaces/{namespace}/{self.plural}" + (f"/{name}" if name else "")


CORE, APPS, BATCH, NETWORKING, POLICY = (
    "/api/v1",
    "/apis/apps/v1",
    "/apis/batch/v1",
    "/apis/networking.k8s.io/v1",
    "/apis/policy/v1",
)
KINDS: Mapping[str, Kind] = {
    "ServiceAccount": Kind(CORE, "serviceaccounts"), "NetworkPolicy": Kind(NETWORKING, "networkpolicies"),
    "ConfigMap": Kind(CORE, "configmaps"), "Secret": Kind(CORE, "secrets"),
    "PersistentVolumeClaim": Kind(CORE, "persistentvolumeclaims"), "Service": Kind(CORE, "services"),
    "PodDisruptionBudget": Kind(POLICY, "poddisruptionbudgets"),
    "StatefulSet": Kind(APPS, "statefulsets"), "Deployment": Kind(APPS, "deployments"), "DaemonSet": Kind(APPS, "daemonsets"),
    "Job": Kind(BATCH, "jobs"), "Pod": Kind(CORE, "pods"),
}  # fmt: skip
"""In the order in which they are created."""
WORKLOADS = ("StatefulSet", "Deployment", "DaemonSet")


def api_version(kind: str) -> str:
    return KINDS[kind].at.removeprefix("/apis/").removeprefix("/api/")


def labels(project: str, service: str = "", **more: str) -> dict[str, str]:
    return {LABEL_PROJECT: project, **({LABEL_SERVICE: service} if service else {}), **more}


def made(kind: str, name: str, project: str, service: str, content: Mapping[str, Any]) -> Object:
    """An object with its labels, and the hash of what it says."""
    found: Object = {
        "apiVersion": api_version(kind), "kind": kind, "metadata": {"name": name, "labels": labels(project, service)}, **content
    }  # fmt: skip
    found["metadata"]["annotations"] = {LABEL_HASH: digest(found)}
    return found


def identity(found: Mapping[str, Any]) -> tuple[str, str]:
    """Kind and name."""
    return str(found["kind"]), str(found["metadata"]["name"])


def hash_of(found: Mapping[str, Any]) -> str:
    """The hash that an object says of itself; empty where it says none."""
    return str((found["metadata"].get("annotations") or {}).get(LABEL_HASH, ""))


def service_of(found: Mapping[str, Any]) -> str:
    return str((found["metadata"].get("labels") or {}).get(LABEL_SERVICE, ""))


def ordered(objects: Sequence[Object]) -> list[Object]:
    """In the order of their creation, those of a kind by name."""
    order = list(KINDS)
    return sorted(objects, key=lambda one: (order.index(one["kind"]), one["metadata"]["name"]))


def secret_object_name(secret: str, version: int) -> str:
    """Of the Secret with a version of a secret. Versions never change: the Secret is immutable."""
    return f"{secret}-{version}"


def certificate_object_name(service: str, version: int) -> str:
    return f"tls-{service}-{version}"
