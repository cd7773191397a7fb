"""What the backup container says of its sets, jobs and failures, and which set is meant. Pure."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from typing import Any

from ops.core.amounts import age, size
from ops.core.errors import HostLacks, UsageProblem, did_you_mean
from ops.core.plan import STAMP

COMPONENTS = ("postgres", "redis", "prometheus", "logs", "alertmanager", "host")
SAFETY_DAYS = 3.0
"""How long a safety copy of a restore is kept where nobody removes it."""


@dataclass(frozen=True)
class Set:
    """One set. Sizes in bytes. `held`: repositories that hold all of it. `proved`: when a drill passed; None: never."""

    name: str
    kind: str
    made: datetime
    bytes: int
    added: int
    missing: tuple[str, ...]
    held: tuple[str, ...]
    proved: datetime | None
    error: str = ""
    """Why its last drill failed."""
    labels: Mapping[str, str] = field(default_factory=dict)
    """Repository -> label of pgBackRest's backup."""

    @property
    def inside(self) -> tuple[str, ...]:
        return tuple(name for name in COMPONENTS if name not in self.missing)


@dataclass(frozen=True)
class Status:
    """What there is. `until`: newest moment that can be restored."""

    sets: tuple[Set, ...]
    since: datetime | None
    until: datetime | None
    escrowed: bool
    problems: tuple[str, ...]
    repositories: tuple[Mapping[str, Any], ...] = ()


@dataclass(frozen=True)
class Safety:
    """What a restore has put aside. bytes: what removing it would free."""

    part: str
    stamp: str
    bytes: int


def moment(text: str | None) -> datetime | None:
    return datetime.fromisoformat(text).astimezone(UTC) if text else None


def read_status(report: Mapping[str, Any]) -> Status:
    """Raises ValueError for a report of another version."""
    if report.get("version") != 1:
        raise ValueError(f"the backup container reports in version {report.get('version')!r}, this program reads 1")
    restorable = report.get("restorable") or {}
    return Status(
        sets=tuple(_set(one) for one in report.get("sets", ())),
        since=moment(restorable.get("from")), until=moment(restorable.get("until")),
        escrowed=bool(report.get("key_escrowed")), problems=tuple(report.get("problems", ())),
        repositories=tuple(report.get("repositories", ())),
    )  # fmt: skip


def _set(one: Mapping[str, Any]) -> Set:
    held = one.get("repositories", {})
    return Set(
        name=one["set"], kind=one["kind"], made=datetime.fromisoformat(one["made_at"]).astimezone(UTC), bytes=one["bytes"],
        added=one["added_bytes"], missing=tuple(one["missing"]),
        held=tuple(name for name, place in held.items() if place.get("label") and place.get("snapshot")),
        proved=moment(one.get("proved_at")), error=str(one.get("drill_error") or ""),
        labels={name: place["label"] for name, place in held.items() if place.get("label")},
    )  # fmt: skip


def choose(status: Status, name: str) -> Set:
    """The set that was named. Raises UsageProblem, with a suggestion."""
    for one in status.sets:
        if one.name == name:
            return one
    if not status.sets:
        raise no_sets()
    raise UsageProblem(f"there is no set {name}", did_you_mean(name, [one.name for one in status.sets]), "inv backup.list")


def no_sets() -> HostLacks:
    return HostLacks("there is no backup yet", "no repository holds a set", "inv backup makes one")


def newest_with(status: Status, part: str, before: datetime | None = None) -> Set | None:
    """The newest set that holds a part, made at or before a moment."""
    fitting = [one for one in status.sets if part in one.inside and (before is None or one.made <= before)]
    return max(fitting, key=lambda one: one.made, default=None)


def narrowed(status: Status, repository: str) -> Status:
    """What there is when one repository alone is read.

    Raises UsageProblem for a name that is none, HostLacks where it holds nothing.
    """
    kind_of(status, repository)
    sets = tuple(
        replace(one, labels={repository: one.labels[repository]}, held=tuple(name for name in one.held if name == repository))
        for one in status.sets if repository in one.labels
    )  # fmt: skip
    if not sets:
        raise HostLacks(f"{repository} holds no set", "it cannot be read, or none was made yet", "inv backup.list")
    return replace(status, sets=sets, since=min(one.made for one in sets))


def kind_of(status: Status, repository: str) -> str:
    """folder, s3 or sftp. Raises UsageProblem, with a suggestion, for a name that is none."""
    kinds = {str(one["name"]): str(one["kind"]) for one in status.repositories}
    if repository not in kinds:
        raise UsageProblem(f"there is no repository {repository}", did_you_mean(repository, list(kinds)), "inv backup.list")
    return kinds[repository]


def number_of(status: Status, repository: str) -> int:
    """By which pgBackRest knows a repository."""
    return [str(one["name"]) for one in status.repositories].index(repository) + 1


def to_prove(status: Status, name: str, repository: str) -> Set | None:
    """The set of this name, or the newest one of which all is there; None where there is none."""
    fitting = [one for one in status.sets if repository in one.held and (one.name == name if name else not one.missing)]
    return max(fitting, key=lambda one: one.made, default=None)


def place_of(one: Set, part: str) -> str:
    """The repository to read from: the local one where it can be."""
    places = one.held or tuple(one.labels)
    if not places:
        raise HostLacks(f"no repository holds all of {one.name}", f"{part} cannot be read", "inv backup.list shows others")
    return "local" if "local" in places else places[0]


def rows(status: Status, now: datetime) -> list[tuple[str, ...]]:
    """A line for each set, newest first: name, age, kind, size, added, what is inside, proved, where."""
    return [
        (
            one.name, age((now - one.made).total_seconds()), one.kind, size(one.bytes), size(one.added),
            "all" if not one.missing else ", ".join(one.inside) or "nothing",
            f"{age((now - one.proved).total_seconds())} ago" if one.proved else "failed" if one.error else "unproved",
            ", ".join(one.held) or "-",
        )
        for one in status.sets
    ]  # fmt: skip


def places(status: Status, now: datetime) -> list[tuple[str, ...]]:
    """A line for each repository: name, kind, sets that it holds all of, age of the newest, used, free, a word on it."""
    lines: list[tuple[str, ...]] = []
    for one in status.repositories:
        held = [found.made for found in status.sets if one["name"] in found.held]
        used, free = (size(amount) if (amount := one.get(key)) is not None else "-" for key in ("used_bytes", "free_bytes"))
        newest = age((now - max(held)).total_seconds()) if held else "-"
        said = one.get("error") or ("append-only" if one.get("append_only") else "")
        lines.append((
            str(one["name"]), str(one["kind"]), str(len(held)), newest, used, free, str(said)
        ))  # fmt: skip
    return lines


def progress_of_job(event: Mapping[str, Any]) -> str:
    """One line of a job's progress, for whoever watches."""
    kind, phase, repository = event.get("event"), event.get("phase", ""), event.get("repository", "")
    where = f"{phase} ({repository})" if repository and repository != "local" else str(phase)
    if kind == "phase":
        return where
    if kind == "progress":
        done, total, rate = float(event.get("done", 0)), float(event.get("total", 0)), float(event.get("rate", 0))
        left = f", {age((total - done) / rate)} left" if rate > 0 and total >= done else ""
        return f"{where}: {size(done)} of {size(total)}, {size(rate)}/s{left}"
    return ""


def expendable(safeties: Iterable[Safety], now: datetime, days: float = SAFETY_DAYS) -> tuple[Safety, ...]:
    """Safety copies that have been kept for long enough."""
    return tuple(
        one for one in safeties
        if (now - datetime.strptime(one.stamp, STAMP).replace(tzinfo=UTC)).total_seconds() > days * 86400
    )  # fmt: skip


def newest_first(safeties: Sequence[Safety]) -> list[Safety]:
    return sorted(safeties, key=lambda one: (one.stamp, one.part), reverse=True)


KNOWN = (
    ("the repository's disk is full", "", "inv backup.prune, or a larger disk"),
    ("the key is not the one of|wrong password or no key found", "the key is not the one of this repository",
     "inv backup.key --import FILE, then inv deploy"),
    ("for greeting key 'version'", "pgBackRest has another version in postgres than in backup",
     "inv deploy builds both from this checkout"),
    ("ahead of the clock", "a clock is wrong or was wrong", "if it is right now: inv backup.prune --ahead; else set it"),
    ("is damaged", "", "docs/runbooks/BackupDamaged.md"),
)  # fmt: skip
"""Pattern of what a job says when it fails -> what that means (empty: its own words say it best), and the cure."""
ELSE = "inv logs backup --since 1h; inv backup.list"


def advice(error: str) -> tuple[str, str]:
    """(why a job failed, the next step). What is not known is passed on as it is."""
    for pattern, why, step in KNOWN:
        if re.search(pattern, error):
            return f"{why}: {error}" if why else error, step
    return error, ELSE
