"""What a plan means, service by service, in words: what happens, why, and who notices for how long. Pure."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

from ops.keycloak_steps import ApplyRealm
from ops.model import Change, Seen, Service, Step
from ops.plan.wanted import Wanted
from ops.steps import (
    AwaitHealthy,
    CreateContainers,
    Migrate,
    PromoteContainer,
    ReloadService,
    RemoveContainer,
    RestartContainer,
    StartContainer,
)


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
        return Change(service.name, "recreate", why, gap(seen, service) if alone else 0.0, service.interrupts if alone else "")
    if created:
        return Change(service.name, "create", f"{len(created)} missing" if service.replicated else "it is missing")
    return Change(service.name, "remove", ", ".join(sorted(removed)) + ": no longer wanted")


def _kept(seen: Seen, service: Service, steps: list[Step], why: str) -> Change | None:
    """What becomes of a service whose containers stay."""
    name, slots = service.name, service.slots()
    restarted = [step.slot for step in steps if isinstance(step, RestartContainer) and step.slot in slots]
    if restarted:
        return Change(name, "restart", seen.unhealthy.get(restarted[0], ""), gap(seen, service), service.interrupts)
    if any(isinstance(step, StartContainer) and step.slot in slots for step in steps):
        return Change(name, "start", "it does not run")
    if any(isinstance(step, ReloadService) and step.service == name for step in steps):
        return Change(name, "reload", why or "its certificate was renewed")
    if any(isinstance(step, Migrate) and step.service == name for step in steps):
        return Change(name, "migrate", "its last deploy was broken off")
    return None


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
    if name in wanted.config and last.get("config", {}).get(name) != wanted.config[name]:
        parts.append("configuration")
    rotated = [secret for secret in service.secrets if last.get("secrets", {}).get(secret) != wanted.versions[secret]]
    if rotated:
        parts.append(f"secrets {', '.join(rotated)}")
    if not parts and slots:
        shown = [slot for slot in service.slots() if slot in slots and slot in seen.containers]
        recorded = last.get("slots", {})
        drifted = shown and all(recorded.get(slot) == wanted.slot_hash(slot) for slot in shown)
        parts.append("the container is not the one of the release" if drifted else "its definition or limits")
    return ", ".join(parts)
