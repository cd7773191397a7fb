"""Back to an earlier state: what is meant, what it costs, in which order it is done, and how it is taken back. Pure."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any

from ops.backup.restore.steps import (
    AddReceived,
    AgreeSecrets,
    CheckSpace,
    CompareSet,
    DropSafety,
    FetchCluster,
    FetchFiles,
    FillVolume,
    ForgetRestore,
    PutBack,
    RecoverCluster,
    RememberRestore,
    RemoveFetched,
    SetAside,
    VerifyRestored,
)
from ops.backup.sets import Safety, place_of, size
from ops.backup.steps import RunJob, WriteHostArchive
from ops.backup.target import PARTS, TO_BE_LOOKED_UP, Chosen, Target
from ops.core.errors import HostLacks
from ops.core.plan import Plan, Step
from ops.deploy.resource_steps import CreateVolume, EndSupervision, Supervise
from ops.deploy.steps import AwaitHealthy, CreateContainers, StartContainer, StopContainer
from ops.lifecycle.plan import stop_order
from ops.secrets import verifying as handing
from ops.secrets.table import BY_API
from ops.stack.durations import grace
from ops.stack.model import Account, Seen, Stack
from ops.stack.render import volume_name

VERB = "restore"
VOLUMES = {
    "postgres": "postgres-data", "redis": "redis-data", "prometheus": "prometheus-data", "logs": "logs-data",
    "alertmanager": "alertmanager-data",
}  # fmt: skip
RECEIVER_SECRET = "postgres-receiver"  # noqa: S105  (a name)
"""A release without it knows no receiver."""
ROLE_SECRET = "postgres-keycloak"  # noqa: S105  (a name)
RESERVE = 512 << 20
SAFETY_DAYS = 3.0
"""How long a safety copy is kept where nobody removes it."""
RECOVERY_SECONDS = 6 * 3600
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
    until: datetime | None = None


class _Sequence:
    """Steps one after the other; `beside` adds one that need not be waited for."""

    def __init__(self) -> None:
        self.steps: list[Step] = []
        self.after: tuple[str, ...] = ()

    def add(self, *steps: Step) -> None:
        """Steps that may run side by side, after all before them."""
        found = [type(step)(**{**step.__dict__, "after": self.after}) for step in steps]
        self.steps += found
        if found:
            self.after = tuple(step.key for step in found)


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

    Parameters
    ----------
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
        "stamp": stamp, "parts": list(parts), "target": chosen.target.told, "stopped": list(stopped),
    }))  # fmt: skip
    line.add(
        *(SetAside(f"aside {part}", f"move the present {part} to a safety copy", part=part, stamp=stamp) for part in parts)
    )
    _fill(line, chosen, stack)
    start(line, stack, facts, stopped, chosen)
    verify_secrets(line, facts, (*stopped, *(["backup"] if chosen.postgres is not None else [])))
    line.add(VerifyRestored("verify", "verify: a login, a read and a write"))
    line.add(Supervise("supervise", "start the health supervisor", content=facts.supervise, version=facts.version))
    line.add(ForgetRestore("forget", "record the end of the restore"))
    line.add(WriteHostArchive("archive", "archive settings, secrets and releases for the backup"))
    if chosen.postgres is not None:
        line.add(RunJob("full", "make a full set of the new timeline", argv=("set", "--kind", "full"), grave=False))
    notes = [f"restores {', '.join(parts)} to {chosen.target.told}", *chosen.notes]
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
    graces = {slot: grace(one) for one in services for slot in (*one.slots(), one.surge_slot)}
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
        line.add(RecoverCluster("recover postgres", "replay to the target and read every page", deadline=RECOVERY_SECONDS))
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

    Parameters
    ----------
    chosen: what is restored; None where the data from before a restore is restored.
    """
    for name in names:
        service = stack.services[name]
        slots = [slot for slot in service.slots() if slot in facts.seen.containers or (chosen and not service.optional)]
        line.add(*(StartContainer(f"start {slot}", f"start {slot}", slot=slot) for slot in slots))
        line.add(*(
            AwaitHealthy(f"healthy {slot}", f"wait for {slot}", slot=slot, deadline=service.start_seconds) for slot in slots
        ))  # fmt: skip
        if slots:
            line.add(*handing.present(service, facts.secrets))
        if name == "postgres" and chosen and chosen.compare:
            # After the present secrets: the backup container, which compares, logs in with its own.
            place, title = place_of(chosen.compare, "postgres"), f"compare with the manifest of {chosen.compare.name}"
            line.add(CompareSet("compare", title, set=chosen.compare.name, repository=place))
        if name == "keycloak" and slots:
            line.add(AgreeSecrets("agree", "set the current secrets of Keycloak's clients and users"))


def verify_secrets(line: _Sequence, facts: Facts, owners: Iterable[str]) -> None:
    """Log in with every secret that one of these services verifies; its retired value must be refused."""
    steps = handing.verified(facts.stack, owners, facts.secrets, facts.retired)
    line.add(*(step for step in steps if Account.parse(step.to).kind not in BY_API))
    for step in steps:
        # Keycloak refuses a login of a user while another login of the same user is in progress.
        line.add(*([step] if Account.parse(step.to).kind in BY_API else []))


def _losses(chosen: Chosen, facts: Facts, stamp: str) -> tuple[str, ...]:
    said = []
    for part in chosen.parts:
        now = f" ({size(facts.sizes[part])} now)" if part in facts.sizes else ""
        if part == "postgres":
            target = chosen.target
            since = "what was not in the repository yet" if chosen.target == Target() else f"everything after {target.told}"
            said.append(f"in PostgreSQL, all databases{now}: {since}")
        else:
            said.append(f"{part}{now}: everything after {chosen.files[part].made:%Y-%m-%d %H:%M:%S} UTC")
    kept = f"the present state is kept as {stamp} for {SAFETY_DAYS:.0f} days: inv restore --undo restores it"
    return (*said, f"({kept})")


def _put_back(line: _Sequence, left: Mapping[str, Any], stack: Stack, seen: Seen, *, remember: bool = False) -> None:
    """Give the previous data its place again. Everything that the restore has stopped is stopped first.

    Parameters
    ----------
    remember: whether nothing is written down yet that an interrupted command could be resumed from.
    """
    names = [name for name in left["stopped"] if name in stack.services]
    line.add(*([EndSupervision("supervise first", "stop the health supervisor")] if seen.ticker else []))
    _stop(line, stack, seen, names, already=False)
    if remember:
        line.add(RememberRestore("remember first", "record the start of the undo", content={**left, UNDO: True}))
    line.add(*(
        PutBack(f"back {part}", f"restore the previous {part}", part=part, stamp=str(left["stamp"]))
        for part in left["parts"]
    ))  # fmt: skip
    # Whatever becomes of that: the services must start again.
    line.add(RemoveFetched("tidy first", "remove the unpacked files", grave=False))


def plan_undo(left: Mapping[str, Any], facts: Facts) -> Plan:
    """Back to the data from before a restore that was interrupted, has failed or is done, with the present secrets.

    Nothing is forgotten before every login works: the same command resumes one that was interrupted.

    Parameters
    ----------
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
        line.add(RunJob("full", "make a full set of the new timeline", argv=("set", "--kind", "full"), grave=False))
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
        DropSafety(f"drop {one.part} {one.stamp}",
                   f"remove the safety copy of {one.part} from before {one.stamp} ({size(one.bytes)})",
                   part=one.part, stamp=one.stamp)
        for one in safeties
    )  # fmt: skip


def progress_of(line: str) -> str:
    """What a line of pgBackRest's log says about how far it is; empty: nothing."""
    match = re.search(r"restore file (\S+) \(([^,]+), ([0-9.]+)%\)", line)
    return f"{match[3]} %, {match[2]} of {match[1].rpartition('/')[2]}" if match else ""
