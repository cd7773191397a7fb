"""What it takes to get from what was seen to a wanted release: `inv deploy`, `inv rollback` and `inv scale` all ask here."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import replace
from typing import Any

from ops.core.plan import Change, Plan, Step, linked
from ops.deploy.containers import Options, container_steps
from ops.deploy.participant import gathered, participants
from ops.deploy.steps import (
    AwaitHealthy,
    CheckConfig,
    CreateContainers,
    CreateNetwork,
    CreateVolume,
    MarkLoaded,
    Migrate,
    PromoteContainer,
    ReloadService,
    RemoveContainer,
    RemoveNetwork,
    RestartContainer,
    StartContainer,
    Supervise,
    WriteConfig,
    await_healthy,
    firewall_steps,
)
from ops.host.owners_plan import reader
from ops.images.steps import BuildImage, FetchImage, image_steps
from ops.releases.steps import ActivateRelease, WriteRelease
from ops.stack.model import Seen, Service
from ops.stack.release import file_hashes, manifest_of, release_files, setting_text
from ops.stack.render import network_name, next_of, volume_name
from ops.stack.wanted import Wanted, unreached


def plan_deploy(
    wanted: Wanted, seen: Seen, *, only: str | None = None, verb: str = "deploy", options: Options | None = None,
    next_number: int | None = None,
) -> Plan:  # fmt: skip
    """Steps from what was seen to what is wanted; none when they agree.

    only: name of the one service that may change, or of the part of a participant; the rest of the stack is left as it is.
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
    prepared = gathered(lambda one: one.ground(wanted, seen, services, only))
    mounted = {service.name: _files(wanted, seen, service) for service in services}
    files = [step for steps in mounted.values() for step in steps]
    ground = [*images, *prepared, *files, *_networks(wanted, seen), *_volumes(wanted, seen, prepared)]
    configs = _configs(wanted, seen, services, images, mounted)
    release = _release(wanted, seen, number, after=[*images, *configs], only=only)
    ready: list[Step] = [*ground, *configs, *release]
    applied = [(one, name, step) for one in participants() for name, step in one.applied(wanted, seen, only).items()]
    containers = container_steps(wanted, seen, services, ready, options, {name: step for _, name, step in applied})
    reloads = _reloads(wanted, seen, services, [*configs, *containers], mounted)
    steps = (*ready, *containers, *reloads)
    for one, _, step in applied:
        steps = _before_waiting(steps, replace(step, after=tuple(one.applied_after(wanted, steps))))
    if only is None:
        # What the stack no longer has goes last: until nginx has reloaded it still sends requests there.
        steps = (*steps, *_orphans(wanted, seen, steps))
        steps = (*steps, *_former_networks(wanted, seen, after=steps))
    if only is None or changing:
        steps = (*steps, *_supervision(wanted, seen, after=steps))
    away = _joined(wanted, seen, services)
    notes = (*_left_out(wanted, seen), *away)
    losses = tuple(loss for one in participants() for loss in one.losses(wanted, seen, only))
    return Plan(verb, linked(steps), notes, changes(wanted, seen, steps), losses, stops_requests=bool(away))


def _left_out(wanted: Wanted, seen: Seen) -> tuple[str, ...]:
    """Optional services without an image, where that is news: the last release had them, or there is none yet."""
    images = None if seen.release is None else seen.release.get("images", {})
    return tuple(
        f"{name} is left out: {why}" for name, why in sorted(seen.unavailable.items()) if images is None or name in images
    )


def _joined(wanted: Wanted, seen: Seen, services: list[Service]) -> tuple[str, ...]:
    """What users notice where a service moves to a network that nginx is yet to join."""
    names = sorted({wanted.stack.service_of(slot).name for slot in unreached(wanted, seen, services)})
    return (f"{', '.join(names)}: away from when it moves to its new network until nginx has joined that",) if names else ()


def _changing(wanted: Wanted, only: str | None) -> tuple[str, ...]:
    """Services that may change."""
    if only is None:
        return tuple(wanted.stack.services)
    return wanted.stack.together(only) if only in wanted.stack.services else ()


def _before_waiting(steps: tuple[Step, ...], step: Step) -> tuple[Step, ...]:
    """The steps with another one before all that wait for it, directly or through others."""
    waiting = {step.key}
    for one in steps:
        if not waiting.isdisjoint(one.after_keys):
            waiting.add(one.key)
    early = [one for one in steps if one.key not in waiting]
    return (*early, step, *(one for one in steps if one.key in waiting))


def _files(wanted: Wanted, seen: Seen, service: Service) -> list[Step]:
    return gathered(lambda one: one.files(wanted, seen, service, reader(seen, service)))


def _networks(wanted: Wanted, seen: Seen) -> list[Step]:
    project = wanted.stack.project
    networks = [
        CreateNetwork(
            f"network {name}", f"create network {name}",
            name=network_name(project, name), subnet=wanted.allocation.subnets[name], internal=internal,
        )
        for name, internal in wanted.stack.networks.items() if network_name(project, name) not in seen.networks
    ]  # fmt: skip
    # Before any container starts: it never stands unfiltered.
    return [*firewall_steps(wanted.firewall, seen), *networks]


def _volumes(wanted: Wanted, seen: Seen, ground: Iterable[Step]) -> list[Step]:
    """`ground`: what participants do first, such as generating secrets: ops/secrets/plan.py relies on it."""
    after = tuple(ground)
    return [
        CreateVolume(f"volume {name}", f"create volume {name}", after, name=volume_name(wanted.stack.project, name))
        for name in wanted.stack.volumes
        if volume_name(wanted.stack.project, name) not in seen.volumes
    ]


def _configs(
    wanted: Wanted, seen: Seen, services: Iterable[Service], images: Iterable[Step], mounted: Mapping[str, list[Step]]
) -> list[Step]:
    """New configuration is validated by the service's own program before the link is switched, if something runs on the old."""
    own = {step.name: step for step in images if isinstance(step, BuildImage | FetchImage)}
    checks: list[Step] = []
    writes: list[Step] = []
    for service in services:
        version = wanted.config.get(service.name)
        if version is None or seen.config_current.get(service.name) == version:
            continue
        name = service.name
        files = wanted.config_files[name]
        after = (*([own[name]] if name in own else ()), *mounted[name])
        if service.check and any(slot in seen.containers for slot in service.slots()):
            title = f"validate configuration of {name}"
            checks.append(CheckConfig(f"check {name}", title, after, service=name, version=version, files=files))
        title = f"write configuration of {name}"
        writes.append(WriteConfig(f"config {name}", title, after, service=name, version=version, files=files))
    # None is switched before all have been found good: what is refused leaves everything as it was.
    return [*checks, *(replace(step, after=(*step.after, *checks)) for step in writes)]


def _release(wanted: Wanted, seen: Seen, next_number: int, after: list[Step], only: str | None) -> list[Step]:
    last = seen.release or {}
    if wanted.number is not None:
        if last.get("number") == wanted.number:
            return []
        title = f"make release {wanted.number} the current one"
        return [ActivateRelease("release", title, tuple(after), number=wanted.number)]
    manifest = manifest_of(wanted, seen.unavailable)
    # What this version of the tooling would write differently counts as a change only where the containers may change too.
    deciding = tuple(manifest) if only is None or only in wanted.stack.services else (only, "secrets")
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
    return [
        RemoveContainer(f"remove {slot}", f"remove {slot}, which is not part of the stack", planned, slot=slot)
        for slot in seen.containers
        if slot not in kept
    ]


def _former_networks(wanted: Wanted, seen: Seen, after: Iterable[Step]) -> list[Step]:
    """Networks that no container needs any more, such as one that leads out of the host for a setting that is gone."""
    project = wanted.stack.project
    former = sorted(seen.networks - {network_name(project, name) for name in wanted.stack.networks})
    return [
        RemoveNetwork(f"network {name.removeprefix(f'{project}-')}", f"remove network {name}", tuple(after), name=name)
        for name in former
    ]


def _reloads(
    wanted: Wanted, seen: Seen, services: list[Service], steps: list[Step], mounted: Mapping[str, list[Step]]
) -> list[Step]:
    """Services that keep their container and have configuration, or a certificate, that they have not taken up.

    steps: those that write configuration, and those that change containers.
    """
    written = {step.service: step for step in steps if isinstance(step, WriteConfig)}
    marked = {step.service for step in steps if isinstance(step, MarkLoaded)}
    # A proxy that learns of more replicas must not send anything there before they serve.
    additional = tuple(
        step for step in steps
        if isinstance(step, AwaitHealthy) and step.slot not in seen.containers
        and step.slot in wanted.slots() and wanted.stack.service_of(step.slot).replicated
    )  # fmt: skip
    found: list[Step] = []
    for service in services:
        version = wanted.config.get(service.name)
        renewed = mounted[service.name] and any(slot in seen.containers for slot in service.slots())
        if version is None or service.name in marked or (seen.config_loaded.get(service.name) == version and not renewed):
            continue
        slots = tuple(slot for slot in service.slots() if slot in seen.containers)
        own = [written[service.name]] if service.name in written else []
        after = (*own, *mounted[service.name], *map(await_healthy, slots), *(() if service.replicated else additional))
        common: dict[str, Any] = {"service": service.name, "version": version}
        if service.reload:
            title = f"reload {service.name}"
            found.append(ReloadService(f"reload {service.name}", title, after, slots=slots, argv=service.reload, **common))
        else:
            found.append(
                MarkLoaded(f"loaded {service.name}", f"note that {service.name} runs with its configuration", after, **common)
            )
    return found


def _supervision(wanted: Wanted, seen: Seen, after: Iterable[Step]) -> list[Step]:
    if seen.ticker and seen.supervised == wanted.supervise_version:
        return []
    title = "start the health supervisor" if not seen.ticker else "restart the health supervisor"
    return [Supervise("supervise", title, tuple(after), content=wanted.supervise, version=wanted.supervise_version)]


# What a plan means, service by service.


def changes(wanted: Wanted, seen: Seen, steps: Iterable[Step]) -> tuple[Change, ...]:
    """One entry for every service that a plan touches, in the stack's order."""
    planned = list(steps)
    found = [change for service in wanted.stack.services.values() if (change := _change(wanted, seen, service, planned))]
    known = set(wanted.stack.services)
    gone = {step.slot for step in planned if isinstance(step, RemoveContainer)}
    left = sorted(slot for slot in gone if not any(slot == name or slot.startswith(f"{name}-") for name in known))
    more = [change for one in participants() for change in one.changes(planned)]
    return (*found, *more, *(Change(slot, "remove", "the stack does not have it") for slot in left))


def _change(wanted: Wanted, seen: Seen, service: Service, steps: list[Step]) -> Change | None:
    own = set(service.reserved_slots())
    created = {
        slot for step in steps if isinstance(step, CreateContainers) for slot in (*step.slots, *step.staged) if slot in own
    } | {step.slot for step in steps if isinstance(step, PromoteContainer) and step.slot in own}
    removed = {step.slot for step in steps if isinstance(step, RemoveContainer) and step.slot in own}
    why = reasons(wanted, seen, service, created | removed)
    if service.shares and any(isinstance(step, RemoveContainer) and step.slot == service.shares for step in steps):
        why = f"{service.shares}, which holds its address, is replaced"
    if not created and not removed:
        return _kept(seen, service, steps, why)
    if any(isinstance(step, AwaitHealthy) and step.slot == service.surge_slot for step in steps):
        return Change(service.name, "roll", why)
    if created & removed:
        # The interruption by a holder is that of the service whose address it holds.
        alone = not service.holds and not any(slot in seen.containers and slot not in created for slot in service.slots())
        return _missed(seen, service, "recreate", why) if alone else Change(service.name, "recreate", why)
    if created:
        return Change(service.name, "create", f"{len(created)} missing" if service.replicated else "it is missing")
    return Change(service.name, "remove", ", ".join(sorted(removed)) + ": no longer wanted")


def _kept(seen: Seen, service: Service, steps: list[Step], why: str) -> Change | None:
    """What becomes of a service whose containers stay."""
    name, slots = service.name, service.slots()
    restarted = [step.slot for step in steps if isinstance(step, RestartContainer) and step.slot in slots]
    if restarted:
        return _missed(seen, service, "restart", seen.unhealthy.get(restarted[0], ""))
    if any(isinstance(step, StartContainer) and step.slot in slots for step in steps):
        return Change(name, "start", "it does not run")
    if any(isinstance(step, ReloadService) and step.service == name for step in steps):
        return Change(name, "reload", why or "its certificate was renewed")
    if any(isinstance(step, Migrate) and step.service == name for step in steps):
        return Change(name, "migrate", "its last deploy was interrupted")
    return None


def _missed(seen: Seen, service: Service, action: str, why: str) -> Change:
    """A change during which users have to do without the service."""
    return Change(service.name, action, why, gap(seen, service), service.interrupts, service.stops_requests)


def gap(seen: Seen, service: Service) -> float:
    """Seconds without this service while it is replaced: as last measured on this host, else as compose.yaml estimates."""
    return seen.gaps.get(service.name, service.gap_seconds)


def reasons(wanted: Wanted, seen: Seen, service: Service, slots: set[str]) -> str:
    """What differs from the last release, as the operator would say it."""
    last: Mapping[str, Any] = seen.release or {}
    name = service.name
    parts = []
    if name in wanted.images and last.get("images", {}).get(name) != wanted.images[name].tag:
        parts.append("image")
    settings = changed_settings(wanted, last, name)
    if name in wanted.config and last.get("config", {}).get(name) != wanted.config[name]:
        files = changed_files(wanted, last, name)
        parts.append(f"configuration ({', '.join(files)})" if files else "configuration")
    rotated = [secret for secret in service.secrets if last.get("secrets", {}).get(secret) != wanted.versions[secret]]
    if rotated:
        parts.append(f"secrets {', '.join(rotated)}")
    if (parts or slots) and settings:
        return ", ".join([*(part for part in parts if not part.startswith("configuration")), *settings])
    if not parts and slots:
        there = set(seen.containers).intersection(wanted.compose["services"])
        shown = [slot for slot in service.slots() if slot in slots and slot in there]
        recorded = last.get("slots", {})
        drifted = shown and all(recorded.get(slot) == wanted.slot_hash(slot) for slot in shown)
        parts.append("the container is not the one of the release" if drifted else "its definition in compose.yaml")
    return ", ".join(parts)


MOST_FILES = 3
OF_SERVICES: Mapping[str, tuple[str, ...]] = {
    "retention.metrics": ("prometheus",), "retention.metrics_size": ("prometheus",),
    "retention.logs": ("logs", "prometheus"), "retention.logs_size": ("logs", "prometheus"),
    "backup": ("backup", "postgres"), "ports": (),
    "domain": (),
}  # fmt: skip
"""Setting, or the first word of several -> the services that it changes; none named: every one whose definition differs."""


def changed_files(wanted: Wanted, last: Mapping[str, Any], name: str) -> list[str]:
    """Mounted files of a service that differ from the last release's; nothing where that kept no record of them."""
    before: Mapping[str, str] | None = (last.get("files") or {}).get(name)
    if before is None:
        return []
    after = file_hashes(wanted).get(name, {})
    found = sorted(path for path in {*before, *after} if before.get(path) != after.get(path))
    more = [f"{len(found) - MOST_FILES} more"] if len(found) > MOST_FILES else []
    return [*found[:MOST_FILES], *more]


def changed_settings(wanted: Wanted, last: Mapping[str, Any], name: str) -> list[str]:
    """Settings of a service that differ from the last release's, as `retention.logs 14d -> 30d`."""
    before: Mapping[str, Any] | None = last.get("settings")
    if before is None:
        return []
    keys = sorted(key for key in {*before, *wanted.settings} if before.get(key) != wanted.settings.get(key))
    return [
        f"{key} {setting_text(key, before.get(key))} -> {setting_text(key, wanted.settings.get(key))}"
        for key in keys
        if _concerns(key, name)
    ]


def _concerns(key: str, name: str) -> bool:
    first, _, rest = key.partition(".")
    if first in ("limits", "replicas", "build") or key.startswith("deadlines.start."):
        return name in rest.split(".")
    services = OF_SERVICES.get(key, OF_SERVICES.get(first))
    return services is not None and (not services or name in services)
