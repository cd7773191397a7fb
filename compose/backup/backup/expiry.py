"""What is no longer wanted goes: backups beyond the number to keep, the WAL and the files that belong to them alone."""

import shutil
from collections.abc import Iterable
from datetime import datetime
from pathlib import Path

from . import catalog, pgbackrest, reserve, restic
from .errors import JobError
from .log import log
from .paths import PGBACKREST_CONF, VOLUME
from .repositories import LOCAL, Repository

FORMER = VOLUME / "redis"
"""Copies of Redis as they were made before there were sets."""


def expire(
    repositories: Iterable[Repository], found: Iterable[catalog.Set], *, force: bool = False, conf: Path = PGBACKREST_CONF
) -> dict[str, str]:
    """Repository -> what was done. Nothing is ever removed from an append-only one with this host's own credentials.

    force: also where the last set that is proved would go.
    Raises JobError with the errors of all repositories, after every one was tried.
    """
    done, errors = {}, []
    sets = tuple(found)
    for repository in repositories:
        if repository.append_only and not repository.given:
            done[repository.name] = "append-only: nothing is removed"
        elif not force and not catalog.may_expire(sets, repository.name, repository.keep):
            done[repository.name] = "kept: no newer set is proved"
            log("WARNING", "nothing is expired: the only proved set would go", repository=repository.name)
        else:
            try:
                with reserve.lent(repository.folder):
                    done[repository.name] = _one(repository, conf)
            except JobError as error:
                errors.append(f"{repository.name}: {error}")
    if errors:
        raise JobError("; ".join(errors))
    if any(one.proved_at and one.within(LOCAL) for one in sets):
        shutil.rmtree(FORMER, ignore_errors=True)
    return done


def expire_ahead(repositories: Iterable[Repository], now: datetime) -> dict[str, str]:
    """Removes what is from the future, made while the clock was ahead: pgBackRest makes no backup that would be older than one
    that it has. Repository -> what was done.

    Raises JobError, before anything is removed, where nothing would be left: then it is the present clock that is wrong.
    """
    limit, done = now + catalog.AHEAD, {}
    chosen = [one for one in repositories if not one.append_only]
    for repository in chosen:
        held = pgbackrest.info(repository).backups
        if held and all(one.start > limit for one in held):
            raise JobError(
                f"all backups of {repository.name} are from the future: this host's clock is wrong ({now:%F %T} UTC)"
            )
    for repository in chosen:
        with reserve.lent(repository.folder):
            done[repository.name] = _later(repository, limit)
    return done


def _later(repository: Repository, limit: datetime) -> str:
    before = pgbackrest.info(repository).backups
    for backup in sorted((one for one in before if one.start > limit), key=lambda one: one.start):
        # A full one takes along those that build upon it.
        if any(one.label == backup.label for one in pgbackrest.info(repository).backups):
            pgbackrest.run("expire", f"--repo={repository.number}", f"--set={backup.label}")
    pgbackrest.forget_history(repository, limit)
    gone = [one.id for one in restic.snapshots(repository) if one.made_at > limit]
    restic.prepare(repository)
    restic.forget(repository, gone, prune=True)
    left = pgbackrest.info(repository).backups
    return f"{len(before) - len(left)} backups and {len(gone)} snapshots removed"


def _one(repository: Repository, conf: Path) -> str:
    before = pgbackrest.info(repository, conf)
    if before.error and not before.backups:
        raise JobError(before.error)
    pgbackrest.run("expire", f"--repo={repository.number}", conf=conf)
    left = pgbackrest.info(repository, conf)
    gone = catalog.forgettable(restic.snapshots(repository), left.backups)
    restic.prepare(repository)
    restic.forget(repository, gone, prune=True)
    return f"{len(before.backups) - len(left.backups)} backups and {len(gone)} snapshots removed"
