"""Which sets there are, what is in them, and which of them are proved. Pure: what the tools said in, one view out."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from datetime import datetime, timedelta

from .drills import Drill
from .pgbackrest import Backup
from .restic import Snapshot

AHEAD = timedelta(minutes=5)
"""A set from further in the future was made while the clock was wrong."""


@dataclass(frozen=True)
class Set:
    """One set over all repositories. `repositories`: name -> {label, snapshot}, each of them empty where it is missing."""

    name: str
    kind: str
    made_at: datetime
    bytes: int
    added_bytes: int
    missing: tuple[str, ...]
    repositories: Mapping[str, Mapping[str, str]]
    restorable_from: datetime | None
    proved_at: datetime | None = None
    drill: Drill | None = None

    @property
    def complete(self) -> bool:
        return not self.missing

    def within(self, repository: str) -> bool:
        """Whether all of it is in this repository."""
        held = self.repositories.get(repository, {})
        return bool(held.get("label") and held.get("snapshot"))


@dataclass
class _Found:
    labels: dict[str, Backup] = field(default_factory=dict)
    snapshots: dict[str, Snapshot] = field(default_factory=dict)


def sets(
    backups: Mapping[str, Iterable[Backup]], snapshots: Mapping[str, Iterable[Snapshot]], drills: Iterable[Drill]
) -> tuple[Set, ...]:  # fmt: skip
    """Newest first. Parameters: repository -> what it holds; the drills, oldest first."""
    found: dict[str, _Found] = {}
    for repository, held in backups.items():
        for backup in held:
            # One from before there were sets, or made by hand.
            found.setdefault(backup.set or backup.label, _Found()).labels[repository] = backup
    for repository, taken in snapshots.items():
        for snapshot in taken:
            found.setdefault(snapshot.set, _Found()).snapshots[repository] = snapshot
    by_set: dict[str, list[Drill]] = {}
    for drill in drills:
        by_set.setdefault(drill.set, []).append(drill)
    views = [_view(name, one, by_set.get(name, [])) for name, one in found.items()]
    return tuple(sorted(views, key=lambda one: one.made_at, reverse=True))


def _view(name: str, found: _Found, drills: list[Drill]) -> Set:
    backup = next(iter(found.labels.values()), None)
    snapshot = next(iter(found.snapshots.values()), None)
    missing = list(snapshot.missing) if snapshot else ["redis", "prometheus", "logs", "alertmanager", "host"]
    if backup is None:
        missing.insert(0, "postgres")
    passed = [drill for drill in drills if drill.passed]
    return Set(
        name=name,
        kind=backup.kind if backup else snapshot.kind,
        made_at=snapshot.made_at if snapshot else backup.stop,
        bytes=(backup.database_bytes if backup else 0) + (snapshot.total_bytes if snapshot else 0),
        added_bytes=(backup.repository_bytes if backup else 0) + (snapshot.added_bytes if snapshot else 0),
        missing=tuple(missing),
        repositories={
            repository: {
                "label": found.labels[repository].label if repository in found.labels else "",
                "snapshot": found.snapshots[repository].id[:8] if repository in found.snapshots else "",
            }
            for repository in sorted(found.labels.keys() | found.snapshots.keys())
        },
        restorable_from=backup.stop if backup else None,
        proved_at=passed[-1].ended if passed else None,
        drill=drills[-1] if drills else None,
    )  # fmt: skip


def last(found: Iterable[Set], now: datetime, repository: str, component: str, kinds: Iterable[str] = ()) -> datetime | None:
    """When the newest set with this component in this repository was made. Sets from the future do not count."""
    wanted = tuple(kinds)
    return max(
        (
            one.made_at for one in found
            if one.made_at <= now + AHEAD and component not in one.missing and (not wanted or one.kind in wanted)
            and one.repositories.get(repository, {}).get("label" if component == "postgres" else "snapshot")
        ),
        default=None,
    )  # fmt: skip


def from_future(found: Iterable[Set], now: datetime) -> list[str]:
    return [one.name for one in found if one.made_at > now + AHEAD]


def to_drill(found: Iterable[Set], repository: str) -> Set | None:
    """The newest set of which all is in this repository."""
    return next((one for one in found if one.within(repository)), None)


def forgettable(taken: Iterable[Snapshot], backups: Iterable[Backup]) -> list[str]:
    """Snapshots older than every backup of PostgreSQL that is left. None where no backup is known: that may be a failure to
    look."""
    starts = [backup.start for backup in backups]
    return [one.id for one in taken if starts and one.made_at < min(starts) - timedelta(minutes=1)]


def may_expire(found: Iterable[Set], repository: str, keep: int) -> bool:
    """Whether what expiring would leave holds a proved set, or no set is proved at all yet and enough are kept.

    When every newer drill fails, the last set that is known to be good must not be expired away.
    """
    held = sorted((one for one in found if one.repositories.get(repository, {}).get("label")), key=lambda one: one.made_at)
    fulls = [one.made_at for one in held if one.kind == "full"]
    if len(fulls) <= keep:
        return True
    oldest_left = fulls[-keep]
    proved = [one.made_at for one in held if one.proved_at]
    return not proved or proved[-1] >= oldest_left
