"""Which containers are created, replaced or restarted, and in which order, so that users are interrupted least."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, replace

from ops.core.plan import Step
from ops.deploy.participant import gathered
from ops.deploy.steps import (
    AwaitHealthy,
    CreateContainers,
    MarkLoaded,
    Migrate,
    PromoteContainer,
    Reconnect,
    RemoveContainer,
    RestartContainer,
    StartContainer,
    await_healthy,
)
from ops.host import owners_plan as owners
from ops.stack.model import Seen, Service
from ops.stack.render import CHECK_SUFFIX, MIGRATE_SUFFIX, next_of, one_off
from ops.stack.wanted import Wanted, unreached

HEALS_SECONDS = 20
"""The backend asks for the realm's keys every 15 s at the latest."""
NEVER_STARTED = ("created", "configured", "initialized")
"""States of a container that a killed deploy has created and not come to start."""


@dataclass(frozen=True)
class Options:
    """How a release is deployed.

    `release`: its number. `settle`: seconds that the first new container of a service must run without fault before an old
    one is touched. `migrate`: whether databases are migrated to it; not on the way back. `contracting`: whether a migration
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


def container_steps(
    wanted: Wanted, seen: Seen, services: list[Service], ready: list[Step], options: Options, applied: Mapping[str, Step]
) -> list[Step]:
    """Steps that replace, add and mend containers.

    What they wait for may be no step of the plan in the end, such as the health of a container that stays: `linked` drops it.

    ready: what comes before any container is touched. applied: name of a service -> what else must have been done before one
    that needs it is touched.
    """
    work = _Work(unreached=unreached(wanted, seen, services))
    for service in services:
        _service(work, wanted, seen, service, ready, options, applied)
    return [*_creations(wanted, work.fresh, ready), *work.steps]


def _service(
    work: _Work, wanted: Wanted, seen: Seen, service: Service, ready: list[Step], options: Options, applied: Mapping[str, Step]
) -> None:
    slots = [slot for slot in service.slots() if differs(wanted, seen, slot) or slot in work.gone]
    gates: list[Step] = [await_healthy(slot) for need in service.needs for slot in wanted.stack.services[need].slots()]
    gates += [applied[need] for need in service.needs if need in applied]
    accepting = _behind(gathered(lambda one: one.before(wanted, seen, service)), [*ready, *gates])
    work.steps += accepting
    gates += accepting
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
        gates, own = [*gates, *own], []
    never_started = any(slot in seen.containers and seen.containers[slot].state in NEVER_STARTED for slot in service.slots())
    if service.migrate and options.migrate and (slots or never_started):
        migration = _migration(seen, service, [*ready, *gates, *staged], options, prepared=bool(staged))
        work.steps.append(migration)
        gates = [*gates, migration]
    before = [*ready, *gates, *staged]
    fresh = _fresh(work, wanted, seen, service, missing, ready, gates, cleared)
    work.steps += fresh
    # What does not serve goes first: nothing is lost with it, and the others are left alone until it serves again.
    previous: list[Step] = []
    between = gathered(lambda one: one.between(wanted, seen, service))
    for slot in idle:
        work.steps += _replace(
            service, slot, [*before, *previous], options, gate=service.replicated and reached, meanwhile=between, own=own
        )
        previous, own = work.steps[-1:], []
    if rolled:
        movers = _movers(wanted, seen) if service.shares else ()
        healthy = [step for step in fresh if isinstance(step, AwaitHealthy)]
        work.steps += _roll(service, rolled, [*before, *previous, *healthy], options, movers)
    else:
        for slot in serving:
            work.steps += _replace(service, slot, [*before, *previous], options, gate=False, meanwhile=between, own=own)
            previous, own = work.steps[-1:], []
    unchanged = [slot for slot in service.slots() if slot not in slots]
    late = _behind(between, gates) if any(seen.containers[slot].state in NEVER_STARTED for slot in unchanged) else []
    work.steps += [*late, *_mend(work, seen, service, unchanged, [*gates, *late], moved=moved)]
    serve: list[Step] = [*map(await_healthy, service.slots()), _retirement(service, [])]
    work.steps += _behind(gathered(lambda one: one.behind(wanted, seen, service)), [*gates, *serve])
    work.steps += owners.removal(seen, service, [*gates, *serve], changed=changed)
    if slots and len(slots) == len(service.slots()):
        work.steps += _loaded(wanted, seen, service)


def _loaded(wanted: Wanted, seen: Seen, service: Service) -> list[Step]:
    version = wanted.config.get(service.name)
    if version is None or seen.config_loaded.get(service.name) == version:
        return []
    title, after = f"note that {service.name} runs with its new configuration", tuple(map(await_healthy, service.slots()))
    return [MarkLoaded(f"loaded {service.name}", title, after, service=service.name, version=version)]


def _behind(steps: Iterable[Step], first: Iterable[Step]) -> list[Step]:
    waits = tuple(first)
    return [replace(step, after=(*waits, *step.after)) for step in steps]


def is_staged(wanted: Wanted, seen: Seen, slot: str) -> bool:
    """Whether the wanted container of a slot has been made already and waits for its place."""
    waiting = seen.containers.get(next_of(slot))
    return waiting is not None and waiting.state in NEVER_STARTED and waiting.config_hash == wanted.slot_hash(slot)


def _stage(
    work: _Work, wanted: Wanted, seen: Seen, service: Service, there: list[str], rolled: list[str], ready: list[Step],
    options: Options,
) -> list[Step]:  # fmt: skip
    """Make the new containers of a service beside the old ones, in one call, while these still serve: a place is then empty
    only for as long as a stop and a start take. Returns what to wait for; nothing where nothing is replaced."""
    if not there:
        return []
    surge = service.surge_slot
    after, new = list(ready), [slot for slot in there if not is_staged(wanted, seen, slot)]
    left = seen.containers.get(surge)
    reusable = left and left.config_hash == wanted.slot_hash(surge) and left.state == "running" and not left.stranded
    if rolled and left and not reusable:
        removal = _removal(service, surge, after)
        work.steps.append(removal)
        after = [*after, removal]
    others = ((surge,) if rolled and not reusable else ()) + (
        (service.name + CHECK_SUFFIX,) if service.migrate and options.migrate else ()
    )
    title = "create " + ", ".join([*(slot for slot in others if not one_off(slot)), *(next_of(slot) for slot in new)])
    staged = CreateContainers(f"create {service.name}", title, tuple(after), slots=others, staged=tuple(new))
    work.steps.append(staged)
    return [staged]


def _clear(work: _Work, wanted: Wanted, seen: Seen, service: Service, after: list[Step]) -> list[Step]:
    """Make room at an address that is to be held by another container than now.

    Podman removes a holder only after those that stand in its network, and publishes a port only once. So they go first, then
    the holder: the one of another definition, or one that the wanted release does not have.

    Returns what must be done before the new container of this service is created.
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
        steps.append(_removal(service, holder, [*after, *steps]))
    work.steps += steps
    work.gone.update(standing, [holder])
    return steps


def _fresh(
    work: _Work, wanted: Wanted, seen: Seen, service: Service, slots: list[str], ready: list[Step], gates: list[Step],
    cleared: list[Step],
) -> list[Step]:  # fmt: skip
    """Containers in places that are empty, or will be by then."""
    between = gathered(lambda one: one.between(wanted, seen, service)) if slots else []
    steps = _behind(between, [*ready, *gates, *cleared])
    gates = [*gates, *steps]
    together = not cleared and not any(step.key == f"create {service.shares}" for step in work.steps)
    for slot in slots:
        if not cleared and is_staged(wanted, seen, slot):
            # A command was killed between the end of the old container and the start of the new one.
            placed: Step = _promotion(slot, [*ready, *gates])
            steps.append(placed)
        elif together:
            work.fresh.append(slot)
            placed = _creation(wanted, slot)
        else:
            # Not together with others that are missing: the place is empty only once an old container has left it.
            placed = CreateContainers(f"create {slot}", f"create {slot}", (*ready, *gates, *cleared), slots=(slot,))
            steps.append(placed)
        start = _start(slot, [placed, *gates])
        steps += [start, await_healthy(slot, [start], deadline=service.start_seconds)]
    return steps


def _promotion(slot: str, after: Iterable[Step]) -> Step:
    return PromoteContainer(f"promote {slot}", f"promote the new {slot}", tuple(after), slot=slot)


def _start(slot: str, after: Iterable[Step]) -> Step:
    return StartContainer(f"start {slot}", f"start {slot}", tuple(after), slot=slot)


def _migration(seen: Seen, service: Service, after: list[Step], options: Options, *, prepared: bool) -> Step:
    slot, argv = options.backup_before
    backed_up = slot in seen.containers and seen.release is not None
    # The container that backs up first may be replaced by this plan.
    after = [*after, await_healthy(slot)] if backed_up else after
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


def _moved(movers: Movers, stopped: str, after: Iterable[Step]) -> list[Step]:
    return [
        Reconnect(f"reconnect {name}, {stopped}", f"close WebSockets of {name} through {stopped}", tuple(after),
                  slots=slots, argv=argv)
        for name, slots, argv in movers
    ]  # fmt: skip


def _roll(service: Service, slots: list[str], after: list[Step], options: Options, movers: Movers) -> list[Step]:
    """Replace serving containers one by one, while an extra new one stands by for requests that no slot takes.

    It comes first and is proved on its own: where the new release is no good, no old container was touched.
    """
    surge = service.surge_slot
    start = _start(surge, after)
    steps: list[Step] = [start, _proof(service, surge, start, options, settle=True)]
    previous = steps[-1:]
    for slot in slots:
        # Beside the stop, which waits for them.
        steps += [*_moved(movers, slot, previous), *_replace(service, slot, previous, options, gate=True)]
        previous = steps[-1:]
    return [*steps, *_moved(movers, surge, previous), _retirement(service, previous)]


def _retirement(service: Service, after: Iterable[Step]) -> Step:
    """Another key than that of a left-over, which may have been removed first."""
    surge = service.surge_slot
    return replace(_removal(service, surge, after), key=f"retire {surge}")


def _proof(service: Service, slot: str, start: Step, options: Options, *, settle: bool) -> Step:
    return await_healthy(
        slot, [start], f"verify canary {slot}" if settle else "", deadline=service.start_seconds,
        settle=options.settle if settle else 0, smoke=service.smoke or "", once=True,
    )  # fmt: skip


def _removal(service: Service, slot: str, after: Iterable[Step]) -> Step:
    return RemoveContainer(f"remove {slot}", f"stop and remove {slot}", tuple(after), slot=slot, grace=service.grace)


def _replace(
    service: Service, slot: str, after: list[Step], options: Options, *, gate: bool, meanwhile: Iterable[Step] = (),
    own: Iterable[Step] = (),
) -> list[Step]:  # fmt: skip
    """Steps that end with the health of the new container.

    gate: the new container has to answer through nginx, and to stay up from the start. meanwhile, own: done while none runs.
    """
    removal = _removal(service, slot, after)
    owned = [replace(step, after=(*step.after, removal)) for step in own]
    between = [*owned, *_behind(meanwhile, [removal])]
    # A container in its place has been preceded by this, so that it can be started whatever was killed meanwhile.
    promotion = _promotion(slot, [removal, *between])
    start = _start(slot, [promotion])
    healthy = (
        _proof(service, slot, start, options, settle=False)
        if gate
        else await_healthy(slot, [start], deadline=service.start_seconds)
    )
    return [removal, *between, promotion, start, healthy]


def _creation(wanted: Wanted, slot: str) -> CreateContainers:
    """The call that creates a new container: what others wait for comes first, everything else side by side with it, but
    for one that shares the network of another, which has to exist."""
    key = f"create {slot}"
    if not wanted.stack.service_of(slot).shares:
        needed = {need for other in wanted.stack.services.values() for need in other.needs}
        key = "create first" if wanted.stack.service_of(slot).name in needed else "create rest"
    return CreateContainers(key, "create", slots=(slot,))


def _creations(wanted: Wanted, fresh: list[str], ready: list[Step]) -> list[Step]:
    calls: dict[str, list[str]] = {}
    for slot in fresh:
        calls.setdefault(_creation(wanted, slot).key, []).append(slot)
    holders = {key: wanted.stack.service_of(slots[0]).shares for key, slots in calls.items()}
    return [
        CreateContainers(
            key, "create " + ", ".join(slots), (*ready, *((_creation(wanted, holder),) if (holder := holders[key]) else ())),
            slots=tuple(slots),
        )
        for key, slots in sorted(calls.items(), key=lambda call: (bool(holders[call[0]]), call[0]))
    ]  # fmt: skip


def _mend(work: _Work, seen: Seen, service: Service, slots: list[str], gates: list[Step], *, moved: bool) -> list[Step]:
    """A container as wanted that does not run, or runs and is not healthy, is started again; so is one that has lost its
    network, or is about to (`moved`). What is not healthy may still serve some requests: replicas take turns, and one
    that heals once it has what it lacked is not restarted."""
    steps: list[Step] = []
    turn: list[Step] = []
    lacked = not {step.key for step in work.steps}.isdisjoint(step.key for step in gates)
    for slot in slots:
        start = _start(slot, gates)
        restart = RestartContainer(start.key, f"restart {slot}", start.after, slot=slot, grace=service.grace)
        taking_turns = False
        if seen.containers[slot].state != "running":
            steps.append(start)
        elif moved or seen.containers[slot].stranded:
            start = replace(restart, title=f"restart {slot}, to join the network of {service.shares}")
            steps.append(start)
        elif slot in seen.unhealthy and (seen.containers[slot].running_seconds or 0) > service.start_seconds:
            title, patience = f"restart {slot}: {seen.unhealthy[slot]}", HEALS_SECONDS if lacked else 0
            start = replace(restart, title=title, after=(*gates, *turn), patience=patience)
            steps.append(start)
            taking_turns = True
        elif slot not in seen.unhealthy:
            continue
        # What it needs comes first: its own deadline would run out meanwhile.
        steps.append(await_healthy(slot, [*gates, start], deadline=service.start_seconds))
        turn = steps[-1:] if taking_turns else turn
    return steps
