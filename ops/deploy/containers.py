"""Which containers have to be created, replaced or mended, and in which order, so that nobody notices more than must be."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field, replace

from ops.core.plan import Step
from ops.deploy.config_steps import MarkLoaded
from ops.deploy.steps import (
    AwaitHealthy,
    CreateContainers,
    Migrate,
    PromoteContainer,
    Reconnect,
    RemoveContainer,
    RestartContainer,
    StartContainer,
)
from ops.host import owners_plan as owners
from ops.secrets import plan as credentials
from ops.secrets.steps import HandOver
from ops.stack.model import Seen, Service
from ops.stack.render import CHECK_SUFFIX, MIGRATE_SUFFIX, next_of, one_off
from ops.stack.wanted import Wanted, unreached

HEALS_SECONDS = 20
"""The backend asks for the realm's keys every 15 s at the latest."""
NEVER_STARTED = ("created", "configured", "initialized")
"""States of a container that a killed deploy has created and not come to start."""


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


Movers = tuple[tuple[str, tuple[str, ...], tuple[str, ...]], ...]


@dataclass
class _Work:
    """What is gathered service by service."""

    steps: list[Step] = field(default_factory=list)
    fresh: list[str] = field(default_factory=list)
    """Slots that nothing has to make room for: they are created together."""
    gone: set[str] = field(default_factory=set)
    """Slots whose containers are removed for the sake of another service's."""
    unreached: frozenset[str] = frozenset()
    """Slots whose new containers cannot be asked through nginx."""


def differs(wanted: Wanted, seen: Seen, slot: str) -> bool:
    """Whether a container is missing, or is not the one that is wanted."""
    container = seen.containers.get(slot)
    return container is None or container.config_hash != wanted.slot_hash(slot)


def serves(seen: Seen, slot: str) -> bool:
    """Whether a container carries load now, so that something is lost when it goes."""
    container = seen.containers.get(slot)
    running = container is not None and container.state == "running" and not container.stranded
    return running and slot not in seen.unhealthy


def container_steps(wanted: Wanted, seen: Seen, services: list[Service], ready: list[str], options: Options) -> list[Step]:
    """`ready`: keys of the steps that come before any container is touched."""
    work = _Work(unreached=unreached(wanted, seen, services))
    for service in services:
        _service(work, wanted, seen, service, ready, options)
    return [*_creations(wanted, work.fresh, ready), *work.steps]


def _service(work: _Work, wanted: Wanted, seen: Seen, service: Service, ready: list[str], options: Options) -> None:
    slots = [slot for slot in service.slots() if differs(wanted, seen, slot) or slot in work.gone]
    gates = [f"healthy {slot}" for need in service.needs for slot in wanted.stack.services[need].slots()]
    # Who needs Keycloak needs the realm in it; the plan drops this where the realm is as it should be.
    gates += ["realm"] if "keycloak" in service.needs else []
    accepting = credentials.after(credentials.beside(wanted, seen, service), [*ready, *gates])
    work.steps += accepting
    gates += [step.key for step in accepting]
    # A holder that is started gets a new network: who stands in the old one does not serve any more.
    moved = any(isinstance(step, StartContainer | RestartContainer) and step.slot == service.shares for step in work.steps)
    cleared = _clear(work, wanted, seen, service, [*ready, *gates]) if slots else []
    missing = [slot for slot in slots if slot not in seen.containers or slot in work.gone]
    there = [slot for slot in slots if slot not in missing]
    serving = [slot for slot in there if serves(seen, slot) and not moved]
    idle = [slot for slot in there if slot not in serving]
    reached = not work.unreached.intersection(slots)
    rolled = serving if service.rolls and reached else []
    staged = _stage(work, wanted, seen, service, there, rolled, ready, options)
    beside = service.rolls and any(slot in seen.containers and slot not in work.gone for slot in service.slots())
    own = owners.steps(wanted, seen, service, [*ready, *gates, *staged, *cleared], beside=beside) if slots or beside else []
    changed = beside and bool(own)
    if service.rolls or not there:
        work.steps += own
        gates, own = [*gates, *(step.key for step in own)], []
    never_started = any(slot in seen.containers and seen.containers[slot].state in NEVER_STARTED for slot in service.slots())
    if service.migrate and options.migrate and (slots or never_started):
        work.steps.append(_migration(seen, service, [*ready, *gates, *staged], options, prepared=bool(staged)))
        gates = [*gates, f"migrate {service.name}"]
    before = [*ready, *gates, *staged]
    fresh = _fresh(work, wanted, seen, service, missing, ready, gates, cleared)
    work.steps += fresh
    # What does not serve goes first: nothing is lost with it, and the others are left alone until it serves again.
    previous: list[str] = []
    told = credentials.told(wanted, seen, service)
    for slot in idle:
        work.steps += _replace(
            service, slot, [*before, *previous], options, gate=service.replicated and reached, told=told, own=own
        )
        previous, own = [f"healthy {slot}"], []
    if rolled:
        movers = _movers(wanted, seen) if service.shares else ()
        work.steps += _roll(service, rolled, [*before, *previous, *_keys(fresh)], options, movers)
    else:
        for slot in serving:
            work.steps += _replace(service, slot, [*before, *previous], options, gate=False, told=told, own=own)
            previous, own = [f"healthy {slot}"], []
    unchanged = [slot for slot in service.slots() if slot not in slots]
    late = credentials.after(told, gates) if any(seen.containers[slot].state in NEVER_STARTED for slot in unchanged) else []
    work.steps += [*late, *_mend(work, seen, service, unchanged, [*gates, *(step.key for step in late)], moved=moved)]
    serve = [f"healthy {slot}" for slot in service.slots()] + [f"retire {service.surge_slot}"]
    work.steps += credentials.settled(wanted, seen, service, [*gates, *serve])
    work.steps += owners.removal(seen, service, [*gates, *serve], changed=changed)
    if slots and len(slots) == len(service.slots()) and service.name in wanted.config:
        version = wanted.config[service.name]
        if seen.config_loaded.get(service.name) != version:
            after = tuple(f"healthy {slot}" for slot in slots)
            title = f"note that {service.name} runs with its new configuration"
            work.steps.append(MarkLoaded(f"loaded {service.name}", title, after, service=service.name, version=version))


def is_staged(wanted: Wanted, seen: Seen, slot: str) -> bool:
    """Whether the wanted container of a slot has been made already and waits for its place."""
    waiting = seen.containers.get(next_of(slot))
    return waiting is not None and waiting.state in NEVER_STARTED and waiting.config_hash == wanted.slot_hash(slot)


def _stage(
    work: _Work, wanted: Wanted, seen: Seen, service: Service, there: list[str], rolled: list[str], ready: list[str],
    options: Options,
) -> list[str]:  # fmt: skip
    """Make the new containers of a service beside the old ones, in one call, while these still serve: a place is then empty
    only for as long as a stop and a start take. Returns the keys to wait for; none where nothing is replaced."""
    if not there:
        return []
    surge = service.surge_slot
    after, new = list(ready), [slot for slot in there if not is_staged(wanted, seen, slot)]
    left = seen.containers.get(surge)
    reusable = left and left.config_hash == wanted.slot_hash(surge) and left.state == "running" and not left.stranded
    if rolled and left and not reusable:
        work.steps.append(_removal(service, surge, after))
        after = [*after, f"remove {surge}"]
    others = ((surge,) if rolled and not reusable else ()) + (
        (service.name + CHECK_SUFFIX,) if service.migrate and options.migrate else ()
    )
    key = f"create {service.name}"
    title = "create " + ", ".join([*(slot for slot in others if not one_off(slot)), *(next_of(slot) for slot in new)])
    work.steps.append(CreateContainers(key, title, tuple(after), slots=others, staged=tuple(new)))
    return [key]


def _clear(work: _Work, wanted: Wanted, seen: Seen, service: Service, after: list[str]) -> list[str]:
    """Make room at an address that is to be held by another container than now.

    Podman removes a holder only after those that stand in its network, and publishes a port only once. So they go first, then
    the holder: the one of another definition, or the one that a release without any is brought back from.

    Returns the keys of the steps that must be done before the new container of this service is created.
    """
    if service.holds:
        holder, sharer = service.name, wanted.stack.services[service.holds]
        places = {*sharer.reserved_slots(), *map(next_of, sharer.reserved_slots())}
        standing = [slot for slot, one in seen.containers.items() if slot in places or one.holder == holder]
    else:
        own = [seen.containers[slot] for slot in service.slots() if slot in seen.containers]
        holder, sharer = next((one.holder for one in own if one.holder and one.holder not in wanted.slots()), ""), service
        standing = [slot for slot, one in seen.containers.items() if holder and one.holder == holder]
    if not standing:
        return []
    steps = [_removal(sharer, slot, after) for slot in standing]
    # As in a roll: beside the stop, which waits for WebSockets.
    work.steps += [step for slot in standing if serves(seen, slot) for step in _moved(_movers(wanted, seen), slot, after)]
    if holder in seen.containers:
        steps.append(_removal(service, holder, [*after, *(step.key for step in steps)]))
    work.steps += steps
    work.gone.update(standing, [holder])
    return [step.key for step in steps]


def _fresh(
    work: _Work, wanted: Wanted, seen: Seen, service: Service, slots: list[str], ready: list[str], gates: list[str],
    cleared: list[str],
) -> list[Step]:  # fmt: skip
    """Containers in places that are empty, or will be by then."""
    steps: list[Step] = credentials.after(credentials.told(wanted, seen, service), [*ready, *gates, *cleared]) if slots else []
    gates = [*gates, *(step.key for step in steps)]
    together = not cleared and not any(step.key == f"create {service.shares}" for step in work.steps)
    for slot in slots:
        if not cleared and is_staged(wanted, seen, slot):
            # A command was killed between the end of the old container and the start of the new one.
            steps += [_promotion(slot, [*ready, *gates]), *_first(service, slot, f"promote {slot}", gates)]
        elif together:
            work.fresh.append(slot)
            steps += _first(service, slot, _creation(wanted, slot), gates)
        else:
            # Not together with others that are missing: the place is empty only once an old container has left it.
            after = (*ready, *gates, *cleared)
            steps.append(CreateContainers(f"create {slot}", f"create {slot}", after, slots=(slot,)))
            steps += _first(service, slot, f"create {slot}", gates)
    return steps


def _promotion(slot: str, after: Iterable[str]) -> Step:
    return PromoteContainer(f"promote {slot}", f"promote the new {slot}", tuple(after), slot=slot)


def _keys(steps: Iterable[Step]) -> list[str]:
    return [step.key for step in steps if isinstance(step, AwaitHealthy)]


def _migration(seen: Seen, service: Service, after: list[str], options: Options, *, prepared: bool) -> Step:
    slot, argv = options.backup_before
    backed_up = slot in seen.containers and seen.release is not None
    # The container that backs up first may be replaced by this plan.
    after = [*after, f"healthy {slot}"] if backed_up else after
    return Migrate(
        f"migrate {service.name}", f"migrate the database of {service.name}", tuple(after),
        slot=service.name + MIGRATE_SUFFIX, service=service.name, release=options.release, prepared=prepared,
        contracting=options.contracting or seen.release is None,
        backup=argv if backed_up else (), backup_slot=slot if backed_up else "",
    )  # fmt: skip


def _movers(wanted: Wanted, seen: Seen) -> Movers:
    """(service, its containers, argv) of those who hold connections through nginx open for long."""
    return tuple(
        (other.name, tuple(slot for slot in other.slots() if serves(seen, slot)), other.reconnect)
        for other in wanted.stack.services.values() if other.reconnect
    )  # fmt: skip


def _moved(movers: Movers, stopped: str, after: Iterable[str]) -> list[Step]:
    return [
        Reconnect(f"reconnect {name}, {stopped}", f"close WebSockets of {name} through {stopped}", tuple(after),
                  slots=slots, argv=argv)
        for name, slots, argv in movers
    ]  # fmt: skip


def _roll(service: Service, slots: list[str], after: list[str], options: Options, movers: Movers) -> list[Step]:
    """Replace serving containers one by one, while an extra new one stands by for requests that no slot takes.

    It comes first and is proved on its own: where the new release is no good, no old container was touched.
    """
    surge = service.surge_slot
    steps: list[Step] = [
        StartContainer(f"start {surge}", f"start {surge}", tuple(after), slot=surge),
        _proof(service, surge, (f"start {surge}",), options, settle=True),
    ]
    previous = [f"healthy {surge}"]
    for slot in slots:
        # Beside the stop, which waits for them.
        steps += [*_moved(movers, slot, previous), *_replace(service, slot, previous, options, gate=True)]
        previous = [f"healthy {slot}"]
    steps += _moved(movers, surge, previous)
    # Another key than that of a left-over, which may have been removed first.
    steps.append(RemoveContainer(f"retire {surge}", f"stop and remove {surge}", tuple(previous), slot=surge,
                                 grace=service.grace))  # fmt: skip
    return steps


def _proof(service: Service, slot: str, after: tuple[str, ...], options: Options, *, settle: bool) -> Step:
    return AwaitHealthy(
        f"healthy {slot}", f"verify canary {slot}" if settle else f"wait for {slot}", after, slot=slot,
        deadline=service.start_seconds, settle=options.settle if settle else 0, smoke=service.smoke or "", once=True,
    )  # fmt: skip


def _removal(service: Service, slot: str, after: Iterable[str]) -> Step:
    return RemoveContainer(f"remove {slot}", f"stop and remove {slot}", tuple(after), slot=slot, grace=service.grace)


def _replace(
    service: Service, slot: str, after: list[str], options: Options, *, gate: bool, told: tuple[HandOver, ...] = (),
    own: Iterable[Step] = (),
) -> list[Step]:  # fmt: skip
    """`gate`: the new container has to answer through nginx, and to stay up from the start. `told`, `own`: done while none
    runs."""
    started = (f"start {slot}",)
    healthy = (
        _proof(service, slot, started, options, settle=False)
        if gate
        else AwaitHealthy(f"healthy {slot}", f"wait for {slot}", started, slot=slot, deadline=service.start_seconds)
    )
    owned = [replace(step, after=(*step.after, f"remove {slot}")) for step in own]
    handed = [*owned, *credentials.after(told, [f"remove {slot}"])]
    return [
        _removal(service, slot, after),
        *handed,
        # A container in its place has been preceded by this, so that it can be started whatever was killed meanwhile.
        _promotion(slot, (f"remove {slot}", *(step.key for step in handed))),
        StartContainer(f"start {slot}", f"start {slot}", (f"promote {slot}",), slot=slot),
        healthy,
    ]


def _creation(wanted: Wanted, slot: str) -> str:
    """Key of the call that creates a new container: what others wait for comes first, everything else side by side with it, but
    for one that shares the network of another, which has to exist."""
    if wanted.stack.service_of(slot).shares:
        return f"create {slot}"
    needed = {need for other in wanted.stack.services.values() for need in other.needs}
    return "create first" if wanted.stack.service_of(slot).name in needed else "create rest"


def _creations(wanted: Wanted, fresh: list[str], ready: list[str]) -> list[Step]:
    calls: dict[str, list[str]] = {}
    for slot in fresh:
        calls.setdefault(_creation(wanted, slot), []).append(slot)
    holders = {key: wanted.stack.service_of(slots[0]).shares for key, slots in calls.items()}
    return [
        CreateContainers(
            key, "create " + ", ".join(slots), (*ready, *((_creation(wanted, holder),) if (holder := holders[key]) else ())),
            slots=tuple(slots),
        )
        for key, slots in sorted(calls.items(), key=lambda call: (bool(holders[call[0]]), call[0]))
    ]  # fmt: skip


def _first(service: Service, slot: str, creation: str, gates: list[str]) -> list[Step]:
    return [
        StartContainer(f"start {slot}", f"start {slot}", (creation, *gates), slot=slot),
        AwaitHealthy(f"healthy {slot}", f"wait for {slot}", (f"start {slot}",), slot=slot, deadline=service.start_seconds),
    ]


def _mend(work: _Work, seen: Seen, service: Service, slots: list[str], gates: list[str], *, moved: bool) -> list[Step]:
    """A container as wanted that does not run, or runs and is not healthy, is started again; so is one that has lost its
    network, or is about to (`moved`). What is not healthy may still be of some use to somebody: replicas take turns, and one
    that heals once it has what it lacked is not restarted."""
    steps: list[Step] = []
    turn: list[str] = []
    lacked = any(step.key in gates for step in work.steps)
    for slot in slots:
        if seen.containers[slot].state != "running":
            steps.append(StartContainer(f"start {slot}", f"start {slot}", tuple(gates), slot=slot))
        elif moved or seen.containers[slot].stranded:
            title = f"restart {slot}, to join the network of {service.shares}"
            steps.append(RestartContainer(f"start {slot}", title, tuple(gates), slot=slot, grace=service.grace))
        elif slot in seen.unhealthy and (seen.containers[slot].running_seconds or 0) > service.start_seconds:
            title = f"restart {slot}: {seen.unhealthy[slot]}"
            patience = HEALS_SECONDS if lacked else 0
            after = (*gates, *turn)
            steps.append(RestartContainer(f"start {slot}", title, after, slot=slot, grace=service.grace, patience=patience))
            turn = [f"healthy {slot}"]
        elif slot not in seen.unhealthy:
            continue
        # What it needs comes first: its own deadline would run out meanwhile.
        ready = (*gates, f"start {slot}")
        steps.append(AwaitHealthy(f"healthy {slot}", f"wait for {slot}", ready, slot=slot, deadline=service.start_seconds))
    return steps
