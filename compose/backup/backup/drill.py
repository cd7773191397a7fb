"""The proof: a set is restored into scratch space, started, read to its end and compared with its manifest."""

import shutil
import time
from datetime import UTC, datetime

from . import drills, fingerprint, logs_copy, manifest, pgbackrest, redis_copy, restic, scratch_postgres, scratch_redis, wal
from .catalog import Set
from .errors import JobError
from .log import log
from .paths import SCRATCH, STAGE
from .progress import Progress
from .repositories import Repository

RESERVE = 512 * 2**20
"""Bytes that stay free for the WAL that arrives meanwhile."""
FILES = SCRATCH / "files"


def run(chosen: Set, repository: Repository, local: Repository, progress: Progress) -> drills.Drill:
    """Raises JobError with the reason, after it was written to drills.jsonl."""
    started = time.monotonic()
    progress.event("start", set=chosen.name, repository=repository.name)
    found: dict = {}
    error = ""
    try:
        clean()
        must_fit(chosen.bytes, shutil.disk_usage(SCRATCH.parent).free)
        SCRATCH.mkdir(mode=0o700)
        _prove(chosen, repository, found, progress)
        found["data_loss"] = _loss(local, progress)
    except (JobError, OSError, KeyError) as failure:
        error = str(failure) or repr(failure)
    finally:
        clean()
    progress.phase("")
    result = drills.Drill(
        set=chosen.name, repository=repository.name, ended=datetime.now(UTC), seconds=round(time.monotonic() - started, 2),
        error=error, compared=found.get("compared", False), data_loss=found.get("data_loss"), seconds_of=progress.seconds,
        restored=found.get("restored", {}),
    )  # fmt: skip
    drills.append(result)
    if error:
        raise JobError(f"the set {chosen.name} of {repository.name} did not pass: {error}")
    return result


def must_fit(needed: int, free: int) -> None:
    """Raises JobError. Bytes; what a set holds once restored, and of the disk."""
    if needed * 1.1 + RESERVE > free:
        raise JobError(f"a drill needs {needed * 1.1 + RESERVE:,.0f} bytes of disk, {free:,} are free")


def _prove(chosen: Set, repository: Repository, found: dict, progress: Progress) -> None:
    held = chosen.repositories[repository.name]
    progress.phase("files", repository.name)
    restic.restore(repository, held["snapshot"], STAGE, FILES)
    listed = manifest.read(FILES, manifest.public_keys())
    if listed["set"] != chosen.name:
        raise JobError(f"the manifest is that of the set {listed['set']}")
    restored: dict = {}
    found["restored"] = restored
    if "host" in listed:
        if redis_copy.digest(FILES / "host.tar") != listed["host"]["sha256"]:
            raise JobError("host.tar is not the one of the manifest")
        restored["host_members"] = manifest.facts(FILES / "host.tar")["members"]
    torn = logs_copy.faults(FILES / "logs") if "logs" in listed else []
    if torn:
        raise JobError(f"parts of the log store are missing: {', '.join(torn[:3])}")
    if "redis" in listed:
        progress.phase("redis", repository.name)
        restored["redis"] = scratch_redis.prove(FILES / "redis.rdb", listed["redis"])
    _postgres(listed, held["label"], repository, found, progress)


def _postgres(listed: dict, label: str, repository: Repository, found: dict, progress: Progress) -> None:
    progress.phase("restore", repository.name)
    expected = listed["fingerprint"]
    pgbackrest.restore(repository, label, expected["lsn"], scratch_postgres.DATA)
    progress.phase("recovery", repository.name)
    with scratch_postgres.Server() as server:
        progress.phase("compare", repository.name)
        seen = fingerprint.look(server.reach, expected["databases"])
        if expected["exact"]:
            fingerprint.must_equal(expected["databases"], seen)
            found["compared"] = True
        found["restored"] |= fingerprint.summary(seen)
        # After the comparison: it adds its extension to every database.
        progress.phase("amcheck", repository.name)
        server.amcheck()


def _loss(local: Repository, progress: Progress) -> float | None:
    """None where it cannot be told, for instance while PostgreSQL is down: that is no fault of the backup."""
    progress.phase("data loss")
    try:
        return round(wal.measure_loss(local), 1)
    except JobError as error:
        log("WARNING", "the data loss could not be measured", error=str(error))
        return None


def clean() -> None:
    """What a killed drill has left holds data and secrets in the clear. Raises OSError where something of it stays."""
    if SCRATCH.is_dir():
        shutil.rmtree(SCRATCH)
