"""Changes around backups and restores. Data only; `ops/backup/perform.py` knows how each is done."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from ops.core.plan import Step


@dataclass(frozen=True)
class WriteHostArchive(Step):
    """Hand over to the backup what only the host knows: settings, secrets, certificates, releases."""


@dataclass(frozen=True)
class ExportKey(Step):
    """Write the newest key of the repositories into a file (0600) for a place that is not this host, and read it back. Only
    then may the repositories be given it."""

    path: str = ""
    before: int = 0
    """Version that they have now."""
    version: int = 0


@dataclass(frozen=True)
class NoteExported(Step):
    """Write down that the key which is in use was exported."""


@dataclass(frozen=True)
class RunJob(Step):
    """Have the backup container do one of its jobs, and wait for its end."""

    argv: tuple[str, ...] = ()
    """What stands behind `backup run`."""
    deadline: int = 6 * 3600
    """Seconds, of which some may be spent waiting for a job that runs."""
    grave: bool = True
    """Whether its failure fails the plan. Else it is told, and the schedule makes up for it."""
    credentials: str = ""
    """File with credentials of the repository that the job is about; they go to its input and are kept nowhere."""
    kind: str = ""
    """Of that repository."""


@dataclass(frozen=True)
class ProveHostArchive(Step):
    """Open what a set holds of the host with the recovery key, which the backup container does not have."""

    set: str = ""
    repository: str = "local"
    deadline: int = 600


@dataclass(frozen=True)
class RememberRestore(Step):
    """Write down that a restore begins, so that whatever becomes of it can be put back."""

    content: Mapping[str, Any] | None = None


@dataclass(frozen=True)
class ForgetRestore(Step):
    """The restore is done, or taken back: nothing is left over."""


@dataclass(frozen=True)
class CheckSpace(Step):
    """Refuse to begin where what is restored would not fit beside what is there."""

    part: str = ""
    bytes: int = 0


@dataclass(frozen=True)
class SetAside(Step):
    """Rename the present data of a part within its volume: a safety copy without copying."""

    part: str = ""
    stamp: str = ""


@dataclass(frozen=True)
class FetchCluster(Step):
    """Fetch a cluster of PostgreSQL out of a repository, beside its place."""

    options: tuple[str, ...] = ()
    """Of `pgbackrest restore`."""
    set: str = ""
    """Whose manifest says to which place in the WAL; empty: the options say all."""
    repository: str = "local"
    others: tuple[str, ...] = ()
    """Labels of backups to try, where the one that is taken by itself is of a history that was given up."""
    deadline: int = 6 * 3600


@dataclass(frozen=True)
class AddReceived(Step):
    """Lay the WAL beside it that the receiver holds and that no repository may have."""

    deadline: int = 3600


@dataclass(frozen=True)
class RecoverCluster(Step):
    """Replay WAL up to the target, promote, read every page, and put the cluster in its place."""

    deadline: int = 6 * 3600


@dataclass(frozen=True)
class FetchFiles(Step):
    """Have the backup container unpack the files of a set, whose manifest it verifies."""

    set: str = ""
    repository: str = "local"
    parts: tuple[str, ...] = ()
    deadline: int = 6 * 3600


@dataclass(frozen=True)
class FillVolume(Step):
    """Move the unpacked files of a part into its volume."""

    part: str = ""
    deadline: int = 3600


@dataclass(frozen=True)
class RemoveFetched(Step):
    """Remove what was unpacked: it holds data in the clear."""

    grave: bool = True
    """Whether the plan fails where something stays; otherwise that is told, and the plan goes on."""


@dataclass(frozen=True)
class PutBack(Step):
    """Give the data of before its place again, and remove what a restore has put there."""

    part: str = ""
    stamp: str = ""
    deadline: int = 3600


@dataclass(frozen=True)
class DropSafety(Step):
    """Remove a safety copy."""

    part: str = ""
    stamp: str = ""


@dataclass(frozen=True)
class CompareSet(Step):
    """Compare rows and checksums of every table with the manifest of a set."""

    set: str = ""
    repository: str = "local"
    deadline: int = 3600


@dataclass(frozen=True)
class AgreeSecrets(Step):
    """Give Keycloak today's secrets: what was restored may be from before a rotation."""

    deadline: int = 900


@dataclass(frozen=True)
class VerifyRestored(Step):
    """A login, a read and a write through the public listener."""

    deadline: int = 180
