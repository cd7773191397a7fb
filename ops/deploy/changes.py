"""What a plan means, service by service, in words: what happens, why, and who notices for how long. Pure."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

from ops.core.plan import Change, Step
from ops.deploy.config_steps import ReloadService
from ops.deploy.steps import (
    AwaitHealthy,
    CreateContainers,
    Migrate,
    PromoteContainer,
    RemoveContainer,
    RestartContainer,
    StartContainer,
)
from ops.keycloak.realm.steps import ApplyRealm
from ops.stack.model import Seen, Service
from ops.stack.release import file_hashes, setting_text
from ops.stack.wanted import Wanted


def changes(wanted: Wanted, seen: Seen, steps: Iterable[Step]) -> tuple[Change, ...]:
    """One entry for every service that a plan touches, in the stack's order."""
    planned = list(steps)
    found = [change for service in wanted.stack.services.values() if (change := _change(wanted, seen, service, planned))]
    known = set(wanted.stack.services)
    gone = {slot for step in planned if isinstance(step, RemoveContainer) for slot in [step.slot]}
    left = sorted(slot for slot in gone if not any(slot == name or slot.startswith(f"{name}-") for name in known))
    realm = [Change("keycloak", "apply", _realm(step)) for step in planned if isinstance(step, ApplyRealm)]
    return (*found, *realm, *(Change(slot, "remove", "the stack does not have it") for slot in left))


def _realm(step: ApplyRealm) -> str:
    return f"its realm is not as declared ({len(step.changes)})" if step.changes else "its realm may not be as declared"


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
        # What is lost with a holder is told of the service that it holds the address for.
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
