"""/status: what `inv backup.list`, `inv status` and `backup status` show. Pure."""

from dataclasses import asdict
from datetime import datetime

from .catalog import Set
from .observe import Place
from .settings import Settings
from .state import State, problems, warnings

VERSION = 1


def status(state: State, settings: Settings, now: datetime) -> dict:
    """Times as datetime, sizes in bytes. docs/reference/backup.md lists the fields."""
    found = problems(state, settings, now)
    done = state.done(now)
    seen = state.seen
    return {
        "version": VERSION,
        "healthy": not found,
        "problems": found,
        "warnings": warnings(state, now),
        "running": state.running,
        "seen": state.seen_at,
        "sets": [_set(one, now) for one in seen.sets],
        "restorable": {
            "from": min((one.restorable_from for one in seen.sets if one.restorable_from), default=None),
            "until": seen.wal_archived,
        },
        "repositories": [_place(place) for place in seen.places.values()],
        "wal": {"archived_at": seen.wal_archived, **(asdict(seen.sample) if seen.sample else {})},
        "last_success": asdict(done),
        "last_drill": asdict(seen.drills[-1]) | {"passed": seen.drills[-1].passed} if seen.drills else None,
        "key_escrowed": seen.escrowed,
        "jobs": {job: asdict(entry) for job, entry in state.entries.items()},
    }


def _set(one: Set, now: datetime) -> dict:
    drill = one.drill
    return {
        "set": one.name,
        "kind": one.kind,
        "made_at": one.made_at,
        "age_seconds": round((now - one.made_at).total_seconds()),
        "bytes": one.bytes,
        "added_bytes": one.added_bytes,
        "complete": one.complete,
        "missing": list(one.missing),
        "repositories": {name: dict(held) for name, held in one.repositories.items()},
        "restorable_from": one.restorable_from,
        "proved_at": one.proved_at,
        "compared": bool(drill and drill.compared),
        "drill_error": drill.error if drill else "",
    }


def _place(place: Place) -> dict:
    return {
        "name": place.name,
        "kind": place.kind,
        "append_only": place.append_only,
        "error": place.error,
        "seen": place.seen,
        "backups": len(place.backups),
        "snapshots": len(place.snapshots),
        "wal_min": place.wal_min,
        "wal_max": place.wal_max,
        "used_bytes": place.used_bytes,
        "free_bytes": place.free_bytes,
        "total_bytes": place.total_bytes,
    }
