"""Back to an earlier state, on this host or on an empty one: in which order, what it costs, how it is reverted. Pure."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any

from ops.backup.restore.participant import agreed
from ops.backup.restore.steps import (
    DROP,
    PUT_BACK,
    TO_BE_LOOKED_UP,
    AddReceived,
    CheckSpace,
    CompareSet,
    FetchCluster,
    FetchFiles,
    FillVolume,
    ForgetRestore,
    MoveData,
    RecoverCluster,
    RememberRestore,
    RemoveFetched,
    VerifyRestored,
)
from ops.backup.restore.target import PARTS, Chosen, Target
from ops.backup.sets import SAFETY_DAYS, Safety, place_of
from ops.backup.steps import ARCHIVE, RunJob
from ops.core.amounts import size
from ops.core.errors import HostLacks
from ops.core.plan import Plan, Step
from ops.deploy.steps import (
    AwaitHealthy,
    CreateContainers,
    CreateVolume,
    EndSupervision,
    StartContainer,
    StopContainer,
    Supervise,
    await_healthy,
)
from ops.lifecycle.plan import stop_order
from ops.secrets import plan as credentials
from ops.secrets.steps import SetCredential
from ops.secrets.table import BY_API
from ops.stack.model import Account, Seen, Stack
from ops.stack.render import volume_name

if TYPE_CHECKING:
    from ops.backup.restore.repository import Found

VERB = "restore"
VOLUMES = {part: f"{part}-data" for part in PARTS}
RECEIVER_SECRET = "postgres-receiver"  # noqa: S105  (a name)
"""A release without it knows no receiver."""
ROLE_SECRET = "postgres-keycloak"  # noqa: S105  (a name)
RESERVE = 512 << 20
FULL_SET = RunJob("full", "make a full set of the new timeline", argv=("set", "--kind", "full"), grave=False)
UNDO = "undo"
"""Written down with an undo that somebody has asked for; a failed restore is reverted without."""


@dataclass(frozen=True)
class Facts:
    """What was seen.

    sizes: part -> bytes that it holds now. secrets: secret -> present version. retired: secret -> the newest version that must
    be refused. left: what a restore or an undo has written down that did not come to its end.
    """

    stack: Stack
    seen: Seen
    supervise: Mapping[str, Any]
    version: str
    sizes: Mapping[str, int] = field(default_factory=dict)
    secrets: Mapping[str, int] = field(default_factory=dict)
    retired: Mapping[str, int] = field(default_factory=dict)
    left: Mapping[str, Any] | None = None


class _Sequence:
    """Steps one after the other."""

    def __init__(self) -> None:
        self.steps: list[Step] = []
        self.after: tuple[Step, ...] = ()

    def add(self, *steps: Step) -> None:
        """Steps that may run side by side, after all before them."""
        found = tuple(replace(step, after=self.after) for step in steps)
        self.steps += found
        self.after = found or self.after


def writers(stack: Stack, parts: Iterable[str]) -> tuple[str, ...]:
    """Services that use a part through others or directly, and those of the parts themselves: they stop meanwhile."""
    stopped = set(parts)
    changed = "postgres" in stopped
    while changed:
        more = {name for name, service in stack.services.items() if stopped & set(service.needs) - {"redis"}} - stopped
        stopped |= more
        changed = bool(more)
    return tuple(name for name in stack.services if name in stopped)


def plan_restore(chosen: Chosen, facts: Facts, stamp: str) -> Plan:
    """Everything from the first stop to the full backup at the end.

    stamp: names the safety copies.
    """
    line, stack, parts = _Sequence(), facts.stack, chosen.parts
    if facts.left:
        _put_back(line, facts.left, stack, facts.seen)
        line.add(ForgetRestore("forget first", "nothing is left over"))
    line.add(*_space(chosen, facts))
    line.add(*([EndSupervision("supervise off", "stop the health supervisor")] if facts.seen.ticker else []))
    stopped = writers(stack, parts)
    _stop(line, stack, facts.seen, stopped, already=facts.left is not None)
    line.add(*_missing(stack, facts.seen, stopped, parts))
    line.add(RememberRestore("remember", "record the start of the restore", content={
        "stamp": stamp, "parts": list(parts), "target": chosen.target.words, "stopped": list(stopped),
    }))  # fmt: skip
    line.add(
        *(MoveData(f"aside {part}", f"move the present {part} to a safety copy", part=part, stamp=stamp) for part in parts)
    )
    _fill(line, chosen, stack)
    start(line, stack, facts, stopped, chosen)
    verify_secrets(line, facts, (*stopped, *(["backup"] if chosen.postgres is not None else [])))
    line.add(VerifyRestored("verify", "verify: a login, a read and a write"))
    line.add(Supervise("supervise", "start the health supervisor", content=facts.supervise, version=facts.version))
    line.add(ForgetRestore("forget", "record the end of the restore"))
    line.add(ARCHIVE)
    if chosen.postgres is not None:
        line.add(FULL_SET)
    notes = [f"restores {', '.join(parts)} to {chosen.target.words}", *chosen.notes]
    notes.append(f"stops meanwhile: {', '.join(stopped)}")
    return Plan(VERB, tuple(line.steps), tuple(notes), destroys=_losses(chosen, facts, stamp))


def _space(chosen: Chosen, facts: Facts) -> list[Step]:
    needed = int(chosen.bytes * 1.1) + RESERVE
    return [CheckSpace("space", f"check that {size(needed)} are free", part="postgres", bytes=needed)] if chosen.bytes else []


def _stop(line: _Sequence, stack: Stack, seen: Seen, names: Iterable[str], *, already: bool) -> None:
    """Side by side as far as they do not need each other: everybody waits for it."""
    running = {name for name, one in seen.containers.items() if one.state not in ("exited", "created", "configured")}
    services = [stack.services[name] for name in names]
    slots = [slot for one in services for slot in (*one.slots(), one.surge_slot) if slot in running]
    graces = {slot: one.grace for one in services for slot in (*one.slots(), one.surge_slot)}
    for group in () if already else stop_order(stack, slots):
        line.add(*(StopContainer(f"stop {slot}", f"stop {slot}", slot=slot, grace=graces[slot]) for slot in group))


def _missing(stack: Stack, seen: Seen, names: Iterable[str], parts: Iterable[str]) -> list[Step]:
    """Volumes and containers that somebody has removed."""
    steps: list[Step] = []
    volumes = [volume_name(stack.project, VOLUMES[part]) for part in parts]
    steps += [
        CreateVolume(f"volume {name}", f"create volume {name}", name=name) for name in volumes if name not in seen.volumes
    ]
    slots = tuple(slot for name in names for slot in stack.services[name].slots() if slot not in seen.containers)
    wanted = tuple(slot for slot in slots if not stack.service_of(slot).optional)
    if wanted:
        steps.append(CreateContainers("create", f"create {', '.join(wanted)}", slots=wanted))
    return steps


def _fill(line: _Sequence, chosen: Chosen, stack: Stack) -> None:
    if chosen.postgres is not None:
        exact = chosen.compare if TO_BE_LOOKED_UP in chosen.postgres else None
        line.add(FetchCluster(
            "fetch postgres", "fetch PostgreSQL from the repository", options=chosen.postgres,
            others=chosen.others,
            set=exact.name if exact else "", repository=place_of(exact, "postgres") if exact else "local",
        ))  # fmt: skip
        # A set ends at its own place in the WAL, which its repository has.
        if exact is None and RECEIVER_SECRET in stack.secrets:
            line.add(AddReceived("received", "add WAL that only the receiver has"))
        line.add(RecoverCluster("recover postgres", "replay to the target and read every page"))
    by_set: dict[str, list[str]] = {}
    for part, one in chosen.files.items():
        by_set.setdefault(one.name, []).append(part)
    for name, parts in by_set.items():
        place = place_of(chosen.files[parts[0]], parts[0])
        title = f"fetch {', '.join(parts)} of {name}"
        line.add(FetchFiles(f"fetch {name}", title, set=name, repository=place, parts=tuple(parts)))
        line.add(*(FillVolume(f"fill {part}", f"move {part} into its place", part=part) for part in parts))
    if by_set:
        line.add(RemoveFetched("tidy", "remove the unpacked files"))


def start(line: _Sequence, stack: Stack, facts: Facts, names: Sequence[str], chosen: Chosen | None) -> None:
    """Start what was stopped, in the order of start. The present secrets are set at each verifier before its clients start: its
    data may be from before a rotation.

    chosen: what is restored; None where the data from before a restore is restored.
    """
    for name in names:
        service = stack.services[name]
        slots = [slot for slot in service.slots() if slot in facts.seen.containers or (chosen and not service.optional)]
        line.add(*(StartContainer(f"start {slot}", f"start {slot}", slot=slot) for slot in slots))
        line.add(*(await_healthy(slot, deadline=service.start_seconds) for slot in slots))
        if slots:
            line.add(*credentials.present(service, facts.secrets))
        if name == "postgres" and chosen and chosen.compare:
            # After the present secrets: the backup container, which compares, logs in with its own.
            place, title = place_of(chosen.compare, "postgres"), f"compare with the manifest of {chosen.compare.name}"
            line.add(CompareSet("compare", title, set=chosen.compare.name, repository=place))
        if slots:
            line.add(*agreed(name))


def verify_secrets(line: _Sequence, facts: Facts, owners: Iterable[str]) -> None:
    """Log in with every secret that one of these services verifies; its retired value must be refused."""
    steps = credentials.verified(facts.stack, owners, facts.secrets, facts.retired)
    line.add(*(step for step in steps if step.to.kind not in BY_API))
    for step in steps:
        # Keycloak refuses a login of a user while another login of the same user is in progress.
        line.add(*([step] if step.to.kind in BY_API else []))


def _losses(chosen: Chosen, facts: Facts, stamp: str) -> tuple[str, ...]:
    said = []
    for part in chosen.parts:
        now = f" ({size(facts.sizes[part])} now)" if part in facts.sizes else ""
        if part == "postgres":
            target = chosen.target
            since = "what was not in the repository yet" if chosen.target == Target() else f"everything after {target.words}"
            said.append(f"in PostgreSQL, all databases{now}: {since}")
        else:
            said.append(f"{part}{now}: everything after {chosen.files[part].made:%Y-%m-%d %H:%M:%S} UTC")
    kept = f"the present state is kept as {stamp} for {SAFETY_DAYS:.0f} days: inv restore --undo restores it"
    return (*said, f"({kept})")


def _put_back(line: _Sequence, left: Mapping[str, Any], stack: Stack, seen: Seen, *, remember: bool = False) -> None:
    """Give the previous data its place again. Everything that the restore has stopped is stopped first.

    remember: whether nothing is written down yet that an interrupted command could be resumed from.
    """
    names = [name for name in left["stopped"] if name in stack.services]
    line.add(*([EndSupervision("supervise first", "stop the health supervisor")] if seen.ticker else []))
    _stop(line, stack, seen, names, already=False)
    if remember:
        line.add(RememberRestore("remember first", "record the start of the undo", content={**left, UNDO: True}))
    line.add(*(
        MoveData(f"back {part}", f"restore the previous {part}", part=part, action=PUT_BACK, stamp=str(left["stamp"]))
        for part in left["parts"]
    ))  # fmt: skip
    # Whatever becomes of that: the services must start again.
    line.add(RemoveFetched("tidy first", "remove the unpacked files", grave=False))


def plan_undo(left: Mapping[str, Any], facts: Facts) -> Plan:
    """Back to the data from before a restore that was interrupted, has failed or is done, with the present secrets.

    Nothing is forgotten before every login works: the same command resumes one that was interrupted.

    left: what RememberRestore wrote, or what a safety copy says.
    """
    line, stack = _Sequence(), facts.stack
    asked = facts.left is None or bool(left.get(UNDO))
    _put_back(line, left, stack, facts.seen, remember=facts.left is None)
    names = [name for name in stack.services if name in left["stopped"]]
    start(line, stack, facts, names, None)
    verify_secrets(line, facts, names)
    line.add(Supervise("supervise", "start the health supervisor", content=facts.supervise, version=facts.version))
    line.add(ForgetRestore("forget", "nothing is left over"))
    if "postgres" in left["parts"] and asked:
        line.add(FULL_SET)
    losses = (f"what was written since the restore of {left['stamp']}: {', '.join(left['parts'])}",) if asked else ()
    return Plan(VERB, tuple(line.steps), (f"restores the data from before {left['stamp']}",), destroys=losses)


def left_by(safeties: Sequence[Safety], stack: Stack, stamp: str = "") -> Mapping[str, Any]:
    """What to undo, by the safety copies of one restore: the newest, or the one of this stamp.

    Raises HostLacks where there is none.
    """
    stamps = sorted({one.stamp for one in safeties})
    wanted = stamp or (stamps[-1] if stamps else "")
    parts = [part for part in PARTS if any(one.part == part and one.stamp == wanted for one in safeties)]
    if not parts:
        raise HostLacks(
            "there is nothing to undo", f"safety copies: {', '.join(stamps) or 'none'}", "inv backup.list shows them"
        )
    return {"stamp": wanted, "parts": parts, "stopped": list(writers(stack, parts)), "target": ""}


def plan_drop(safeties: Iterable[Safety]) -> tuple[Step, ...]:
    """Removes safety copies."""
    return tuple(
        MoveData(
            f"drop {one.part} {one.stamp}", f"remove the safety copy of {one.part} from before {one.stamp} ({size(one.bytes)})",
            part=one.part, action=DROP, stamp=one.stamp,
        )
        for one in safeties
    )  # fmt: skip


# ---- On an empty host

BACKUP = "backup"
NEVER = "19700101T000000Z"
"""Names the safety copies of nothing, which go at once."""


def with_data(plan: Plan, found: Found, stack: Stack, versions: Mapping[str, int]) -> Plan:
    """The plan of a deploy, with every volume filled after its container was created and before it is started.

    What runs already was filled by a previous bootstrap that was interrupted, and is left alone.

    stack: whose secrets are verified. versions: secret -> version.
    """
    starts = {step.slot: step for step in plan.steps if isinstance(step, StartContainer)}
    healthy = {step.slot: step for step in plan.steps if isinstance(step, AwaitHealthy)}
    parts = [part for part in PARTS if part in starts and (part == "postgres" or part not in found.missing)]
    filled = _filled(parts, found, _of(healthy, BACKUP) + tuple(one for part in parts for one in starts[part].after))
    ready = {
        step.part if isinstance(step, FillVolume) else "postgres": step
        for step in filled if isinstance(step, FillVolume | RecoverCluster)
    }  # fmt: skip
    account = Account("role", "keycloak")
    role = SetCredential("role keycloak", f"set the current {account}", _of(healthy, "postgres"), to=account,
                         secret=ROLE_SECRET, version=versions[ROLE_SECRET])  # fmt: skip
    waits = {**ready, "keycloak": role}
    steps = [
        replace(step, after=(*step.after, waits[step.slot]))
        if isinstance(step, StartContainer) and step.slot in waits else step for step in plan.steps
    ]  # fmt: skip
    logins: list[Step] = []
    after: tuple[Step, ...] = (*steps, *filled, role)
    agreeing = [step for service in stack.services for step in agreed(service)]
    # One after the other: Keycloak refuses a login of a user while another login of the same user is in progress.
    for login in (*agreeing, *credentials.verified(stack, stack.services, versions, {})):
        logins.append(replace(login, after=after))
        after = (logins[-1],)
    verify = VerifyRestored("verify", "verify: a login, a read and a write", after)
    drops = [
        MoveData(f"drop {part}", f"nothing was in the place of {part}", (verify,), part=part, action=DROP, stamp=NEVER)
        for part in ready
    ]
    archive = replace(ARCHIVE, after=(verify,))
    return replace(
        plan, destroys=(),
        steps=_in_order((
            *steps, *filled, role, *logins, verify, *drops, archive, replace(FULL_SET, after=(archive, *drops)),
        )),
    )  # fmt: skip


def _of(steps: Mapping[str, Step], slot: str) -> tuple[Step, ...]:
    return (steps[slot],) if slot in steps else ()


def _filled(parts: Sequence[str], found: Found, before: tuple[Step, ...]) -> tuple[Step, ...]:
    """Steps that give empty volumes their data. before: steps behind which they begin."""
    aside: dict[str, Step] = {}
    steps: list[Step] = []
    for part in parts:
        # What an interrupted one has left is removed first.
        clear = MoveData(f"clear {part}", f"clear the volume of {part}", before, part=part, action=PUT_BACK, stamp=NEVER)
        aside[part] = MoveData(f"aside {part}", f"check the volume of {part}", (clear,), part=part, stamp=NEVER)
        steps += [clear, aside[part]]
    recover: tuple[Step, ...] = ()
    if "postgres" in parts:
        newest = ("--type=default", f"--repo={found.number}")
        fetch = FetchCluster("fetch postgres", "fetch PostgreSQL from the repository", (aside["postgres"],), options=newest)
        recover = (RecoverCluster("recover postgres", "replay all available WAL and read every page", (fetch,)),)
        steps += [fetch, *recover]
    if files := tuple(part for part in parts if part != "postgres"):
        # After PostgreSQL: both read the same disk, and PostgreSQL is what everybody waits for.
        after = (*(aside[part] for part in files), *recover)
        unpack = FetchFiles("fetch files", f"fetch {', '.join(files)} of {found.set}", after, set=found.set,
                            repository=found.repository, parts=files)  # fmt: skip
        fills = [FillVolume(f"fill {part}", f"move {part} into its place", (unpack,), part=part) for part in files]
        steps += [unpack, *fills, RemoveFetched("tidy", "remove the unpacked files", tuple(fills))]
    return tuple(steps)


def _in_order(steps: tuple[Step, ...]) -> tuple[Step, ...]:
    """Each step behind all that it waits for; else as they were."""
    ordered: dict[str, Step] = {}
    left = list(steps)
    while left:
        ready = next((step for step in left if ordered.keys() >= set(step.after_keys)), left[0])
        left.remove(ready)
        ordered[ready.key] = ready
    return tuple(ordered.values())
