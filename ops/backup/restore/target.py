"""What an operator means by a restore: which moment, which parts, which backups give them. Pure."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any

from ops.backup.restore.steps import TO_BE_LOOKED_UP
from ops.backup.sets import Set, Status, choose, narrowed, newest_with, no_sets, number_of, place_of
from ops.core.errors import HostLacks, UsageProblem, did_you_mean
from ops.stack.repositories import LOCAL

PARTS = ("postgres", "redis", "prometheus", "logs", "alertmanager")
DATA = ("postgres", "redis")
"""What is restored unless something else is asked for: metrics and logs show what happened since."""


@dataclass(frozen=True)
class Target:
    """Where to. At most one of set, at, xid, name, unless `set` says which backup to begin from; none: the newest point."""

    set: str = ""
    at: datetime | None = None
    xid: int | None = None
    name: str = ""
    timeline: str = ""
    repository: str = ""
    """The one to read; empty: the local one where it can be."""

    @property
    def words(self) -> str:
        if self.at:
            return f"{self.at:%Y-%m-%d %H:%M:%S} UTC"
        if self.xid is not None:
            return f"the moment before transaction {self.xid}"
        if self.name:
            return f"the point named {self.name}"
        return f"the set {self.set}" if self.set else "the newest point that is in the repository"


@dataclass(frozen=True)
class Chosen:
    """What is restored. `postgres`: options of pgBackRest, None: PostgreSQL stays as it is. files: part -> set."""

    target: Target
    postgres: tuple[str, ...] | None
    files: Mapping[str, Set] = field(default_factory=dict)
    compare: Set | None = None
    bytes: int = 0
    notes: tuple[str, ...] = ()
    others: tuple[str, ...] = ()
    """Labels of backups to begin from, newest first, where the one that pgBackRest takes is of a history that was given up."""

    @property
    def parts(self) -> tuple[str, ...]:
        return tuple(part for part in PARTS if part in self.files or (part == "postgres" and self.postgres is not None))


def read_time(text: str, zone: Any) -> datetime:
    """`2026-11-24 10:31:05`, in the host's time zone unless it names another (`+00:00`, `Z`).

    Raises UsageProblem for anything else.
    """
    try:
        said = datetime.fromisoformat(text.strip())
    except ValueError:
        raise UsageProblem(
            f'"{text}" is not a time', "it must look like 2026-11-24 10:31:05, or end in +00:00", "inv backup.list"
        ) from None
    return (said if said.tzinfo else said.replace(tzinfo=zone)).astimezone(UTC)


def read_parts(text: str) -> tuple[str, ...]:
    """`postgres,redis` or `all`; empty: what the target gives. Raises UsageProblem for a name that is none."""
    if text == "all":
        return PARTS
    names = tuple(name.strip() for name in text.split(",") if name.strip())
    for name in names:
        if name not in PARTS:
            raise UsageProblem(f"{name} cannot be restored", did_you_mean(name, [*PARTS, "all"]), "inv --help restore")
    return names


def select(target: Target, only: Sequence[str], status: Status, now: datetime) -> Chosen:
    """Which backups that means. Raises UsageProblem or HostLacks where there is none that could do it."""
    _refuse_impossible(target, now)
    if target.repository:
        status = narrowed(status, target.repository)
    if not status.sets:
        raise no_sets()
    given = [word for word, said in (("--at", target.at), ("--xid", target.xid is not None), ("--name", target.name)) if said]
    if len(given) > 1:
        raise UsageProblem(f"{' and '.join(given)} cannot both be meant", "each is a different point in time", "give one")
    named = choose(status, target.set) if target.set else None
    to_a_point = bool(given)
    parts = tuple(only) or (DATA if named or to_a_point else ("postgres",))
    notes: list[str] = []
    files: dict[str, Set] = {}
    for part in (part for part in parts if part != "postgres"):
        found = named if named and not to_a_point else newest_with(status, part, target.at)
        if found is None or part not in found.inside:
            if part in only or named:
                raise HostLacks(f"{part} cannot be restored", "no earlier set contains it", "inv backup.list; --only")
            notes.append(f"{part} stays as it is: no set from before that moment contains it")
            continue
        files[part] = found
        if to_a_point:
            notes.append(f"{part} is that of {found.name}: only PostgreSQL goes to any moment")
    if "postgres" not in parts:
        return Chosen(target, None, files, bytes=0, notes=tuple(notes))
    _refuse_unreachable(target, status)
    base = named or _base(target, status)
    options = (*_options(target, named if not to_a_point else None, base), *_repository(target, base, status))
    exact = named if named and not to_a_point else None
    others = () if base else _others(target, status)
    return Chosen(target, options, files, exact, (base or status.sets[0]).bytes, tuple(notes), others)


def _others(target: Target, status: Status) -> tuple[str, ...]:
    """Of the repository that is read, made before the moment that is meant."""
    fitting = (one for one in status.sets if target.at is None or one.made <= target.at)
    place = target.repository or LOCAL
    return tuple(one.labels[place] for one in fitting if place in one.labels)


def _repository(target: Target, base: Set | None, status: Status) -> tuple[str, ...]:
    """Which one pgBackRest is to read. By itself it takes the first that has a backup from before that moment."""
    place = place_of(base, "postgres") if base else target.repository
    return (f"--repo={number_of(status, place)}",) if place and len(status.repositories) > 1 else ()


def _refuse_impossible(target: Target, now: datetime) -> None:
    """What no repository can have: PostgreSQL would be stopped, would not find it, and would have to be started again."""
    if target.at and target.at > now:
        raise UsageProblem(
            f"{target.words} is in the future",
            f"it is {now:%Y-%m-%d %H:%M:%S} UTC now",
            "inv backup.list shows what can be restored",
        )
    if target.timeline and not re.fullmatch(r"latest|current|0*[1-9]\d{0,8}|0x[0-9a-fA-F]{1,8}", target.timeline):
        raise UsageProblem(
            f'there is no timeline "{target.timeline}"', "it is a number, current or latest", "inv --help restore"
        )


def _refuse_unreachable(target: Target, status: Status) -> None:
    if target.at and status.since and target.at < status.since:
        raise HostLacks(
            f"{target.words} is too early", f"the oldest moment that can be restored is {status.since:%Y-%m-%d %H:%M:%S} UTC",
            "inv backup.list; another repository may keep more",
        )  # fmt: skip


def _base(target: Target, status: Status) -> Set | None:
    """The backup to begin from, where pgBackRest would not find it by itself: it takes the newest for them."""
    if target.xid is None and not target.name:
        return None
    for one in status.sets:
        if one.name == target.name:
            return one
    return min((one for one in status.sets if one.labels), key=lambda one: one.made, default=None)


def _options(target: Target, exact: Set | None, base: Set | None) -> tuple[str, ...]:
    options: list[str] = []
    if base:
        place = place_of(base, "postgres")
        options.append(f"--set={base.labels[place]}")
    if exact:
        # That place lies on the timeline of its backup, whatever other ones have come into being since.
        return (*options, "--type=lsn", TO_BE_LOOKED_UP, "--target-exclusive", "--target-timeline=current",
                "--target-action=promote")  # fmt: skip
    if target.at:
        options += ["--type=time", f"--target={target.at:%Y-%m-%d %H:%M:%S.%f}+00"]
    elif target.xid is not None:
        options += ["--type=xid", f"--target={target.xid}", "--target-exclusive"]
    elif target.name:
        options += ["--type=name", f"--target={target.name}"]
    else:
        options += ["--type=default"]
    if target.at or target.xid is not None or target.name:
        options.append("--target-action=promote")
    if target.timeline:
        options.append(f"--target-timeline={target.timeline}")
    return tuple(options)
