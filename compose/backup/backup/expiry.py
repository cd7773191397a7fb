"""What is no longer wanted goes: backups beyond the number to keep, the WAL and the files that belong to them alone."""

import shutil
from collections.abc import Iterable
from pathlib import Path

from . import catalog, pgbackrest, restic
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

    Parameters
    ----------
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
                done[repository.name] = _one(repository, conf)
            except JobError as error:
                errors.append(f"{repository.name}: {error}")
    if errors:
        raise JobError("; ".join(errors))
    if any(one.proved_at and one.within(LOCAL) for one in sets):
        shutil.rmtree(FORMER, ignore_errors=True)
    return done


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
