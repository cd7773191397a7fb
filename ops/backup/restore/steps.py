"""Steps of a restore."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from ops.core import state as files
from ops.core.errors import OpsError
from ops.core.plan import Step

if TYPE_CHECKING:
    from ops.execution import Execution

MANIFEST_SECONDS = 600.0
OTHER_HISTORY = "is not in the history of target timeline"
"""What pgBackRest says of a backup from a timeline that a restore has given up."""


@dataclass(frozen=True)
class RememberRestore(Step):
    """Write down that a restore begins, so that whatever becomes of it can be put back."""

    content: Mapping[str, Any] | None = None

    def run(self, execution: Execution) -> None:
        from ops.backup.around import journal

        content = {**(self.content or {}), "at": time.strftime("%Y-%m-%dT%H:%M:%S%z")}
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

        execution.report(self.key, volumes.check_space(execution.host, self.part, self.bytes))


@dataclass(frozen=True)
class SetAside(Step):
    """Rename the present data of a part within its volume: a safety copy without copying."""

    part: str = ""
    stamp: str = ""

    def run(self, execution: Execution) -> None:
        from ops.backup.restore import volumes

        volumes.do(execution.host, self.part, ("set-aside", self.stamp))


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

    def run(self, execution: Execution) -> None:
        from ops.backup import container
        from ops.backup.restore import volumes
        from ops.backup.target import TO_BE_LOOKED_UP

        options = list(self.options)
        if self.set:
            place = container.manifest(execution.host, self.set, self.repository, MANIFEST_SECONDS)["fingerprint"]["lsn"]
            options = [f"--target={place}" if option == TO_BE_LOOKED_UP else option for option in options]

        from ops.backup.restore.plan import progress_of

        def each(line: str) -> None:
            if words := progress_of(line):
                execution.report(self.key, words)

        try:
            volumes.watched(execution.host, "postgres", ("fetch", *options), self.deadline, each)
        except OpsError as problem:
            # pgBackRest takes the newest backup from before that moment, even on a timeline abandoned since.
            if OTHER_HISTORY not in problem.why or not _fetched_otherwise(execution, self, options, each):
                raise


@dataclass(frozen=True)
class AddReceived(Step):
    """Lay the WAL beside it that the receiver holds and that no repository may have."""

    deadline: int = 3600

    def run(self, execution: Execution) -> None:
        from ops.backup import container
        from ops.backup.restore import volumes

        packed = execution.state.root / "restore-received.tar"
        try:
            container.received(execution.host, packed, self.deadline)
            said = volumes.do(execution.host, "postgres", ("receive",), self.deadline, source=packed).stdout.strip()
            execution.report(self.key, f"{said or 'no'} files")
        finally:
            packed.unlink(missing_ok=True)


@dataclass(frozen=True)
class RecoverCluster(Step):
    """Replay WAL up to the target, promote, read every page, and put the cluster in its place."""

    deadline: int = 6 * 3600

    def run(self, execution: Execution) -> None:
        from ops.backup.restore import volumes

        def each(line: str) -> None:
            if line.startswith("reached "):
                print(f"      {line}", flush=True)

        volumes.watched(execution.host, "postgres", ("recover",), self.deadline, each)


@dataclass(frozen=True)
class FetchFiles(Step):
    """Have the backup container unpack the files of a set, whose manifest it verifies."""

    set: str = ""
    repository: str = "local"
    parts: tuple[str, ...] = ()
    deadline: int = 6 * 3600

    def run(self, execution: Execution) -> None:
        from ops.backup import container

        container.fetch(execution.host, self.set, self.repository, self.parts, self.deadline)


@dataclass(frozen=True)
class FillVolume(Step):
    """Move the unpacked files of a part into its volume."""

    part: str = ""
    deadline: int = 3600

    def run(self, execution: Execution) -> None:
        from ops.backup import container
        from ops.backup.restore import volumes

        packed = execution.state.root / f"restore-{self.part}.tar"
        try:
            container.pack(execution.host, self.part, packed, self.deadline)
            volumes.do(execution.host, self.part, ("fill",), self.deadline, source=packed)
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
            container.remove_fetched(execution.host)
        except OpsError as problem:
            if self.grave:
                raise
            print(f"note: {problem.what}: {problem.why}; {problem.next_step}", flush=True)


@dataclass(frozen=True)
class PutBack(Step):
    """Move the previous data back into its volume, and remove what a restore has put there."""

    part: str = ""
    stamp: str = ""
    deadline: int = 3600

    def run(self, execution: Execution) -> None:
        from ops.backup.restore import volumes

        volumes.do(execution.host, self.part, ("put-back", self.stamp), self.deadline)


@dataclass(frozen=True)
class DropSafety(Step):
    """Remove a safety copy."""

    part: str = ""
    stamp: str = ""

    def run(self, execution: Execution) -> None:
        from ops.backup.restore import volumes

        volumes.do(execution.host, self.part, ("drop", self.stamp))


@dataclass(frozen=True)
class CompareSet(Step):
    """Compare rows and checksums of every table with the manifest of a set."""

    set: str = ""
    repository: str = "local"
    deadline: int = 3600

    def run(self, execution: Execution) -> None:
        from ops.backup import container

        manifest = container.manifest(execution.host, self.set, self.repository, MANIFEST_SECONDS)
        print(f"      {container.compare(execution.host, manifest, self.deadline)}", flush=True)


@dataclass(frozen=True)
class AgreeSecrets(Step):
    """Give Keycloak today's secrets: what was restored may be from before a rotation."""

    deadline: int = 900

    def run(self, execution: Execution) -> None:
        from ops.backup.restore import restoring

        restoring.agree(execution.project, lambda step: step.run(execution), execution.reporter(self), self.deadline)


@dataclass(frozen=True)
class VerifyRestored(Step):
    """A login, a read and a write through the public listener."""

    deadline: int = 180

    def run(self, execution: Execution) -> None:
        from ops.backup.restore import restoring

        restoring.prove(execution.project, self.deadline, execution.reporter(self))


def _fetched_otherwise(execution: Execution, step: FetchCluster, options: list[str], each: Callable[[str], None]) -> bool:
    from ops.backup.restore import volumes

    for label in step.others:
        execution.report(step.key, f"trying the backup {label}")
        try:
            volumes.watched(execution.host, "postgres", ("fetch", f"--set={label}", *options), step.deadline, each)
        except OpsError as problem:
            if OTHER_HISTORY not in problem.why:
                raise
        else:
            return True
    return False
