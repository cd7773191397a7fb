"""Steps of a restore."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from ops.core import files, machine
from ops.core.errors import OpsError
from ops.core.plan import Step

if TYPE_CHECKING:
    from ops.execution import Execution

MANIFEST_SECONDS, MOVING, HOURS = 600.0, 3600.0, 6 * 3600.0
PROOF_SECONDS = 180
OTHER_HISTORY = "is not in the history of target timeline"
"""What pgBackRest says of a backup from a timeline that a restore has given up."""
TO_BE_LOOKED_UP = "--target=@lsn"
"""Stands for the place in the WAL that a set's manifest names."""


@dataclass(frozen=True)
class RememberRestore(Step):
    """Write down that a restore begins, so that it can be reverted whatever becomes of it."""

    content: Mapping[str, Any] | None = None

    def run(self, execution: Execution) -> None:
        from ops.backup.around import journal

        content = {**(self.content or {}), "at": machine.now()}
        files.write(journal(execution.state), files.dump(content), mode=0o600)


@dataclass(frozen=True)
class ForgetRestore(Step):
    """Record that the restore is done or reverted, and that nothing is left over."""

    def run(self, execution: Execution) -> None:
        from ops.backup.around import journal

        journal(execution.state).unlink(missing_ok=True)


@dataclass(frozen=True)
class CheckSpace(Step):
    """Refuse to begin where what is restored would not fit beside what is there."""

    part: str = ""
    bytes: int = 0

    def run(self, execution: Execution) -> None:
        from ops.backup.restore import volumes

        execution.report(self.key, volumes.check_space(execution.project, self.part, self.bytes))


SET_ASIDE, PUT_BACK, DROP = "set-aside", "put-back", "drop"


@dataclass(frozen=True)
class MoveData(Step):
    """Rename data of a part within its volume, without copying.

    action: SET_ASIDE makes a safety copy of the present data, PUT_BACK gives the previous data its place again and removes what
    a restore has put there, DROP removes a safety copy. stamp: of that copy.
    """

    part: str = ""
    action: str = SET_ASIDE
    stamp: str = ""

    def run(self, execution: Execution) -> None:
        from ops.backup.restore import volumes

        volumes.do(execution.project, self.part, (self.action, self.stamp))


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

    def run(self, execution: Execution) -> None:
        from ops.backup import container

        options = self.options
        if self.set:
            place = container.manifest(execution.project, self.set, self.repository, MANIFEST_SECONDS)["fingerprint"]["lsn"]
            options = tuple(f"--target={place}" if option == TO_BE_LOOKED_UP else option for option in options)
        # pgBackRest takes the newest backup from before that moment, even on a timeline abandoned since.
        refused: list[OpsError] = []
        for label in ("", *self.others):
            if label:
                execution.report(self.key, f"trying the backup {label}")
            try:
                return self._fetch(execution, (f"--set={label}", *options) if label else options)
            except OpsError as problem:
                if OTHER_HISTORY not in problem.why:
                    raise
                refused.append(problem)
        raise refused[0]

    def _fetch(self, execution: Execution, options: tuple[str, ...]) -> None:
        from ops.backup.restore import volumes

        def each(line: str) -> None:
            if words := progress_of(line):
                execution.report(self.key, words)

        volumes.watched(execution.project, "postgres", ("fetch", *options), HOURS, each)


def progress_of(line: str) -> str:
    """What a line of pgBackRest's log says about how far it is; empty: nothing."""
    match = re.search(r"restore file (\S+) \(([^,]+), ([0-9.]+)%\)", line)
    return f"{match[3]} %, {match[2]} of {match[1].rpartition('/')[2]}" if match else ""


@dataclass(frozen=True)
class AddReceived(Step):
    """Add the WAL that the receiver holds and that no repository may have."""

    def run(self, execution: Execution) -> None:
        from ops.backup import container
        from ops.backup.restore import volumes

        packed = execution.state.root / "restore-received.tar"
        try:
            container.received(execution.project, packed, MOVING)
            said = volumes.do(execution.project, "postgres", ("receive",), MOVING, source=packed)
            execution.report(self.key, f"{said or 'no'} files")
        finally:
            packed.unlink(missing_ok=True)


@dataclass(frozen=True)
class RecoverCluster(Step):
    """Replay WAL up to the target, promote, read every page, and put the cluster in its place."""

    def run(self, execution: Execution) -> None:
        from ops.backup.restore import volumes

        def each(line: str) -> None:
            if line.startswith("reached "):
                print(f"      {line}", flush=True)

        volumes.watched(execution.project, "postgres", ("recover",), HOURS, each)


@dataclass(frozen=True)
class FetchFiles(Step):
    """Have the backup container unpack the files of a set, whose manifest it verifies."""

    set: str = ""
    repository: str = "local"
    parts: tuple[str, ...] = ()

    def run(self, execution: Execution) -> None:
        from ops.backup import container

        container.fetch(execution.project, self.set, self.repository, self.parts, HOURS)


@dataclass(frozen=True)
class FillVolume(Step):
    """Move the unpacked files of a part into its volume."""

    part: str = ""

    def run(self, execution: Execution) -> None:
        from ops.backup import container
        from ops.backup.restore import volumes

        packed = execution.state.root / f"restore-{self.part}.tar"
        try:
            container.pack(execution.project, self.part, packed, MOVING)
            volumes.do(execution.project, self.part, ("fill",), MOVING, source=packed)
        finally:
            packed.unlink(missing_ok=True)


@dataclass(frozen=True)
class RemoveFetched(Step):
    """Remove what was unpacked: it holds data in the clear."""

    grave: bool = True
    """Whether the plan fails where something stays; otherwise a note says so, and the plan continues."""

    def run(self, execution: Execution) -> None:
        from ops.backup import container

        for packed in execution.state.root.glob("restore-*.tar"):
            packed.unlink(missing_ok=True)
        try:
            container.remove_fetched(execution.project)
        except OpsError as problem:
            if self.grave:
                raise
            print(f"note: {problem.what}: {problem.why}; {problem.next_step}", flush=True)


@dataclass(frozen=True)
class CompareSet(Step):
    """Compare rows and checksums of every table with the manifest of a set."""

    set: str = ""
    repository: str = "local"

    def run(self, execution: Execution) -> None:
        from ops.backup import container

        manifest = container.manifest(execution.project, self.set, self.repository, MANIFEST_SECONDS)
        print(f"      {container.compare(execution.project, manifest, MOVING)}", flush=True)


@dataclass(frozen=True)
class VerifyRestored(Step):
    """A login, a read and a write through the public listener."""

    def run(self, execution: Execution) -> None:
        from ops.backup.restore import restoring

        restoring.prove(execution.project, PROOF_SECONDS, execution.reporter(self))
