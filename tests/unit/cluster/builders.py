"""The real compose.yaml as a release for a cluster, and what a cluster is like after its deploy."""

from __future__ import annotations

import copy
from collections.abc import Iterable, Mapping
from functools import cache
from typing import Any

import kubernetes_validate
from kubernetes_validate import utils

from ops.cluster.facts import Certificate, Observed
from ops.cluster.plan import Wish
from ops.cluster.steps import Apply, KeepCertificate, KeepRelease, KeepSecret, MakeCurrent, Remove, RunJob
from ops.core.plan import Step
from ops.engines.kubernetes.objects import WORKLOADS, Object, identity, secret_object_name
from ops.engines.kubernetes.render import Facts, canary, needed_secrets, render, rolls
from ops.stack.applied_settings import with_settings
from ops.stack.checkout import config_of, config_version
from ops.stack.compose import parse_stack, placeholders
from ops.stack.images import WantedImage
from ops.stack.model import Allocation, names_on_cluster
from ops.stack.wanted import Wanted
from tests.unit.builders import PORTS, REPOSITORY, STATE, settings

VERSION = "1.36"
CLUSTER = "engine: {kubernetes: {namespace: shop}}\n"


@cache
def facts(text: str = "", tag: str = "1") -> Facts:
    """text: more of stack.yaml. tag: of all images."""
    chosen = settings(text if "kubernetes" in text else CLUSTER + text)
    stack = parse_stack((REPOSITORY / "compose/compose.yaml").read_text(), chosen, PORTS, REPOSITORY, STATE)
    values, slots = placeholders(chosen, PORTS), {name: names_on_cluster(one) for name, one in stack.services.items()}
    content = {
        one.name: with_settings(one.name, config_of(one, slots, values, REPOSITORY), chosen)
        for one in stack.services.values() if one.has_config
    }  # fmt: skip
    wanted = Wanted(
        stack=stack, allocation=Allocation({}, {}, PORTS),
        images={name: WantedImage(name, f"localhost/cc03/{name}:{tag}") for name in stack.services},
        compose={"services": {}}, config={name: config_version(files) for name, files in content.items()},
        config_files=content, versions=dict.fromkeys(stack.secrets, 1), supervise={}, supervise_version="",
    )  # fmt: skip
    assert chosen.engine.kubernetes is not None
    return Facts(wanted, chosen.engine.kubernetes)


def wish(text: str = "", tag: str = "1", realm: str = "realm: cc03", **more: Any) -> Wish:
    found = facts(text, tag)
    names = {one.name: (1, (one.name,)) for one in found.services() if one.has_tls}
    return Wish(**{
        "objects": render(found), "services": found.services(), "secrets": needed_secrets(found), "certificates": names,
        "canaries": {one.name: canary(found, one) for one in found.services() if rolls(one)}, "realm": realm, **more,
    })  # fmt: skip


def running(one: Object) -> Object:
    """An object as the cluster has it once all is well."""
    found = copy.deepcopy(one)
    found["metadata"]["generation"] = 1
    if one["kind"] in WORKLOADS:
        number = one["spec"]["replicas"]
        counts = dict.fromkeys(("replicas", "updatedReplicas", "readyReplicas", "availableReplicas"), number)
        found["status"] = {"observedGeneration": 1, **counts}
    if one["kind"] == "Job":
        found["status"] = {"conditions": [{"type": "Complete", "status": "True"}]}
    return found


def after(steps: Iterable[Step], seen: Observed) -> Observed:
    """What a cluster has once these steps are done."""
    objects, stored, certificates = dict(seen.objects), dict(seen.stored), dict(seen.certificates)
    secrets, current, releases = set(seen.secrets), dict(seen.current), dict(seen.releases)
    for step in steps:
        if isinstance(step, Apply | RunJob):
            objects[identity(dict(step.made))] = running(dict(step.made))
        elif isinstance(step, Remove):
            objects.pop((step.kind, step.name))
        elif isinstance(step, KeepSecret):
            secrets.add(secret_object_name(step.secret, step.version))
            stored[step.secret] = step.version
        elif isinstance(step, KeepCertificate):
            certificates[step.service] = Certificate(step.version, step.names, 2e9)
        elif isinstance(step, KeepRelease):
            releases[step.number] = step.digest
        elif isinstance(step, MakeCurrent):
            current |= step.said
    return Observed(objects, frozenset(secrets), stored, certificates, current, releases, "ca")


@cache
def _schema(name: str, version: str) -> Any:
    return _read(name, version)


_read = utils.schema_contents
utils.schema_contents = _schema  # it would read 2 MB of definitions for each object


def validate(one: Mapping[str, Any]) -> None:
    """Raises where the API's schema does not take an object, unknown fields included."""
    kubernetes_validate.validate(dict(one), VERSION, strict=True)
