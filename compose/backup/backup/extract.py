"""A set, or parts of it, as files in a folder: what a restore on the host works with.

manifest.json manifest.sig redis.rdb host.tar prometheus/ logs/data/partitions/<day>/ alertmanager/
"""

from collections.abc import Iterable
from pathlib import Path

from . import logs_copy, manifest, restic
from .catalog import Set
from .errors import JobError
from .paths import DATA, STAGE
from .repositories import Repository

PARTS = ("redis", "host", "prometheus", "logs", "alertmanager")


def extract(chosen: Set, repository: Repository, target: Path, only: Iterable[str], *, trust: str) -> dict:
    """Returns the manifest. PostgreSQL comes by pgBackRest: its label and LSN stand there.

    trust: public key (PEM) by which the manifest must be signed.
    """
    wanted = set(only) or set(PARTS)
    snapshot = chosen.repositories.get(repository.name, {}).get("snapshot")
    if not snapshot:
        raise JobError(f"{repository.name} does not hold the files of {chosen.name}")
    target.mkdir(parents=True, exist_ok=True)
    staged = {"logs": "logs", "redis": "redis.rdb", "host": "host.tar"}
    restic.restore(repository, snapshot, STAGE, target, [f"/{name}" for part, name in staged.items() if part not in wanted])
    listed = manifest.read(target, trust)
    absent = wanted & set(listed["missing"])
    if absent and set(only):
        raise JobError(f"the set {chosen.name} was made without {', '.join(sorted(absent))}")
    for part in ("prometheus", "alertmanager"):
        if part in wanted - absent:
            restic.restore(repository, snapshot, DATA / part, target / part)
    if "logs" in wanted - absent:
        gather_logs(repository, snapshot, target, listed["logs"]["days"])
    return listed


def gather_logs(repository: Repository, snapshot: str, target: Path, days: Iterable[str]) -> None:
    """The days that were copied aside and those that were read in place become one folder again."""
    folder = target / "logs" / "data" / "partitions"
    folder.mkdir(parents=True)
    for day in days:
        aside = target / "logs" / day
        if aside.is_dir():
            aside.rename(folder / day)
        else:
            restic.restore(repository, snapshot, logs_copy.SOURCE / day, folder / day)
    checkpoint = target / "logs" / logs_copy.CHECKPOINT.name
    if checkpoint.exists():
        # The collector is root without the right to pass over modes, and the copy will be the store's: one that it cannot read
        # makes it take in every line of the log files a second time.
        checkpoint.chmod(0o644)
    torn = logs_copy.faults(folder.parent)
    if torn:
        raise JobError(f"parts of the log store are missing: {', '.join(torn[:3])}")
