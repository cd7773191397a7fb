"""One set: PostgreSQL in every repository by pgBackRest, all else as one snapshot of restic, tied by a signed manifest."""

import os
import shutil
import time
from collections.abc import Callable, Mapping, Sequence
from datetime import UTC, datetime
from pathlib import Path

from . import fingerprint, logs_copy, manifest, pgbackrest, redis_copy, restic, wal
from .errors import CommandError, JobError
from .log import log
from .paths import DATA, HOST, STAGE
from .progress import Progress
from .repositories import Repository

KINDS = ("full", "diff", "incr")
COMPONENTS = ("postgres", "redis", "prometheus", "logs", "alertmanager", "host")
HOST_ARCHIVE = "host.tar"
EXCLUDED = (
    # Of Prometheus: half-made and half-deleted blocks, and what it makes anew.
    f"{DATA}/prometheus/*.tmp-for-*", f"{DATA}/prometheus/lock", f"{DATA}/prometheus/queries.active",
    f"{DATA}/prometheus/chunks_head.tmp", f"{DATA}/prometheus/wal/checkpoint.*.tmp",
    # What a restore has put aside.
    f"{DATA}/*/.before-*", f"{DATA}/*/.partial-*", f"{DATA}/*/.returning-*", f"{DATA}/*/.discarded", f"{DATA}/*/.restoring",
)  # fmt: skip
ATTEMPTS = 3


def name_at(moment: datetime) -> str:
    return moment.strftime(restic.STAMP)


def make(kind: str, repositories: Sequence[Repository], progress: Progress, gone: Mapping[str, str] | None = None) -> dict:
    """Makes one set. A further repository that fails fails alone: the set is then in the others.

    gone: those that are not even asked -> why.

    Returns {set, kind, missing, failed: {repository: error}, …}. Raises JobError where the local repository got none.
    """
    name = name_at(datetime.now(UTC))
    progress.event("start", set=name, kind=kind)
    clean()
    STAGE.mkdir(mode=0o700)
    try:
        return _make(name, kind, repositories, progress, dict(gone or {}))
    finally:
        clean()


def _make(name: str, kind: str, repositories: Sequence[Repository], progress: Progress, failed: dict[str, str]) -> dict:
    labels = _postgres(name, kind, repositories, failed, progress)
    progress.phase("fingerprint")
    prints = fingerprint.take()
    segment = wal.mark(name)
    missing: list[str] = []
    parts: dict = {"labels": labels, "fingerprint": {**prints, "segment": segment}, "missing": missing}
    paths = _gather(parts, missing, progress)
    parts |= {"tools": manifest.tools(), "public_key": manifest.public_key(), "made_at": datetime.now(UTC).isoformat()}
    manifest.write(manifest.build(name=name, kind=kind, project=os.environ.get("PROJECT", ""), parts=parts), STAGE)
    snapshot = _snapshot(repositories[0], name, kind, missing, [STAGE, *paths], parts, progress)
    for repository in repositories[1:]:
        if repository.name not in failed:
            _elsewhere(repositories[0], repository, snapshot, failed, progress)
    progress.phase("")
    for repository, error in failed.items():
        log("ERROR", "the set is not in this repository", set=name, repository=repository, error=error)
    return {"set": name, "kind": kind, "missing": missing, "failed": failed, "labels": labels, "snapshot": snapshot,
            "exact": prints["exact"], "seconds_of": progress.seconds}  # fmt: skip


def _postgres(
    name: str, kind: str, repositories: Sequence[Repository], failed: dict[str, str], progress: Progress
) -> dict[str, str]:  # fmt: skip
    stanzas(repositories)
    labels = {}
    for repository in repositories:
        progress.phase("postgres", repository.name)
        try:
            if not repository.append_only:
                pgbackrest.remove_halves(repository)
            labels[repository.name] = pgbackrest.backup(repository, kind, name, progress)
        except JobError as error:
            if repository is repositories[0]:
                raise _told(repository, error) from None
            failed[repository.name] = str(error)
    return labels


def _told(repository: Repository, error: JobError) -> JobError:
    """pgBackRest takes what a wrong key gives for a damaged list; restic knows a wrong key for sure."""
    try:
        restic.snapshots(repository)
    except CommandError as other:
        if other.returncode == restic.WRONG_KEY:
            return JobError(f"the key is not the one of the repository {repository.name}: {error}")
    except JobError:
        pass
    return error


def stanzas(repositories: Sequence[Repository]) -> None:
    """Only where there is none: `backup` itself refuses when PostgreSQL was created anew, and the old cluster's backups are
    then safe until somebody decides (`backup stanza-upgrade`). Before any backup, since no WAL counts as archived before."""
    if any(pgbackrest.info(repository).stanza_missing for repository in repositories):
        try:
            pgbackrest.create_stanza()
        except JobError as error:
            # It creates them one after the other: one repository that does not answer stops it behind the local one.
            if pgbackrest.info(repositories[0]).stanza_missing:
                raise
            log("WARNING", "not every stanza could be created", error=str(error))


def _gather(parts: dict, missing: list[str], progress: Progress) -> list[Path]:
    """Everything but PostgreSQL. What cannot be had is noted as missing: the rest is worth having without it."""
    paths: list[Path] = []

    def component(name: str, gather: Callable[[], None]) -> None:
        progress.phase(name)
        try:
            gather()
        except (JobError, OSError) as error:
            missing.append(name)
            level = "INFO" if name == "host" and isinstance(error, FileNotFoundError) else "WARNING"
            log(level, "the set goes without a component", component=name, error=str(error))

    def prometheus() -> None:
        parts["prometheus"] = {"blocks": manifest.prometheus_blocks()}
        paths.append(DATA / "prometheus")

    marked: list[float] = []

    def logs() -> None:
        paths.extend(logs_copy.stage(STAGE / "logs", marked[0]))
        parts["logs"] = {"days": [day for day, _ in logs_copy.partitions()]}

    def alertmanager() -> None:
        parts["alertmanager"] = {"files": sorted(path.name for path in (DATA / "alertmanager").iterdir())}
        paths.append(DATA / "alertmanager")

    def host() -> None:
        # Copied: the host may replace it at any time, and the hash below is of what is stored.
        copy = STAGE / HOST_ARCHIVE
        shutil.copyfile(HOST / HOST_ARCHIVE, copy)
        parts["host"] = {"sha256": redis_copy.digest(copy), "bytes": copy.stat().st_size, **manifest.facts(copy)}

    def redis() -> None:
        parts["redis"] = redis_copy.take(STAGE / "redis.rdb")

    component("logs", lambda: marked.append(logs_copy.mark(STAGE / "logs")))
    for name, gather in (("redis", redis), ("prometheus", prometheus), ("alertmanager", alertmanager), ("host", host)):
        component(name, gather)
    if marked:
        component("logs", logs)
    return paths


def _snapshot(
    local: Repository, name: str, kind: str, missing: Sequence[str], paths: Sequence[Path], parts: dict, progress: Progress
) -> str:  # fmt: skip
    progress.phase("files", local.name)
    restic.prepare(local)
    for attempt in range(1, ATTEMPTS + 1):
        try:
            made = restic.backup(local, name, kind, missing, paths, EXCLUDED, progress)
        except JobError as error:
            # Files of Prometheus come and go: what was read half is taken once more.
            if attempt == ATTEMPTS:
                raise
            log("WARNING", "taking the files again", error=str(error))
            _drop(local, name)
            time.sleep(2)
            continue
        stored = restic.names_below(local, made, DATA / "prometheus")
        if set(parts.get("prometheus", {}).get("blocks", ())) <= stored:
            return made
        _drop(local, name)
    raise JobError("Prometheus replaced its blocks faster than they could be read")


def _drop(local: Repository, name: str) -> None:
    restic.forget(local, [one.id for one in restic.snapshots(local) if one.set == name], prune=False)


def _elsewhere(
    local: Repository, repository: Repository, snapshot: str, failed: dict[str, str], progress: Progress
) -> None:  # fmt: skip
    progress.phase("files", repository.name)
    try:
        restic.prepare(repository, local)
        restic.copy(local, repository, [snapshot])
    except JobError as error:
        failed[repository.name] = str(error)


def clean() -> None:
    """What a killed run has left holds secrets in the clear. Raises OSError where something of it stays."""
    if STAGE.is_dir():
        shutil.rmtree(STAGE)
