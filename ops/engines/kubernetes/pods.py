"""A service of compose.yaml -> the template of its pods. Pure."""

from __future__ import annotations

import math
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any
from urllib.parse import urlsplit

from ops.engines.kubernetes.objects import (
    LABEL_ROLE,
    ONE_OFF,
    SERVING,
    Object,
    certificate_object_name,
    labels,
    secret_object_name,
)
from ops.stack.model import EDGE, LABEL_SERVICE, Service, seconds
from ops.stack.render import ENGINES_TMPFS, LISTEN, environment

CONFIG_PATH, TLS_PATH, SECRETS_PATH = "/etc/cc03/current", "/etc/tls", "/run/secrets"
LEAVING = 5
"""Seconds between the end of a pod's place behind its Service and the end of its program: every node has to learn of it
(kubernetes/kubernetes#43576)."""
READY_PERIOD, LIVE_PERIOD, START_PERIOD = 5, 30, 2
REQUESTED_MEMORY, REQUESTED_CPU = 4, 10
"""Which part of its limit a container surely gets."""
ACCOUNT = "stack"
"""ServiceAccount of all pods: it has no rights, and no token is mounted."""


@dataclass(frozen=True)
class Parts:
    """What a release adds to a service.

    project: name. image: reference that nodes pull. config: name of the ConfigMap, and its files: key -> path.
    certificate: version. versions: secret -> version.
    """

    project: str
    image: str
    config: str
    files: Mapping[str, str]
    certificate: int
    versions: Mapping[str, int]


def size_of(options: str) -> str:
    """`mode=1777,size=64m` as a quantity of Kubernetes."""
    found = re.search(r"size=(\d+)([kmg])", options)
    return f"{found[1]}{found[2].upper()}i" if found else "1Mi"


def _named(path: str) -> str:
    return path.strip("/").replace("/", "-")


def _in_memory(path: str, size: str) -> tuple[Object, Object]:
    name = _named(path)
    return {"name": name, "emptyDir": {"medium": "Memory", "sizeLimit": size}}, {"name": name, "mountPath": path}


def _mounts(service: Service, parts: Parts, secrets: Mapping[str, str]) -> tuple[list[Object], list[Object]]:
    """Volumes and their mounts. secrets: name of the file -> the secret that it holds."""
    found: list[tuple[Object, Object]] = []
    declared = dict(str(mount).partition(":")[::2] for mount in service.definition.get("tmpfs", ()))
    if service.definition.get("read_only"):
        declared = {**dict.fromkeys(ENGINES_TMPFS, ""), **declared}
    found += [_in_memory(path, size_of(options)) for path, options in sorted(declared.items())]
    if shared := service.definition.get("shm_size"):
        found.append(_in_memory("/dev/shm", size_of(f"size={shared}")))
    if secrets:
        sources = [
            {"secret": {"name": secret_object_name(one, parts.versions[one]), "items": [{"key": "value", "path": file}]}}
            for file, one in secrets.items()
        ]
        volume = {"name": "secrets", "projected": {"defaultMode": 0o440, "sources": sources}}
        found.append((volume, {"name": "secrets", "mountPath": SECRETS_PATH, "readOnly": True}))
    found += [one for mount in service.definition.get("volumes", ()) if (one := _mount(service, parts, str(mount)))]
    return [volume for volume, _ in found], [mount for _, mount in found]


def _mount(service: Service, parts: Parts, mount: str) -> tuple[Object, Object] | None:
    """None for what only a host of its own can give, and for the volume of another service: it can be mounted on one node."""
    source, target, *mode = mount.split(":")
    if target == CONFIG_PATH:
        items = [{"key": key, "path": path} for key, path in parts.files.items()]
        volume = {"name": "config", "configMap": {"name": parts.config, "defaultMode": 0o444, "items": items}}
        return volume, {"name": "config", "mountPath": target, "readOnly": True}
    if target == TLS_PATH:
        secret = {"secretName": certificate_object_name(service.name, parts.certificate), "defaultMode": 0o440}
        return {"name": "tls", "secret": secret}, {"name": "tls", "mountPath": target, "readOnly": True}
    if source.startswith((".", "/")) or "ro" in mode:
        return None
    return {"name": source, "persistentVolumeClaim": {"claimName": source}}, {"name": source, "mountPath": target}


def _check(where: str, service: Service) -> Object:
    """A URL, or argv in one text, as the body of a probe."""
    if not where.startswith("https:"):
        return {"exec": {"command": where.split("\0")}}
    url = urlsplit(where)
    host = {"name": "Host", "value": service.name}
    return {"httpGet": {"scheme": "HTTPS", "port": url.port, "path": url.path, "httpHeaders": [host]}}


def probes(service: Service) -> dict[str, Object]:
    """From x-cc03.health and the health check. While it starts, it is only asked whether it lives: what it waits for may be
    another service."""
    check = service.definition["healthcheck"]
    test = "\0".join(map(str, check["test"][1:]))
    # A container that stands in the network of another one on a host is asked in a way of its own.
    ready = service.probe if service.probe and not service.socket else test
    live = service.live or ready
    timeout, retries = seconds(check.get("timeout", "5s")), int(check.get("retries", 3))
    starting = math.ceil(service.start_seconds / START_PERIOD)
    return {
        "startupProbe": {
            **_check(live, service), "periodSeconds": START_PERIOD, "timeoutSeconds": timeout, "failureThreshold": starting
        },
        "readinessProbe": {
            **_check(ready, service), "periodSeconds": READY_PERIOD, "timeoutSeconds": timeout, "failureThreshold": 2
        },
        "livenessProbe": {
            **_check(live, service), "periodSeconds": LIVE_PERIOD, "timeoutSeconds": timeout, "failureThreshold": retries
        },
    }  # fmt: skip


def _resources(service: Service) -> Object:
    memory, cpus = service.limits.memory_bytes, service.limits.cpus
    return {
        "limits": {"memory": str(memory), "cpu": f"{round(cpus * 1000)}m"},
        "requests": {"memory": str(memory // REQUESTED_MEMORY), "cpu": f"{max(10, round(cpus * 1000 / REQUESTED_CPU))}m"},
    }


def _environment(variables: Mapping[str, Any], service: Service) -> list[Object]:
    found: list[Object] = [{"name": name, "value": str(value)} for name, value in variables.items()]
    if service.listen_network:
        found.append({"name": LISTEN, "valueFrom": {"fieldRef": {"fieldPath": "status.podIP"}}})
    return found


def _security(service: Service) -> Object:
    user, _, group = str(service.definition.get("user", "0")).partition(":")
    more = [int(one) for one in service.definition.get("group_add", ())]
    return {
        "runAsNonRoot": True, "runAsUser": int(user), "runAsGroup": int(group or user),
        # Secrets and volumes belong to root, and to this group.
        "fsGroup": int(group or user), "fsGroupChangePolicy": "OnRootMismatch",
        **({"supplementalGroups": more} if more else {}), "seccompProfile": {"type": "RuntimeDefault"},
    }  # fmt: skip


def _container(service: Service, parts: Parts, variables: Mapping[str, Any], mounts: Sequence[Object]) -> Object:
    entry = service.definition.get("entrypoint")
    return {
        "name": service.name, "image": parts.image, "imagePullPolicy": "IfNotPresent",
        **({"command": list(entry)} if entry else {}),
        "env": _environment(variables, service), "resources": _resources(service),
        "securityContext": {
            "allowPrivilegeEscalation": False, "readOnlyRootFilesystem": True, "capabilities": {"drop": ["ALL"]},
        },
        "volumeMounts": list(mounts),
    }  # fmt: skip


def template(service: Service, parts: Parts, role: str = SERVING) -> Object:
    """The template of a service's pods. role: SERVING or CANARY."""
    volumes, mounts = _mounts(service, parts, {name: name for name in service.secrets})
    container = _container(service, parts, environment(service, parts.versions), mounts)
    if command := service.definition.get("command"):
        container["args"] = list(command)
    container |= probes(service)
    leaves = service.replicated or service.name == EDGE
    if leaves:
        container["lifecycle"] = {"preStop": {"sleep": {"seconds": LEAVING}}}
    spread = {
        "maxSkew": 1, "topologyKey": "kubernetes.io/hostname", "whenUnsatisfiable": "ScheduleAnyway",
        "labelSelector": {"matchLabels": {LABEL_SERVICE: service.name, LABEL_ROLE: role}},
    }  # fmt: skip
    return {
        "metadata": {"labels": labels(parts.project, service.name, **{LABEL_ROLE: role})},
        "spec": {
            **_common(service, volumes), "containers": [container],
            "terminationGracePeriodSeconds": service.grace + (LEAVING if leaves else 0), "topologySpreadConstraints": [spread],
        },
    }  # fmt: skip


def _common(service: Service, volumes: Sequence[Object]) -> Object:
    return {
        "serviceAccountName": ACCOUNT, "automountServiceAccountToken": False,
        # Else a variable such as REDIS_PORT names every Service to every program.
        "enableServiceLinks": False, "securityContext": _security(service), "volumes": list(volumes),
    }  # fmt: skip


def migration_template(service: Service, parts: Parts) -> Object:
    """The template of the pod that prepares the database: the service's own image, another command and account."""
    accounts = service.migrates_as
    secrets = {name: accounts[name]["secret"] if name in accounts else name for name in service.secrets}
    volumes, mounts = _mounts(service, parts, secrets)
    names = {service.logins[name]: one["account"] for name, one in accounts.items() if name in service.logins}
    variables = {**environment(service, parts.versions), **names}
    container = {**_container(service, parts, variables, mounts), "args": list(service.migrate or ())}
    return {
        "metadata": {"labels": labels(parts.project, service.name, **{LABEL_ROLE: ONE_OFF})},
        "spec": {**_common(service, volumes), "containers": [container], "restartPolicy": "Never"},
    }
