"""What the repositories really hold, as the tools and the files say, whatever any job reported."""

import contextlib
import os
import shutil
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from pathlib import Path

from . import away, catalog, pgbackrest, restic, wal
from . import drills as records
from .errors import JobError
from .paths import HOST, POSTGRES
from .repositories import LOCAL, Repository
from .repositories import PATH as LIST

REMOTE_EVERY = 3600
"""Seconds between two looks at a repository beyond this host, besides the one after each job."""

FULL_BYTES = 32 << 20
"""Less than two segments of WAL: nothing is archived any more."""


@dataclass(frozen=True)
class Place:
    """One repository as last seen. Bytes; None where they cannot be told."""

    name: str
    kind: str
    append_only: bool
    seen: datetime
    error: str = ""
    away: bool = False
    """Whether its machine does not answer: the rest is then as it was seen before."""
    backups: tuple[pgbackrest.Backup, ...] = ()
    snapshots: tuple[restic.Snapshot, ...] = ()
    wal_min: str | None = None
    wal_max: str | None = None
    used_bytes: int | None = None
    free_bytes: int | None = None
    total_bytes: int | None = None
    files: frozenset[str] = frozenset()

    @property
    def full(self) -> bool:
        return self.free_bytes is not None and self.free_bytes < FULL_BYTES


@dataclass(frozen=True)
class Seen:
    """Everything at one moment. `sample`: PostgreSQL's side of the archive, None while it does not answer."""

    places: Mapping[str, Place] = field(default_factory=dict)
    drills: tuple[records.Drill, ...] = ()
    sets: tuple[catalog.Set, ...] = ()
    wal_archived: datetime | None = None
    sample: wal.Sample | None = None
    escrowed: bool = False
    declared: datetime | None = None
    """When the list of further repositories was last written."""


def look(repositories: Sequence[Repository], before: Seen | None = None, *, everywhere: bool = True) -> Seen:
    """Parameters: what was seen last; whether to look beyond this host even if that was a short while ago."""
    now = datetime.now(UTC)
    _, gone = away.split(repositories)
    places = {}
    for repository in repositories:
        former = before.places.get(repository.name) if before else None
        fresh = former and not former.error and (now - former.seen).total_seconds() < REMOTE_EVERY
        if repository.name in gone:
            # What it held it holds still, as far as anybody knows.
            known = former or Place(repository.name, repository.kind, repository.append_only, now)
            places[repository.name] = replace(known, error=gone[repository.name], away=True)
        elif former and repository.remote and fresh and not everywhere:
            places[repository.name] = former
        else:
            places[repository.name] = _place(repository, former, now)
    done = tuple(records.read())
    found = catalog.sets(
        {name: place.backups for name, place in places.items()}, {name: place.snapshots for name, place in places.items()}, done
    )
    return Seen(places, done, found, _newest_wal(), _sample(), (HOST / "escrowed").exists(), _declared())


def _place(repository: Repository, former: Place | None, now: datetime) -> Place:
    info = pgbackrest.info(repository)
    place = Place(
        repository.name, repository.kind, repository.append_only, now, error=info.error, backups=info.backups,
        wal_min=info.wal_min, wal_max=info.wal_max,
    )  # fmt: skip
    files = restic.snapshot_files() if repository.name == LOCAL else frozenset()
    if former and former.files == files and former.snapshots and repository.name == LOCAL:
        place = replace(place, snapshots=former.snapshots, files=files)
    elif info.code != pgbackrest.UNREACHABLE:
        try:
            place = replace(place, snapshots=tuple(restic.snapshots(repository)), files=files)
        except JobError as error:
            place = replace(place, error=place.error or str(error))
    return replace(place, **_space(repository.folder)) if repository.folder else place


def _space(folder: Path) -> dict[str, int]:
    with contextlib.suppress(OSError):
        usage = shutil.disk_usage(folder)
        return {"used_bytes": bytes_below(folder), "free_bytes": usage.free, "total_bytes": usage.total}
    return {}


def _sample() -> wal.Sample | None:
    with contextlib.suppress(JobError, OSError):
        return wal.sample()
    return None


def _declared() -> datetime | None:
    with contextlib.suppress(FileNotFoundError):
        return datetime.fromtimestamp(LIST.stat().st_mtime, UTC)
    return None


def _newest_wal() -> datetime | None:
    found = pgbackrest.segments(POSTGRES / "archive" / "main")
    return datetime.fromtimestamp(max(at for _, at in found), UTC) if found else None


def bytes_below(root: Path) -> int:
    total = 0
    for folder, _, names in os.walk(root):
        for name in names:
            with contextlib.suppress(FileNotFoundError):  # expired while we looked
                total += Path(folder, name).stat().st_size
    return total
