"""What the cluster says of workloads and pods: whether they are ready, and why not. Pure: objects in, words out."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

from ops.engines.kubernetes.objects import LABEL_ROLE, SERVING, Object, service_of

HOPELESS = ("ImagePullBackOff", "ErrImageNeverPull", "InvalidImageName", "CreateContainerConfigError", "CreateContainerError")
"""Reasons for which a container does not start, and that no waiting mends within a deadline."""
LONGEST = 200
"""Characters of what the cluster says of a pod."""
LOOPING = "CrashLoopBackOff"
PATIENCE = 3
"""Starts after which a container that ends again and again counts as broken."""


def replicas_of(workload: Mapping[str, Any]) -> int:
    return int(workload["spec"].get("replicas", 1))


def unready(workload: Mapping[str, Any]) -> str:
    """Why a Deployment or a StatefulSet does not run what it should; empty: it does."""
    status, wanted = workload.get("status") or {}, replicas_of(workload)
    if int(status.get("observedGeneration", 0)) < int(workload["metadata"].get("generation", 0)):
        return "the cluster has not taken it up yet"
    updated = int(status.get("updatedReplicas", 0))
    stateful = workload["kind"] == "StatefulSet"
    if stateful and status.get("currentRevision") == status.get("updateRevision"):
        updated = int(status.get("replicas", 0))
    available = int(status.get("readyReplicas" if stateful else "availableReplicas", 0))
    total = int(status.get("replicas", 0))
    if updated < wanted:
        return f"{updated} of {wanted} pods are new"
    if total > wanted:
        return f"{total - wanted} old pods still run"
    return "" if available >= wanted else f"{available} of {wanted} pods are ready"


def finished(job: Mapping[str, Any] | None) -> str:
    """`done`, `failed`, or empty: it runs, or there is none."""
    conditions = ((job or {}).get("status") or {}).get("conditions") or ()
    kinds = {one["type"] for one in conditions if one.get("status") == "True"}
    return "done" if "Complete" in kinds else "failed" if "Failed" in kinds else ""


def is_ready(pod: Mapping[str, Any]) -> bool:
    conditions = (pod.get("status") or {}).get("conditions") or ()
    return any(one["type"] == "Ready" and one["status"] == "True" for one in conditions) and not leaving(pod)


def leaving(pod: Mapping[str, Any]) -> bool:
    return bool(pod["metadata"].get("deletionTimestamp"))


def restarts(pod: Mapping[str, Any]) -> int:
    return sum(int(one.get("restartCount", 0)) for one in (pod.get("status") or {}).get("containerStatuses") or ())


def pods_of(pods: Iterable[Object], service: str, role: str = SERVING) -> list[Object]:
    return [one for one in pods if service_of(one) == service and one["metadata"]["labels"].get(LABEL_ROLE) == role]


def ailment(pod: Mapping[str, Any]) -> str:
    """Why a pod is not ready; empty: it is."""
    if is_ready(pod):
        return ""
    if leaving(pod):
        return "it is being stopped"
    status = pod.get("status") or {}
    for one in status.get("containerStatuses") or ():
        waiting = (one.get("state") or {}).get("waiting") or {}
        if waiting.get("reason") not in (None, "ContainerCreating", "PodInitializing"):
            ended = (one.get("lastState") or {}).get("terminated") or {}
            last = f"; it ended with exit code {ended['exitCode']} ({ended.get('reason', '')})" if "exitCode" in ended else ""
            return f"{waiting['reason']}: {str(waiting.get('message', ''))[:LONGEST]}{last}"
        ended = (one.get("state") or {}).get("terminated") or {}
        if ended:
            return f"it ended with exit code {ended.get('exitCode')}"
    for one in status.get("conditions") or ():
        if one["type"] == "PodScheduled" and one["status"] != "True":
            return f"no node takes it: {one.get('message', '')}"
    running = any("running" in (one.get("state") or {}) for one in status.get("containerStatuses") or ())
    return "its readiness probe fails" if running else "its container is being created"


def hopeless(pod: Mapping[str, Any]) -> bool:
    """Whether waiting for a pod is of no use."""
    waiting = [
        (one.get("state") or {}).get("waiting") or {} for one in (pod.get("status") or {}).get("containerStatuses") or ()
    ]  # fmt: skip
    reasons = {one.get("reason") for one in waiting}
    if leaving(pod):
        return False
    if (pod.get("status") or {}).get("phase") == "Failed":
        return True
    return bool(reasons & set(HOPELESS)) or (LOOPING in reasons and restarts(pod) >= PATIENCE)
