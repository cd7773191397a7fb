"""What `inv deploy` has to do, decided from what is wanted and what was seen."""

from __future__ import annotations

import math
import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any

from ops.model import LABEL_HASH, Allocation, Plan, Seen, Service, Stack, Step
from ops.plan.images import WantedImage, image_steps
from ops.render import MIGRATE_SUFFIX, container_name, network_name, secret_name, volume_name
from ops.steps import (
    AwaitHealthy,
    CheckConfig,
    CreateContainers,
    CreateNetwork,
    CreateVolume,
    GenerateSecret,
    IssueCertificate,
    MarkLoaded,
    ReloadService,
    RemoveContainer,
    RestartContainer,
    RunOnce,
    StartContainer,
    StoreSecret,
    Supervise,
    WriteConfig,
    WriteRelease,
)


@dataclass(frozen=True)
class Wanted:
    """The release that is to run: everything that a plan compares with what was seen."""

    stack: Stack
    allocation: Allocation
    images: Mapping[str, WantedImage]
    compose: Mapping[str, Any]
    """The rendered file of the release."""
    config: Mapping[str, str]
    """Service -> hash of its mounted configuration."""
    versions: Mapping[str, int]
    """Secret -> version."""
    config_files: Mapping[str, Mapping[str, str]]
    """Service -> path -> text of what `config` is the hash of."""
    supervise: Mapping[str, Any]
    supervise_version: str
    build_deadline: int = 1200
    certificate_names: Mapping[str, tuple[str, ...]] = field(default_factory=dict)

    def slot_hash(self, slot: str) -> str:
        return str(self.compose["services"][slot]["labels"][LABEL_HASH])

    def slots(self) -> tuple[str, ...]:
        return tuple(slot for slot in self.compose["services"] if not slot.endswith(MIGRATE_SUFFIX))


DEFAULT_GRACE = 10
"""Seconds that Podman gives a container to stop, where nothing else is said."""
NEVER_STARTED = ("created", "configured", "initialized")
"""States of a container that a killed deploy has created and not come to start."""


def seconds(duration: object) -> int:
    """A compose duration such as `1m30s` or `30s` in whole seconds."""
    parts = re.findall(r"(\d+)(ms|h|m|s)", str(duration))
    if not parts:
        return DEFAULT_GRACE
    return math.ceil(sum(int(number) * {"h": 3600, "m": 60, "s": 1, "ms": 0.001}[unit] for number, unit in parts))


def grace(service: Service) -> int:
    return seconds(service.definition.get("stop_grace_period", "10s"))


def plan_deploy(wanted: Wanted, seen: Seen, only: str | None = None) -> Plan:
    """Steps from what was seen to what is wanted; none when they agree.

    Parameters
    ----------
    only: name of the one service that may change; the rest of the stack is left as it is.
    """
    services = [
        s for s in wanted.stack.services.values() if only in (None, s.name) and s.slots()[0] in wanted.compose["services"]
    ]
    images = image_steps(
        {name: image for name, image in wanted.images.items() if only in (None, name) and name not in seen.unavailable},
        seen.images,
        wanted.build_deadline,
    )
    ground = (*images, *_secrets(wanted, seen, services), *_certificates(wanted, seen, services), *_ground(wanted, seen))
    configs = _configs(wanted, seen, services)
    release = _release(wanted, seen, only, after=[step.key for step in (*images, *configs)])
    containers = _containers(wanted, seen, services, ready=[step.key for step in (*ground, *configs, *release)])
    reloads = _reloads(wanted, seen, services, {step.key for step in ground}, containers)
    steps = (*ground, *configs, *release, *containers, *reloads)
    if only is None:
        # What the stack no longer has goes last: until nginx has reloaded it still sends requests there.
        migrating = {step.slot.removesuffix(MIGRATE_SUFFIX) for step in steps if isinstance(step, RunOnce)}
        steps = (*steps, *_orphans(wanted, seen, migrating, after=[step.key for step in steps]))
    steps = (*steps, *_supervision(wanted, seen, after=[step.key for step in steps]))
    notes = tuple(f"{name} is left out: {why}" for name, why in sorted(seen.unavailable.items()))
    return Plan("deploy", _prune(steps), notes)


def _prune(steps: Iterable[Step]) -> tuple[Step, ...]:
    """Drop references to steps that turned out not to be needed, so that `after` names only steps of this plan."""
    kept = tuple(steps)
    keys = {step.key for step in kept}
    return tuple(
        type(step)(**{**step.__dict__, "after": tuple(dict.fromkeys(k for k in step.after if k in keys))}) for step in kept
    )


def _secrets(wanted: Wanted, seen: Seen, services: Iterable[Service]) -> list[Step]:
    steps: list[Step] = []
    for name in sorted({secret for service in services for secret in service.secrets}):
        version = wanted.versions[name]
        made = name in seen.secret_versions
        if not made:
            steps.append(GenerateSecret(f"generate {name}", f"generate secret {name}", name=name))
        if not made or secret_name(wanted.stack.project, name, version) not in seen.podman_secrets:
            key = f"secret {name}"
            steps.append(StoreSecret(key, f"store secret {name}", (f"generate {name}",), name=name, version=version))
    return steps


def _certificates(wanted: Wanted, seen: Seen, services: Iterable[Service]) -> list[Step]:
    return [
        IssueCertificate(
            f"certificate {service.name}", f"issue certificate for {service.name}",
            service=service.name, owner=service.owner, names=wanted.certificate_names[service.name],
        )
        for service in services
        if service.has_tls and seen.certificates.get(service.name) != wanted.certificate_names[service.name]
    ]  # fmt: skip


def _ground(wanted: Wanted, seen: Seen) -> list[Step]:
    project = wanted.stack.project
    networks = [
        CreateNetwork(
            f"network {name}", f"create network {name}",
            name=network_name(project, name), subnet=wanted.allocation.subnets[name], internal=internal,
        )
        for name, internal in wanted.stack.networks.items() if network_name(project, name) not in seen.networks
    ]  # fmt: skip
    volumes = [
        CreateVolume(f"volume {name}", f"create volume {name}", name=volume_name(project, name))
        for name in wanted.stack.volumes
        if volume_name(project, name) not in seen.volumes
    ]
    return [*networks, *volumes]


def _configs(wanted: Wanted, seen: Seen, services: Iterable[Service]) -> list[Step]:
    """New configuration is validated by the service's own program before the link is switched, if something runs on the old."""
    steps: list[Step] = []
    for service in services:
        version = wanted.config.get(service.name)
        if version is None or seen.config_current.get(service.name) == version:
            continue
        name = service.name
        files = wanted.config_files[name]
        after: tuple[str, ...] = (f"image {name}", f"certificate {name}")
        if service.check and any(slot in seen.containers for slot in service.slots()):
            steps.append(
                CheckConfig(
                    f"check {name}", f"validate configuration of {name}", after, service=name, version=version, files=files
                )
            )
            after = (f"check {name}",)
        steps.append(
            WriteConfig(f"config {name}", f"write configuration of {name}", after, service=name, version=version, files=files)
        )
    return steps


def _release(wanted: Wanted, seen: Seen, only: str | None, after: list[str]) -> list[Step]:
    manifest = {
        "images": {name: image.tag for name, image in sorted(wanted.images.items()) if name not in seen.unavailable},
        "config": dict(sorted(wanted.config.items())),
        "secrets": dict(sorted(wanted.versions.items())),
        "slots": {slot: wanted.slot_hash(slot) for slot in wanted.slots()},
    }
    last = seen.release or {}
    compose = dict(wanted.compose)
    if only is not None:
        manifest, compose = _with_one_service(wanted, last, manifest, only)
    if {key: last.get(key) for key in manifest} == manifest:
        return []
    number = int(last.get("number", 0)) + 1
    title = f"write release {number}"
    return [WriteRelease("release", title, tuple(after), number=number, manifest=manifest, compose=compose)]


def _with_one_service(
    wanted: Wanted, last: Mapping[str, Any], manifest: Mapping[str, Any], only: str
) -> tuple[dict[str, Any], dict[str, Any]]:
    """The last release with one service as it is wanted now: nothing is claimed of what was neither built nor written."""
    service = wanted.stack.services[only]
    own = {*service.slots(), only + MIGRATE_SUFFIX}
    merged = {
        "images": {**last.get("images", {}), only: manifest["images"][only]},
        "config": {**last.get("config", {}), **{name: version for name, version in manifest["config"].items() if name == only}},
        "secrets": {**last.get("secrets", {}), **{name: manifest["secrets"][name] for name in service.secrets}},
        "slots": {
            **{
                slot: value
                for slot, value in last.get("slots", {}).items()
                if slot not in own and not slot.startswith(f"{only}-")
            },
            **{slot: value for slot, value in manifest["slots"].items() if slot in own},
        },
    }
    fresh = {slot: value for slot, value in wanted.compose["services"].items() if slot in own}
    before = last.get("compose", {})
    compose = {**wanted.compose, "services": {**before.get("services", {}), **fresh}}
    compose["secrets"] = {**before.get("secrets", {}), **wanted.compose["secrets"]}
    return merged, compose


def _orphans(wanted: Wanted, seen: Seen, migrating: set[str], after: list[str]) -> list[Step]:
    """`migrating`: services whose one-off container is made anew in this plan, which removes the old one."""
    kept = {*wanted.slots(), *(service + MIGRATE_SUFFIX for service in migrating)}
    return [
        RemoveContainer(f"remove {slot}", f"remove {slot}, which the stack no longer has", tuple(after), slot=slot)
        for slot in seen.containers
        if slot not in kept
    ]


def _containers(wanted: Wanted, seen: Seen, services: list[Service], ready: list[str]) -> list[Step]:
    steps: list[Step] = []
    fresh: list[str] = []
    for service in services:
        slots = [slot for slot in service.slots() if _differs(wanted, seen, slot)]
        gates = [f"healthy {slot}" for need in service.needs for slot in wanted.stack.services[need].slots()]
        never_started = any(
            slot in seen.containers and seen.containers[slot].state in NEVER_STARTED for slot in service.slots()
        )
        if service.migrate and (slots or never_started):
            once = service.name + MIGRATE_SUFFIX
            steps.append(
                RunOnce(f"migrate {service.name}", f"migrate the database of {service.name}", (*ready, *gates), slot=once)
            )
            gates = [*gates, f"migrate {service.name}"]
        previous: list[str] = []
        for slot in slots:
            replaced = slot in seen.containers
            steps += _replace(service, slot, [*ready, *gates, *previous]) if replaced else _first(wanted, service, slot, gates)
            if replaced:
                # One replica at a time: the next is touched only when this one serves again.
                previous = [f"healthy {slot}"]
            else:
                fresh.append(slot)
        steps += _mend(seen, service, [slot for slot in service.slots() if slot not in slots], gates)
        if slots and len(slots) == len(service.slots()) and service.name in wanted.config:
            after = tuple(f"healthy {slot}" for slot in slots)
            version = wanted.config[service.name]
            if seen.config_loaded.get(service.name) != version:
                steps.append(MarkLoaded(f"loaded {service.name}", f"{service.name} runs on its new configuration", after,
                                        service=service.name, version=version))  # fmt: skip
    return [*_creations(wanted, fresh, ready), *steps]


def _differs(wanted: Wanted, seen: Seen, slot: str) -> bool:
    container = seen.containers.get(slot)
    return container is None or container.config_hash != wanted.slot_hash(slot)


def _creation(stack: Stack, service: Service) -> str:
    """Key of the call that creates a new container: what others wait for comes first, everything else side by side with it."""
    needed = {need for other in stack.services.values() for need in other.needs}
    return "create first" if service.name in needed else "create rest"


def _creations(wanted: Wanted, fresh: list[str], ready: list[str]) -> list[Step]:
    calls: dict[str, list[str]] = {}
    for slot in fresh:
        calls.setdefault(_creation(wanted.stack, wanted.stack.service_of(slot)), []).append(slot)
    return [
        CreateContainers(key, "create " + ", ".join(slots), tuple(ready), slots=tuple(slots))
        for key, slots in sorted(calls.items())
    ]


def _first(wanted: Wanted, service: Service, slot: str, gates: list[str]) -> list[Step]:
    after = (_creation(wanted.stack, service), *gates)
    return [
        StartContainer(f"start {slot}", f"start {slot}", after, slot=slot),
        AwaitHealthy(f"healthy {slot}", f"wait for {slot}", (f"start {slot}",), slot=slot, deadline=service.start_seconds),
    ]


def _replace(service: Service, slot: str, after: list[str]) -> list[Step]:
    return [
        RemoveContainer(f"remove {slot}", f"stop and remove {slot}", tuple(after), slot=slot, grace=grace(service)),
        CreateContainers(f"create {slot}", f"create {slot}", (f"remove {slot}",), slots=(slot,)),
        StartContainer(f"start {slot}", f"start {slot}", (f"create {slot}",), slot=slot),
        AwaitHealthy(f"healthy {slot}", f"wait for {slot}", (f"start {slot}",), slot=slot, deadline=service.start_seconds),
    ]


def _mend(seen: Seen, service: Service, slots: list[str], gates: list[str]) -> list[Step]:
    """A container as wanted that does not run, or runs and is not healthy, is started again."""
    steps: list[Step] = []
    for slot in slots:
        if seen.containers[slot].state != "running":
            steps.append(StartContainer(f"start {slot}", f"start {slot}", tuple(gates), slot=slot))
        elif slot in seen.unhealthy and (seen.containers[slot].running_seconds or 0) > service.start_seconds:
            title = f"restart {slot}: {seen.unhealthy[slot]}"
            steps.append(RestartContainer(f"start {slot}", title, tuple(gates), slot=slot, grace=grace(service)))
        elif slot not in seen.unhealthy:
            continue
        steps.append(
            AwaitHealthy(f"healthy {slot}", f"wait for {slot}", (f"start {slot}",), slot=slot, deadline=service.start_seconds)
        )
    return steps


def _reloads(wanted: Wanted, seen: Seen, services: list[Service], ground: set[str], containers: list[Step]) -> list[Step]:
    """Services that keep their container and have configuration, or a certificate, that they have not taken up.

    `ground`: keys of the steps that come before any container is touched.
    """
    marked = {step.service for step in containers if isinstance(step, MarkLoaded)}
    steps: list[Step] = []
    for service in services:
        version = wanted.config.get(service.name)
        renewed = f"certificate {service.name}" in ground and any(slot in seen.containers for slot in service.slots())
        if version is None or service.name in marked or (seen.config_loaded.get(service.name) == version and not renewed):
            continue
        slots = tuple(slot for slot in service.slots() if slot in seen.containers)
        after = (f"config {service.name}", f"certificate {service.name}", *(f"healthy {slot}" for slot in slots))
        if service.reload:
            title = f"reload {service.name}"
            steps.append(ReloadService(f"reload {service.name}", title, after,
                                       service=service.name, slots=slots, argv=service.reload, version=version))  # fmt: skip
        else:
            steps.append(MarkLoaded(f"loaded {service.name}", f"{service.name} runs on its configuration", after,
                                    service=service.name, version=version))  # fmt: skip
    return steps


def _supervision(wanted: Wanted, seen: Seen, after: list[str]) -> list[Step]:
    if seen.ticker and seen.supervised == wanted.supervise_version:
        return []
    title = "start the health ticker" if not seen.ticker else "renew the health ticker"
    return [Supervise("supervise", title, tuple(after), content=wanted.supervise, version=wanted.supervise_version)]


def slot_of(project: str, name: str) -> str:
    """Slot of a container name; the inverse of `container_name`."""
    return name.removeprefix(container_name(project, ""))
