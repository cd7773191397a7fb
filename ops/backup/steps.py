"""Steps that make and prove backups."""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from ops.core.errors import OpsError
from ops.core.plan import Step

if TYPE_CHECKING:
    from ops.execution import Execution


@dataclass(frozen=True)
class WriteHostArchive(Step):
    """Archive for the backup what only the host knows: settings, secrets, certificates, releases."""

    def run(self, execution: Execution) -> None:
        from ops.backup.host_archive import LARGEST, keep, left_out

        written = keep(execution.project)
        for name, size in left_out(written).items() if written else ():
            print(f"note: {name} is not in the backup: it has {size:,} bytes, {LARGEST:,} are the most", flush=True)


ARCHIVE = WriteHostArchive("archive", "archive settings, secrets and releases for the backup")


@dataclass(frozen=True)
class RunJob(Step):
    """Have the backup container do one of its jobs, and wait for its end."""

    argv: tuple[str, ...] = ()
    """What stands behind `backup run`."""
    deadline: int = 6 * 3600
    """Seconds, of which some may be spent waiting for a job that runs."""
    grave: bool = True
    """Whether its failure fails the plan; otherwise a note says so, and the schedule tries again."""
    credentials: str = ""
    """File with credentials of the repository that the job is about; they go to its input and are kept nowhere."""
    kind: str = ""
    """Of that repository."""

    def run(self, execution: Execution) -> None:
        from ops.backup import container, credentials

        given = json.dumps(credentials.read(self.kind, Path(self.credentials))) if self.credentials else ""
        try:
            result = container.run_job(execution.project, self.argv, self.deadline, execution.reporter(self), given)
        except OpsError as problem:
            if self.grave:
                raise
            print(f"note: {problem.what}: {problem.why}; the schedule tries again", flush=True)
            return
        lacking, failed = result.get("missing") or [], result.get("failed") or {}
        if lacking or failed:
            elsewhere = "; ".join(f"{name}: {why}" for name, why in failed.items())
            print(f"note: the set lacks {', '.join(lacking) or 'nothing'}. {elsewhere}".rstrip(), flush=True)


@dataclass(frozen=True)
class ProveHostArchive(Step):
    """Open what a set holds of the host with the recovery key, which the backup container does not have."""

    set: str = ""
    repository: str = "local"
    deadline: int = 600

    def run(self, execution: Execution) -> None:
        from ops.backup import host_archive

        execution.report(self.key, host_archive.prove(execution.project, self.set, self.repository, self.deadline))
