"""A release -> the objects of the Kubernetes API that run it. Pure: the same release makes the same objects, byte for byte."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any

from ops.engines.kubernetes.network_policies import network_policies
from ops.engines.kubernetes.objects import (
    CANARY,
    LABEL_ROLE,
    SERVING,
    Object,
    identity,
    made,
    ordered,
)
from ops.engines.kubernetes.pods import ACCOUNT, Parts, migration_template, template
from ops.stack.cluster_settings import Kubernetes
from ops.stack.images import REGISTRY
from ops.stack.model import EDGE, LABEL_PROJECT, LABEL_SERVICE, Service, names_on_cluster
from ops.stack.render import MIGRATE_SUFFIX, digest
from ops.stack.value_types import disk_bytes
from ops.stack.wanted import Wanted

RUNS = ("postgres", "redis", "keycloak", "backend", "frontend", "nginx")
"""Services that run on a cluster so far; docs/explanation/cluster.md says what becomes of the others."""
DROPPED = ("cadvisor",)
"""Services that a cluster has no use for: the kubelet measures containers."""
AT_LEAST = {EDGE: 2}
"""Service -> pods, where compose.yaml has one container: on one host, two could not have one port."""
DEFAULT_STORAGE = "10g"
PUBLISHED = {"http": (80, 8080), "https": (443, 8443)}
"""Port of nginx' Service -> of its pods."""
REVISIONS = 3
SETTLING = 60
"""Seconds beyond its start after which a Deployment counts as failed."""


@dataclass(frozen=True)
class Facts:
    """What a release is rendered from. certificates: service -> version of its certificate."""

    wanted: Wanted
    cluster: Kubernetes
    certificates: Mapping[str, int] = field(default_factory=dict)
    settle: int = 5
    references: Mapping[str, str] = field(default_factory=dict)
    """Tag of an image -> its reference by digest in the registry, where it is known."""
    runs: tuple[str, ...] = RUNS

    def image(self, service: Service) -> str:
        """What nodes pull."""
        tag = self.wanted.images[service.name].tag
        known = self.references.get(tag, "")
        named = reference(tag, self.cluster.registry)
        return known if known.partition("@")[0] == named.rpartition(":")[0] else named

    @property
    def project(self) -> str:
        return self.wanted.stack.project

    def services(self) -> list[Service]:
        return [one for name, one in self.wanted.stack.services.items() if name in self.runs]


def reference(tag: str, registry: str) -> str:
    """What nodes pull an image by. tag: as this host has it."""
    return tag.replace(REGISTRY, registry, 1) if registry else tag


def replicas(service: Service) -> int:
    return max(service.replicas, AT_LEAST.get(service.name, 1))


def rolls(service: Service) -> bool:
    """Whether several of its pods serve side by side, so that one is replaced without an interruption."""
    return service.replicated or service.name in AT_LEAST


def render(facts: Facts) -> list[Object]:
    """All objects of a release but for its Secrets, which no manifest may hold, in the order of their creation."""
    project = facts.project
    services = [one for name, one in facts.wanted.stack.services.items() if name not in DROPPED]
    found = [
        made("ServiceAccount", ACCOUNT, project, "", {"automountServiceAccountToken": False}),
        *network_policies(project, services),
    ]
    for service in services:
        # Names of those that do not run exist too: nginx does not start while one of its upstreams has no address.
        found += _services(facts, service)
        found += _of_service(facts, service) if service.name in facts.runs else []
    return ordered(found)


def needed_secrets(facts: Facts) -> dict[str, int]:
    """Secret -> version, of those that pods mount or that the realm holds."""
    names = {name for one in facts.services() for name in (*one.mounts, *one.api_secrets)}
    return {name: facts.wanted.versions.get(name, 1) for name in sorted(names)}


def mounted_secrets(facts: Facts) -> dict[str, int]:
    """Secret -> version, of those that pods mount."""
    names = {name for one in facts.services() for name in one.mounts}
    return {name: facts.wanted.versions.get(name, 1) for name in sorted(names)}


def _of_service(facts: Facts, service: Service) -> list[Object]:
    project = facts.project
    config, _ = _config(facts, service)
    parts = _parts(facts, service)
    found = [config] if config else []
    found += [_claim(facts, service, name) for name in _own_volumes(service)]
    found.append(_workload(facts, service, parts))
    if service.migrate:
        found.append(_migration(facts, service, parts))
    if rolls(service) and replicas(service) > 1:
        found.append(_budget(project, service))
    return found


def _budget(project: str, service: Service) -> Object:
    spec = {"maxUnavailable": 1, "selector": {"matchLabels": _selector(project, service)}}
    return made("PodDisruptionBudget", service.name, project, service.name, {"spec": spec})


def rescaled(objects: Iterable[Object], project: str, service: Service, number: int) -> list[Object]:
    """The objects of a release with another number of pods of a service that has several."""
    kept = [one for one in objects if identity(one) != ("PodDisruptionBudget", service.name)]
    found = [
        made("Deployment", service.name, project, service.name, {"spec": {**one["spec"], "replicas": number}})
        if identity(one) == ("Deployment", service.name) else one
        for one in kept
    ]  # fmt: skip
    return ordered([*found, *([_budget(project, service)] if number > 1 else [])])


def _parts(facts: Facts, service: Service) -> Parts:
    config, files = _config(facts, service)
    return Parts(
        facts.project, facts.image(service), config["metadata"]["name"] if config else "", files,
        facts.certificates.get(service.name, 1), facts.wanted.versions,
    )  # fmt: skip


def _selector(project: str, service: Service, role: str = SERVING) -> dict[str, str]:
    return {LABEL_PROJECT: project, LABEL_SERVICE: service.name, LABEL_ROLE: role}


def _config(facts: Facts, service: Service) -> tuple[Object | None, dict[str, str]]:
    """The ConfigMap with the mounted files of a service, and key -> path. Another content has another name, so that pods of the
    previous release keep what they were started with."""
    content = facts.wanted.config_files.get(service.name)
    if not content:
        return None, {}
    keys = {path.replace("/", "__"): path for path in sorted(content)}
    name = f"{service.name}-{digest(dict(content))}"
    data = {key: content[path] for key, path in keys.items()}
    return made("ConfigMap", name, facts.project, service.name, {"immutable": True, "data": data}), keys


def _own_volumes(service: Service) -> list[str]:
    """Those that it writes to."""
    mounts = [str(mount).split(":") for mount in service.definition.get("volumes", ())]
    return [source for source, _, *mode in mounts if not source.startswith((".", "/")) and "ro" not in mode]


def _claim(facts: Facts, service: Service, volume: str) -> Object:
    size = disk_bytes(facts.cluster.storage.get(volume, DEFAULT_STORAGE))
    spec: dict[str, Any] = {"accessModes": ["ReadWriteOnce"], "resources": {"requests": {"storage": str(size)}}}
    if facts.cluster.storageClass:
        spec["storageClassName"] = facts.cluster.storageClass
    return made("PersistentVolumeClaim", volume, facts.project, service.name, {"spec": spec})


def _services(facts: Facts, service: Service) -> list[Object]:
    """Its name for the others, with every port that it declares; and one for the first pod of a new release."""
    ports = [
        {"name": f"tcp-{port}", "port": int(port), "targetPort": int(port), "protocol": "TCP"}
        for port in sorted(service.listens, key=int)
    ]  # fmt: skip
    project, name = facts.project, service.name
    found = []
    if ports:
        spec = {"selector": _selector(project, service), "ports": ports}
        found += [
            made("Service", one, project, name, {"spec": spec}) for one in {name: 0, **dict.fromkeys(names_on_cluster(service))}
        ]
    if service.replicated and ports:
        spec = {"selector": _selector(project, service, CANARY), "ports": ports}
        found.append(made("Service", service.surge_slot, project, name, {"spec": spec}))
    if name == EDGE:
        published = [
            {"name": key, "port": port, "targetPort": target, "protocol": "TCP"} for key, (port, target) in PUBLISHED.items()
        ]  # fmt: skip
        spec = {"selector": _selector(project, service), "ports": published, "type": facts.cluster.expose}
        found.append(made("Service", "site", project, name, {"spec": spec}))
    return found


def _workload(facts: Facts, service: Service, parts: Parts) -> Object:
    spec: dict[str, Any] = {
        "replicas": replicas(service), "selector": {"matchLabels": _selector(facts.project, service)},
        "template": template(service, parts), "revisionHistoryLimit": REVISIONS,
    }  # fmt: skip
    if not rolls(service):
        spec["serviceName"] = service.name
        return made("StatefulSet", service.name, facts.project, service.name, {"spec": spec})
    spec |= {
        "strategy": {"type": "RollingUpdate", "rollingUpdate": {"maxSurge": 1, "maxUnavailable": 0}},
        "minReadySeconds": facts.settle,
        "progressDeadlineSeconds": service.start_seconds + SETTLING,
    }
    return made("Deployment", service.name, facts.project, service.name, {"spec": spec})


def _migration(facts: Facts, service: Service, parts: Parts) -> Object:
    """A Job that prepares the database for this release: another image or account is another Job."""
    pod = migration_template(service, parts)
    name = f"{service.name}{MIGRATE_SUFFIX}-{digest(pod)}"
    spec = {"backoffLimit": 0, "activeDeadlineSeconds": service.start_seconds + 600, "template": pod}
    return made("Job", name, facts.project, service.name, {"spec": spec})


def canary(facts: Facts, service: Service) -> Object:
    """A pod of a new release outside of the Service, to be proved before any other is replaced."""
    parts = _parts(facts, service)
    pod = template(service, parts, CANARY)
    found = made("Pod", service.surge_slot, facts.project, service.name, {"spec": {**pod["spec"], "restartPolicy": "Never"}})
    found["metadata"]["labels"] = pod["metadata"]["labels"]
    return found


def files_of(objects: Iterable[Object], dump: Any) -> dict[str, str]:
    """File -> its text, for users of GitOps: one file for each object, by kind and name."""
    return {f"{one['kind'].lower()}-{one['metadata']['name']}.yaml": dump(one) for one in objects}
