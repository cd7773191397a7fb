"""Which containers have to be created, replaced or mended, and in which order, so that nobody notices more than must be."""

from __future__ import annotations

import math
import re
from collections.abc import Iterable
from dataclasses import dataclass, field

from ops.model import Seen, Service, Step
from ops.plan.wanted import Wanted
from ops.render import MIGRATE_SUFFIX
from ops.steps import (
    AwaitHealthy,
    CreateContainers,
    MarkLoaded,
    Migrate,
    RemoveContainer,
    RestartContainer,
    StartContainer,
)

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


@dataclass(frozen=True)
class Options:
    """How a release is brought about.

    `release`: its number. `settle`: seconds that the first new container of a service must run without fault before an old
    one is touched. `migrate`: whether databases are brought up to it; not on the way back. `contracting`: whether a migration
    may take away what an older release needs.
    """

    release: int = 0
    settle: int = 0
    migrate: bool = True
    contracting: bool = False
    backup_before: tuple[str, tuple[str, ...]] = ("", ())
    """(slot, argv) of the backup that precedes a migration."""


@dataclass
class _Work:
    """What is gathered service by service."""

    steps: list[Step] = field(default_factory=list)
    fresh: list[str] = field(default_factory=list)
    """Slots that nothing has to make room for: they are created together."""


def differs(wanted: Wanted, seen: Seen, slot: str) -> bool:
    """Whether a container is missing, or is not the one that is wanted."""
    container = seen.containers.get(slot)
    return container is None or container.config_hash != wanted.slot_hash(slot)


def serves(seen: Seen, slot: str) -> bool:
    """Whether a container carries load now, so that something is lost when it goes."""
    container = seen.containers.get(slot)
    return container is not None and container.state == "running" and slot not in seen.unhealthy


def container_steps(wanted: Wanted, seen: Seen, services: list[Service], ready: list[str], options: Options) -> list[Step]:
    """`ready`: keys of the steps that come before any container is touched."""
    work = _Work()
    for service in services:
        _service(work, wanted, seen, service, ready, options)
    return [*_creations(wanted, work.fresh, ready), *work.steps]


def _service(work: _Work, wanted: Wanted, seen: Seen, service: Service, ready: list[str], options: Options) -> None:
    slots = [slot for slot in service.slots() if differs(wanted, seen, slot)]
    gates = [f"healthy {slot}" for need in service.needs for slot in wanted.stack.services[need].slots()]
    never_started = any(slot in seen.containers and seen.containers[slot].state in NEVER_STARTED for slot in service.slots())
    if service.migrate and options.migrate and (slots or never_started):
        work.steps.append(_migration(wanted, seen, service, [*ready, *gates], options))
        gates = [*gates, f"migrate {service.name}"]
    missing = [slot for slot in slots if slot not in seen.containers]
    idle = [slot for slot in slots if slot in seen.containers and not serves(seen, slot)]
    serving = [slot for slot in slots if serves(seen, slot)]
    fresh = [step for slot in missing for step in _first(wanted, service, slot, gates)]
    work.fresh += missing
    work.steps += fresh
    # What does not serve goes first: nothing is lost with it, and the others are left alone until it serves again.
    previous: list[str] = []
    for slot in idle:
        work.steps += _replace(service, slot, [*ready, *gates, *previous], options, gate=service.replicated)
        previous = [f"healthy {slot}"]
    if service.replicated and serving:
        work.steps += _roll(wanted, seen, service, serving, [*ready, *gates, *previous, *_keys(fresh)], options)
    else:
        for slot in serving:
            work.steps += _replace(service, slot, [*ready, *gates, *previous], options, gate=False)
            previous = [f"healthy {slot}"]
    work.steps += _mend(seen, service, [slot for slot in service.slots() if slot not in slots], gates)
    if slots and len(slots) == len(service.slots()) and service.name in wanted.config:
        version = wanted.config[service.name]
        if seen.config_loaded.get(service.name) != version:
            after = tuple(f"healthy {slot}" for slot in slots)
            work.steps.append(MarkLoaded(f"loaded {service.name}", f"{service.name} runs on its new configuration", after,
                                         service=service.name, version=version))  # fmt: skip


def _keys(steps: Iterable[Step]) -> list[str]:
    return [step.key for step in steps if isinstance(step, AwaitHealthy)]


def _migration(wanted: Wanted, seen: Seen, service: Service, after: list[str], options: Options) -> Step:
    slot, argv = options.backup_before
    backed_up = slot in seen.containers and seen.release is not None
    return Migrate(
        f"migrate {service.name}", f"migrate the database of {service.name}", tuple(after),
        slot=service.name + MIGRATE_SUFFIX, service=service.name, release=options.release,
        contracting=options.contracting or seen.release is None,
        backup=argv if backed_up else (), backup_slot=slot if backed_up else "",
    )  # fmt: skip


def _roll(
    wanted: Wanted, seen: Seen, service: Service, slots: list[str], after: list[str], options: Options
) -> list[Step]:  # fmt: skip
    """Replace serving containers one by one, while an extra new one stands by for requests that no slot takes.

    It comes first and is proved on its own: where the new release is no good, no old container was touched.
    """
    surge = service.surge_slot
    steps: list[Step] = []
    left = seen.containers.get(surge)
    if left and (left.config_hash != wanted.slot_hash(surge) or left.state != "running"):
        steps.append(_removal(service, surge, after))
        after = [*after, f"remove {surge}"]
        left = None
    if left is None:
        # It is made while the database is still being asked what it lacks.
        made = tuple(key for key in after if not key.startswith("migrate "))
        steps.append(CreateContainers(f"create {surge}", f"create {surge}", made, slots=(surge,)))
        steps.append(StartContainer(f"start {surge}", f"start {surge}", (f"create {surge}", *after), slot=surge))
        after = [f"start {surge}"]
    steps.append(_proof(service, surge, tuple(after), options, settle=True))
    previous = [f"healthy {surge}"]
    for slot in slots:
        steps += _replace(service, slot, [*after, *previous], options, gate=True)
        previous = [f"healthy {slot}"]
    # Another key than that of a left-over, which may have been removed first.
    steps.append(RemoveContainer(f"retire {surge}", f"stop and remove {surge}", tuple(previous), slot=surge,
                                 grace=grace(service)))  # fmt: skip
    return steps


def _proof(service: Service, slot: str, after: tuple[str, ...], options: Options, *, settle: bool) -> Step:
    return AwaitHealthy(
        f"healthy {slot}", f"prove {slot}" if settle else f"wait for {slot}", after, slot=slot,
        deadline=service.start_seconds, settle=options.settle if settle else 0, smoke=service.smoke or "", once=True,
    )  # fmt: skip


def _removal(service: Service, slot: str, after: Iterable[str]) -> Step:
    return RemoveContainer(f"remove {slot}", f"stop and remove {slot}", tuple(after), slot=slot, grace=grace(service))


def _replace(service: Service, slot: str, after: list[str], options: Options, *, gate: bool) -> list[Step]:
    """`gate`: the new container has to answer through nginx, and to stay up from the start."""
    started = (f"start {slot}",)
    healthy = (
        _proof(service, slot, started, options, settle=False)
        if gate
        else AwaitHealthy(f"healthy {slot}", f"wait for {slot}", started, slot=slot, deadline=service.start_seconds)
    )
    return [
        _removal(service, slot, after),
        CreateContainers(f"create {slot}", f"create {slot}", (f"remove {slot}",), slots=(slot,)),
        StartContainer(f"start {slot}", f"start {slot}", (f"create {slot}",), slot=slot),
        healthy,
    ]


def _creation(wanted: Wanted, slot: str) -> str:
    """Key of the call that creates a new container: what others wait for comes first, everything else side by side with it."""
    needed = {need for other in wanted.stack.services.values() for need in other.needs}
    return "create first" if wanted.stack.service_of(slot).name in needed else "create rest"


def _creations(wanted: Wanted, fresh: list[str], ready: list[str]) -> list[Step]:
    calls: dict[str, list[str]] = {}
    for slot in fresh:
        calls.setdefault(_creation(wanted, slot), []).append(slot)
    return [
        CreateContainers(key, "create " + ", ".join(slots), tuple(ready), slots=tuple(slots))
        for key, slots in sorted(calls.items())
    ]


def _first(wanted: Wanted, service: Service, slot: str, gates: list[str]) -> list[Step]:
    after = (_creation(wanted, slot), *gates)
    return [
        StartContainer(f"start {slot}", f"start {slot}", after, slot=slot),
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
