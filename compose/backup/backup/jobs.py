"""The jobs. Each runs under one lock, is written to the journal, and counts only when its tool says success."""

import contextlib
import fcntl
import shutil
import socket
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from datetime import UTC, datetime

from . import (
    away,
    catalog,
    configuration,
    drill,
    expiry,
    journal,
    keys,
    lists,
    observe,
    pgbackrest,
    receiver,
    reserve,
    restic,
    sets,
    wal,
)
from .errors import CommandError, JobError, Unreached
from .log import log
from .paths import RUN, VOLUME
from .progress import Progress
from .repositories import LOCAL, Repository

LOCK = RUN / "job.lock"
LOCK_SECONDS = 6 * 3600
"""As long as the longest job may take."""


@contextlib.contextmanager
def job_lock(seconds: float = LOCK_SECONDS) -> Iterator[None]:
    """Raises JobError where another job still runs after this time."""
    with LOCK.open("w") as stream:
        ends = time.monotonic() + seconds
        while True:
            try:
                fcntl.flock(stream, fcntl.LOCK_EX | fcntl.LOCK_NB)
                break
            except BlockingIOError:
                if time.monotonic() >= ends:
                    raise JobError(f"another job still runs after {seconds:.0f} s") from None
                time.sleep(0.2)
        yield


def busy() -> bool:
    """Whether a job runs, in whatever process."""
    try:
        with job_lock(0):
            return False
    except (JobError, OSError):
        return True


def reachable(job: str) -> bool:
    """Whether the other side is there at all; a stack that is still starting is not a failed backup."""
    if job not in (*sets.KINDS, "check"):
        return True
    for port in (8432, 5432):
        try:
            socket.create_connection(("postgres", port), timeout=2).close()
        except OSError:
            return False
    return True


def run(job: str, do: Callable[[], object]) -> tuple[str, object]:
    """(why not, what `do` returned): the first is empty on success."""
    with job_lock():
        log("INFO", "job started", job=job)
        started = time.monotonic()
        error, unreached, result = "", "", None
        try:
            clean()
            result = do()
        except Unreached as silence:
            unreached = str(silence)
        except (JobError, OSError) as failure:
            error = _told(str(failure))
        seconds = round(time.monotonic() - started, 3)
        journal.record(job, seconds=seconds, error=error, unreached=unreached)
        if error:
            log("ERROR", "job failed", job=job, seconds=seconds, error=error)
        elif unreached:
            log("WARNING", "job put off", job=job, seconds=seconds, unreached=unreached)
        else:
            log("INFO", "job done", job=job, seconds=seconds)
        return error or unreached, result


def _told(error: str) -> str:
    """pgBackRest says of a full disk that there is no such file or directory."""
    full = shutil.disk_usage(VOLUME).free < observe.FULL_BYTES
    return f"the repository's disk is full: {error}" if full else error


def scheduled(job: str, repositories: Sequence[Repository]) -> Callable[[], object]:
    """What the scheduler does for a job of this name."""
    silent = Progress()
    local = [one for one in repositories if one.name == LOCAL]
    remote = [one for one in repositories if one.name != LOCAL]
    does: dict[str, Callable[[], object]] = {
        **{kind: lambda kind=kind: make_set(kind, repositories, silent) for kind in sets.KINDS},
        "check": lambda: check(repositories),
        "verify": lambda: verify(local, silent),
        "verify-remote": lambda: verify(remote, silent),
        "drill": lambda: prove("", LOCAL, repositories, silent),
        "expire": lambda: expire(repositories),
    }
    return does[job]


def make_set(kind: str, repositories: Sequence[Repository], progress: Progress) -> dict:
    here, gone = away.split(repositories)
    keys.settle(here)
    for repository in here:
        if repository.folder and not repository.append_only:
            reserve.stock(repository.folder)
    made = sets.make(kind, here, progress, gone)
    if kind == "full":
        progress.phase("expire")
        # The set is made: that old ones could not be removed must not make it a failure, and be tried by making more.
        try:
            expire(repositories)
        except JobError as error:
            log("ERROR", "old sets could not be removed", error=str(error))
    return made


def check(repositories: Sequence[Repository]) -> None:
    """A fresh WAL segment makes the whole way into every repository, into one that was added a moment ago as well.

    One that is away has an alert of its own, and must not hide whether this host still archives.
    """
    here, gone = away.split(repositories)
    keys.settle(here)
    sets.stanzas(here)
    if gone:
        # pgBackRest's own check asks all of them.
        wal.mark("check")
        log("WARNING", "WAL does not reach all repositories", away=gone)
    else:
        pgbackrest.run("check")


def verify(repositories: Sequence[Repository], progress: Progress) -> None:
    """Reads every file of those that answer. Raises JobError with the faults of all of them; without any, Unreached with those
    that do not answer."""
    here, gone = away.split(repositories)
    faults: list[str] = []
    for repository in here:
        try:
            faults += _read(repository, progress)
        except Unreached as silence:
            gone[repository.name] = str(silence)
    progress.phase("")
    if faults:
        raise JobError("; ".join([*faults, *gone.values()]))
    if gone:
        raise Unreached("; ".join(gone.values()))


def _read(repository: Repository, progress: Progress) -> list[str]:
    """The faults of one repository. Raises Unreached where it goes away meanwhile: what the tools then say is of no damage."""
    faults = []
    for name, tool in (("postgres", _check_postgres), ("files", _check_files)):
        progress.phase(f"verify {name}", repository.name)
        try:
            tool(repository)
        except JobError as error:
            if repository.remote and (why := away.greeting(repository)):
                raise Unreached(why) from error
            faults.append(str(error))
    return faults


def _check_postgres(repository: Repository) -> None:
    said, damaged = [], lists.faults(repository)
    if damaged:
        said.append(f"repository {repository.name} is damaged: {'; '.join(damaged[:20])}")
    try:
        pgbackrest.verify(repository)
    except JobError as error:
        said.append(str(error))
        if "other: " in str(error) and repository.folder:
            names = wal.unreadable(repository)
            said += [f"unreadable WAL: {', '.join(names[:10])}"] if names else []
    drill.clean()
    if said:
        raise JobError("; ".join(said))


def _check_files(repository: Repository) -> None:
    try:
        restic.unlock(repository)
    except CommandError as error:
        if error.returncode != restic.MISSING_REPOSITORY:
            raise
        log("INFO", "there is nothing to verify yet", repository=repository.name)
    else:
        restic.check(repository)


def prove(name: str, place: str, repositories: Sequence[Repository], progress: Progress) -> object:
    """A drill of the set `name`, or of the newest one of which all is in this repository."""
    seen = observe.look(repositories)
    repository = named(place, repositories)
    if seen.places[place].error:
        raise JobError(seen.places[place].error)
    chosen = named_set(name, seen.sets) if name else catalog.to_drill(seen.sets, repository.name)
    if chosen is None:
        raise JobError(f"there is no complete set in {repository.name} yet")
    if not chosen.within(repository.name):
        raise JobError(f"{repository.name} does not hold all of the set {chosen.name}")
    return drill.run(chosen, repository, named(LOCAL, repositories), progress)


def expire(repositories: Sequence[Repository], *, force: bool = False, ahead: bool = False) -> dict[str, str]:
    """`ahead`: only what was made while the clock was ahead; pgBackRest makes nothing beside that."""
    here, gone = away.split(repositories)
    if ahead:
        done = expiry.expire_ahead(here, datetime.now(UTC))
    else:
        done = expiry.expire(here, observe.look(repositories).sets, force=force)
    return {**done, **gone}


def expire_elsewhere(
    name: str, given: Mapping[str, str], repositories: Sequence[Repository], *, force: bool = False
) -> dict[str, str]:
    """`expire` of one repository by who may do more there than this host: an append-only one is made smaller like that.

    given: part of the credentials -> value.
    """
    repository = named(name, repositories)
    found = observe.look(repositories).sets
    with configuration.with_credentials(repository, given, repositories) as (other, conf):
        return expiry.expire([other], found, force=force, conf=conf)


def named(name: str, repositories: Sequence[Repository]) -> Repository:
    for repository in repositories:
        if repository.name == name:
            return repository
    raise JobError(f"there is no repository {name}; there are {', '.join(one.name for one in repositories)}")


def named_set(name: str, found: Sequence[catalog.Set]) -> catalog.Set:
    for one in found:
        if one.name == name:
            return one
    raise JobError(f"there is no set {name}; the newest are {', '.join(one.name for one in found[:3]) or 'none'}")


def clean() -> None:
    """Removes what a killed job has left: data and secrets in the clear. Callers hold the job lock."""
    sets.clean()
    drill.clean()
    receiver.sweep(time.time())
