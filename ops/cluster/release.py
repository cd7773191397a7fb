"""The release of a checkout, and of one that was sealed, as what a cluster should have."""

from __future__ import annotations

import time
from collections.abc import Mapping
from dataclasses import replace
from typing import TYPE_CHECKING, Any

from ops.cluster.facts import Observed, load_release
from ops.cluster.plan import Wish, due_certificates
from ops.engines.kubernetes.objects import WORKLOADS, service_of
from ops.engines.kubernetes.render import Facts, canary, needed_secrets, render, rolls
from ops.stack.model import Allocation, Service
from ops.stack.wanted import Wanted

if TYPE_CHECKING:
    from ops.project import Project


def wanted_of(project: Project, versions: Mapping[str, int]) -> Wanted:
    """What the checkout says, without addresses of this host. versions: secret -> newest one."""
    from ops.stack.checkout import config_version

    content = project.cluster_config()
    return Wanted(
        stack=project.stack, allocation=Allocation({}, {}, project.ports), images=project.images, compose={"services": {}},
        config={name: config_version(files) for name, files in content.items()}, config_files=content,
        versions={name: versions.get(name, 1) for name in project.stack.secrets}, supervise={}, supervise_version="",
        certificate_names=project.certificate_names(), settings=dict(sorted(project.settings.given().items())),
        realm=project.realm,
    )  # fmt: skip


def facts_of(
    project: Project, wanted: Wanted, certificates: Mapping[str, int], known: Mapping[str, str] | None = None
) -> Facts:
    """known: tag of an image -> its reference by digest, as the cluster has noted it; what was pushed from here counts more."""
    from ops.images.steps import pushed

    references = {**(known or {}), **pushed(project.state)}
    return Facts(wanted, project.kubernetes.cluster, certificates, project.settings.deploy.settle, references)


def checkout_wish(project: Project, seen: Observed, now: float | None = None) -> tuple[Wish, Wanted]:
    """now: seconds of the epoch, for certificates that are due."""
    wanted = wanted_of(project, seen.stored)
    runs = facts_of(project, wanted, {}, seen.images)
    names = {one.name: wanted.certificate_names[one.name] for one in runs.services() if one.has_tls}
    certificates = due_certificates(names, seen, time.time() if now is None else now)
    facts = replace(runs, certificates={name: version for name, (version, _) in certificates.items()})
    return Wish(
        objects=render(facts), services=facts.services(), secrets=needed_secrets(facts), certificates=certificates,
        canaries={one.name: canary(facts, one) for one in facts.services() if rolls(one) and one.listens},
        realm=wanted.realm, realm_versions=_of_realm(wanted), settle=facts.settle, images=_images(facts),
    ), wanted  # fmt: skip


def _images(facts: Facts) -> dict[str, str]:
    found = {facts.wanted.images[one.name].tag: facts.image(one) for one in facts.services()}
    return {tag: image for tag, image in found.items() if "@" in image}


def _of_realm(wanted: Wanted) -> dict[str, int]:
    from ops.keycloak.realm.declaration import read_realm

    if not wanted.realm:
        return {}
    return {name: wanted.versions[name] for name in sorted(read_realm(wanted.realm).secrets) if name in wanted.versions}


def sealed_wish(project: Project, seen: Observed, number: int, verb: str) -> tuple[Wish, Wanted]:
    """A release that was sealed, as it was. It has served before: no canary proves it again."""
    sealed = load_release(project.kubernetes, seen, number)
    wanted = wanted_of(project, seen.stored)
    services = [one for one in wanted.stack.services.values() if _has(sealed, one)]
    return Wish(
        objects=sealed["objects"], services=services, secrets=sealed["secrets"], certificates={},
        realm=sealed["realm"], realm_versions=sealed["realm_versions"], number=number,
        settle=project.settings.deploy.settle, verb=verb,
    ), wanted  # fmt: skip


def _has(sealed: Mapping[str, Any], service: Service) -> bool:
    return any(one["kind"] in WORKLOADS and service_of(one) == service.name for one in sealed["objects"])
