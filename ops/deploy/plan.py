"""What it takes to get from what was seen to a wanted release: `inv deploy`, `inv rollback` and `inv scale` all ask here."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import replace
from typing import Any

from ops.certificates.steps import IssueCertificate
from ops.core.errors import HostLacks
from ops.core.plan import Plan, Step
from ops.deploy.changes import changes
from ops.deploy.config_steps import CheckConfig, MarkLoaded, ReloadService, WriteConfig
from ops.deploy.containers import Options, container_steps
from ops.deploy.resource_steps import CreateNetwork, CreateVolume, RemoveNetwork, Supervise, firewall_steps
from ops.deploy.steps import AwaitHealthy, CreateContainers, Migrate, PromoteContainer, RemoveContainer
from ops.host.owners_plan import reader
from ops.images.plan import image_steps
from ops.keycloak.realm.deploy import ONLY, realm_losses, realm_steps
from ops.keycloak.realm.deploy import SERVICE as KEYCLOAK
from ops.releases.steps import ActivateRelease, WriteRelease
from ops.secrets.steps import GenerateSecret, StoreSecret
from ops.stack.model import Seen, Service
from ops.stack.release import manifest_of, release_files
from ops.stack.render import network_name, next_of, secret_name, volume_name
from ops.stack.repositories import given
from ops.stack.wanted import Wanted, unreached

TURNING_SECONDS = 60
"""What it takes to replace everything from Redis to the frontend, Keycloak's start included."""


def plan_deploy(
    wanted: Wanted, seen: Seen, *, only: str | None = None, verb: str = "deploy", options: Options | None = None,
    next_number: int | None = None,
) -> Plan:  # fmt: skip
    """Steps from what was seen to what is wanted; none when they agree.

    Parameters
    ----------
    only: name of the one service that may change; the rest of the stack is left as it is. `realm`: nothing but the realm.
    next_number: what a release that is sealed now would be called; without it, one more than the last.
    """
    number = next_number or int((seen.release or {}).get("number", 0)) + 1
    options = replace(options or Options(), release=wanted.number or number)
    changing = _changing(wanted, only)
    services = [s for s in wanted.stack.services.values() if s.name in changing and s.slots()[0] in wanted.compose["services"]]
    images = image_steps(
        {name: image for name, image in wanted.images.items() if name in changing and name not in seen.unavailable},
        seen.images,
        wanted.build_deadline,
    )
    with_realm = only in (None, ONLY, KEYCLOAK)
    secrets = _secrets(wanted, seen, services, [wanted.stack.services[KEYCLOAK]] if with_realm else [])
    generated = tuple(step.key for step in secrets if isinstance(step, GenerateSecret))
    ground = (*images, *secrets, *_certificates(wanted, seen, services), *_ground(wanted, seen, generated))
    configs = _configs(wanted, seen, services)
    release = _release(wanted, seen, number, after=[step.key for step in (*images, *configs)], only=only)
    ready = [step.key for step in (*ground, *configs, *release)]
    containers = container_steps(wanted, seen, services, ready, options)
    reloads = _reloads(wanted, seen, services, {step.key for step in ground}, containers)
    steps = (*ground, *configs, *release, *containers, *reloads)
    steps = _before_waiting(steps, realm_steps(wanted, seen, steps) if with_realm else [])
    if only is None:
        # What the stack no longer has goes last: until nginx has reloaded it still sends requests there.
        steps = (*steps, *_orphans(wanted, seen, steps))
        steps = (*steps, *_former_networks(wanted, seen, after=[step.key for step in steps]))
    if only != ONLY:
        steps = (*steps, *_supervision(wanted, seen, after=[step.key for step in steps]))
    away = (*_transport(wanted, seen, containers), *_joined(wanted, seen, services))
    notes = (*_left_out(wanted, seen), *away)
    destroys = realm_losses(wanted, seen) if with_realm else ()
    return Plan(verb, _prune(steps), notes, changes(wanted, seen, steps), destroys, stops_requests=bool(away))


def _left_out(wanted: Wanted, seen: Seen) -> tuple[str, ...]:
    """Optional services without an image, where that is news: the last release had them, or there is none yet."""
    images = None if seen.release is None else seen.release.get("images", {})
    return tuple(
        f"{name} is left out: {why}" for name, why in sorted(seen.unavailable.items()) if images is None or name in images
    )


def _transport(wanted: Wanted, seen: Seen, containers: Iterable[Step]) -> tuple[str, ...]:
    """What users notice where services begin to speak TLS with each other, or stop to: old and new do not understand each
    other, so each is away until its neighbours are of the same kind."""
    made = {slot for step in containers if isinstance(step, CreateContainers) for slot in (*step.slots, *step.staged)}
    turning = sorted(
        service.name for service in wanted.stack.services.values() if service.probe and not service.shares
        if any(slot in made and slot in seen.containers and seen.containers[slot].tls != service.behind_tls
               for slot in service.slots())
    )  # fmt: skip
    if not turning:
        return ()
    how = "begin" if wanted.stack.services[turning[0]].behind_tls else "cease"
    return (f"the site is down for about {TURNING_SECONDS} s: {', '.join(turning)} {how} to speak TLS with their neighbours",)


def _joined(wanted: Wanted, seen: Seen, services: list[Service]) -> tuple[str, ...]:
    """What users notice where a service moves to a network that nginx is yet to join."""
    names = sorted({wanted.stack.service_of(slot).name for slot in unreached(wanted, seen, services)})
    return (f"{', '.join(names)}: away from when it moves to its new network until nginx has joined that",) if names else ()


def _changing(wanted: Wanted, only: str | None) -> tuple[str, ...]:
    """Services that may change."""
    if only == ONLY:
        return ()
    return tuple(wanted.stack.services) if only is None else wanted.stack.together(only)


def _before_waiting(steps: tuple[Step, ...], realm: Iterable[Step]) -> tuple[Step, ...]:
    """The steps with that of the realm before all that wait for it, directly or through others."""
    for step in realm:
        waiting = {step.key}
        for one in steps:
            if waiting.intersection(one.after_keys):
                waiting.add(one.key)
        early = [one for one in steps if one.key not in waiting]
        steps = (*early, step, *(one for one in steps if one.key in waiting))
    return steps


def _prune(steps: Iterable[Step]) -> tuple[Step, ...]:
    """Drop references to steps that turned out not to be needed, so that `after` names only steps of this plan."""
    kept = tuple(steps)
    keys = {step.key for step in kept}
    return tuple(
        type(step)(**{**step.__dict__, "after": tuple(dict.fromkeys(k for k in step.after_keys if k in keys))}) for step in kept
    )


def _secrets(wanted: Wanted, seen: Seen, services: Iterable[Service], applying: Iterable[Service]) -> list[Step]:
    """`applying`: services that are given secrets through their API; of those Podman needs no copy.

    Raises HostLacks where one is missing that cannot be made up.
    """
    steps: list[Step] = []
    mounted = {secret for service in services for secret in service.mounts}
    for name in sorted({*mounted, *(secret for service in applying for secret in service.api_secrets)}):
        version = wanted.versions[name]
        made = seen.secret_versions.get(name, 0) >= version
        if not made and (repository := given(name)):
            raise HostLacks(
                f"the credentials of the repository {repository} are not on this host",
                "stack.yaml names it, and nobody has given them",
                f"inv backup.credentials {repository} FILE",
            )  # fmt: skip
        if not made:
            steps.append(GenerateSecret(f"generate {name}", f"generate secret {name}", name=name, version=version))
        if name in mounted and (not made or secret_name(wanted.stack.project, name, version) not in seen.given):
            key = f"secret {name}"
            steps.append(StoreSecret(key, f"store secret {name}", (f"generate {name}",), name=name, version=version))
    return steps


def _certificates(wanted: Wanted, seen: Seen, services: Iterable[Service]) -> list[Step]:
    return [
        IssueCertificate(
            f"certificate {service.name}", f"issue certificate for {service.name}",
            service=service.name, owner=reader(seen, service), names=wanted.certificate_names[service.name],
        )
        for service in services
        if service.has_tls and seen.certificates.get(service.name) != wanted.certificate_names[service.name]
    ]  # fmt: skip


def _ground(wanted: Wanted, seen: Seen, generated: tuple[str, ...]) -> list[Step]:
    """`generated`: keys of the secrets that are made. Volumes come after them: ops/secrets/plan.py relies on it."""
    project = wanted.stack.project
    networks = [
        CreateNetwork(
            f"network {name}", f"create network {name}",
            name=network_name(project, name), subnet=wanted.allocation.subnets[name], internal=internal,
        )
        for name, internal in wanted.stack.networks.items() if network_name(project, name) not in seen.networks
    ]  # fmt: skip
    volumes = [
        CreateVolume(f"volume {name}", f"create volume {name}", generated, name=volume_name(project, name))
        for name in wanted.stack.volumes
        if volume_name(project, name) not in seen.volumes
    ]
    # Before any container starts: it never stands unfiltered.
    return [*firewall_steps(wanted.firewall, seen), *networks, *volumes]


def _configs(wanted: Wanted, seen: Seen, services: Iterable[Service]) -> list[Step]:
    """New configuration is validated by the service's own program before the link is switched, if something runs on the old."""
    checks: list[Step] = []
    writes: list[Step] = []
    for service in services:
        version = wanted.config.get(service.name)
        if version is None or seen.config_current.get(service.name) == version:
            continue
        name = service.name
        files = wanted.config_files[name]
        after = (f"image {name}", f"certificate {name}")
        if service.check and any(slot in seen.containers for slot in service.slots()):
            title = f"validate configuration of {name}"
            checks.append(CheckConfig(f"check {name}", title, after, service=name, version=version, files=files))
        title = f"write configuration of {name}"
        writes.append(WriteConfig(f"config {name}", title, after, service=name, version=version, files=files))
    # None is switched before all have been found good: what is refused leaves everything as it was.
    gates = tuple(step.key for step in checks)
    return [*checks, *(type(step)(**{**step.__dict__, "after": (*step.after, *gates)}) for step in writes)]


def _release(wanted: Wanted, seen: Seen, next_number: int, after: list[str], only: str | None) -> list[Step]:
    last = seen.release or {}
    if wanted.number is not None:
        if last.get("number") == wanted.number:
            return []
        title = f"make release {wanted.number} the current one"
        return [ActivateRelease("release", title, tuple(after), number=wanted.number)]
    manifest = manifest_of(wanted, seen.unavailable)
    # What this version of the tooling would write differently counts as a change only where the containers may change too.
    deciding = ("realm", "secrets") if only == ONLY else tuple(manifest)
    if all(last.get(key) == manifest[key] for key in deciding):
        return []
    title = f"seal release {next_number}"
    return [WriteRelease("release", title, tuple(after), number=next_number, manifest=manifest, files=release_files(wanted))]


def _orphans(wanted: Wanted, seen: Seen, steps: Iterable[Step]) -> list[Step]:
    """What the stack does not have (any more): replicas too many, an extra container that a broken-off deploy has left."""
    planned = tuple(steps)
    # These steps remove what is left of their own kind, then make it anew.
    made_anew = (
        {step.slot for step in planned if isinstance(step, Migrate)}
        | {slot for step in planned if isinstance(step, CreateContainers) for slot in (*step.slots, *map(next_of, step.staged))}
        | {next_of(step.slot) for step in planned if isinstance(step, PromoteContainer)}
    )
    retired = {step.slot for step in planned if isinstance(step, RemoveContainer)}
    kept = {*wanted.slots(), *made_anew, *retired}
    after = tuple(step.key for step in planned)
    return [
        RemoveContainer(f"remove {slot}", f"remove {slot}, which is not part of the stack", after, slot=slot)
        for slot in seen.containers
        if slot not in kept
    ]


def _former_networks(wanted: Wanted, seen: Seen, after: Iterable[str]) -> list[Step]:
    """Networks that nobody stands on any more: what leads out of the host goes with the setting that asked for it."""
    project = wanted.stack.project
    former = sorted(seen.networks - {network_name(project, name) for name in wanted.stack.networks})
    return [
        RemoveNetwork(f"network {name.removeprefix(f'{project}-')}", f"remove network {name}", tuple(after), name=name)
        for name in former
    ]


def _reloads(wanted: Wanted, seen: Seen, services: list[Service], ground: set[str], containers: list[Step]) -> list[Step]:
    """Services that keep their container and have configuration, or a certificate, that they have not taken up.

    `ground`: keys of the steps that come before any container is touched.
    """
    marked = {step.service for step in containers if isinstance(step, MarkLoaded)}
    # A proxy that learns of more replicas must not send anything there before they serve.
    additional = tuple(
        step.key for step in containers
        if isinstance(step, AwaitHealthy) and step.slot not in seen.containers
        and step.slot in wanted.slots() and wanted.stack.service_of(step.slot).replicated
    )  # fmt: skip
    steps: list[Step] = []
    for service in services:
        version = wanted.config.get(service.name)
        renewed = f"certificate {service.name}" in ground and any(slot in seen.containers for slot in service.slots())
        if version is None or service.name in marked or (seen.config_loaded.get(service.name) == version and not renewed):
            continue
        slots = tuple(slot for slot in service.slots() if slot in seen.containers)
        own = (f"config {service.name}", f"certificate {service.name}", *(f"healthy {slot}" for slot in slots))
        after = (*own, *(key for key in additional if not service.replicated))
        common: dict[str, Any] = {"service": service.name, "version": version}
        if service.reload:
            title = f"reload {service.name}"
            steps.append(ReloadService(f"reload {service.name}", title, after, slots=slots, argv=service.reload, **common))
        else:
            steps.append(
                MarkLoaded(f"loaded {service.name}", f"note that {service.name} runs with its configuration", after, **common)
            )
    return steps


def _supervision(wanted: Wanted, seen: Seen, after: list[str]) -> list[Step]:
    if seen.ticker and seen.supervised == wanted.supervise_version:
        return []
    title = "start the health supervisor" if not seen.ticker else "restart the health supervisor"
    return [Supervise("supervise", title, tuple(after), content=wanted.supervise, version=wanted.supervise_version)]
