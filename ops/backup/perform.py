"""How backups and restores are done on this host. Registered with the Execution when this is imported."""

from __future__ import annotations

import json
import time
from collections.abc import Callable
from pathlib import Path

from ops.backup import container, credentials, key, proving
from ops.backup import host_archive as archive
from ops.backup.restore import restoring, volumes
from ops.backup.restore.plan import progress_of
from ops.backup.steps import (
    AddReceived,
    AgreeSecrets,
    CheckSpace,
    CompareSet,
    DropSafety,
    ExportKey,
    FetchCluster,
    FetchFiles,
    FillVolume,
    ForgetRestore,
    NoteExported,
    ProveHostArchive,
    PutBack,
    RecoverCluster,
    RememberRestore,
    RemoveFetched,
    RunJob,
    SetAside,
    VerifyRestored,
    WriteHostArchive,
)
from ops.backup.target import TO_BE_LOOKED_UP
from ops.core import state as files
from ops.core.errors import OpsError
from ops.deploy.perform import Execution, does

MANIFEST_SECONDS = 600.0
OTHER_HISTORY = "is not in the history of target timeline"
"""What pgBackRest says of a backup from a timeline that a restore has given up."""


@does(WriteHostArchive)
def _archive(self: Execution, step: WriteHostArchive) -> None:
    for name, size in archive.left_out(archive.keep(self.project)).items():
        print(f"note: {name} is not in the backup: it has {size:,} bytes, {archive.LARGEST:,} are the most", flush=True)


@does(ProveHostArchive)
def _prove_archive(self: Execution, step: ProveHostArchive) -> None:
    self.report(step.key, proving.prove(self.project, step.set, step.repository, step.deadline))


@does(ExportKey)
def _export(self: Execution, step: ExportKey) -> None:
    key.write(self.project, Path(step.path))
    key.allow(self.state, (step.before, step.version))


@does(NoteExported)
def _note_exported(self: Execution, step: NoteExported) -> None:
    key.note_exported(self.project)


@does(RunJob)
def _job(self: Execution, step: RunJob) -> None:
    given = json.dumps(credentials.read(step.kind, Path(step.credentials))) if step.credentials else ""
    try:
        result = container.run_job(self.host, step.argv, step.deadline, lambda text: self.report(step.key, text), given)
    except OpsError as problem:
        if step.grave:
            raise
        print(f"note: {problem.what}: {problem.why}; the schedule tries again", flush=True)
        return
    lacking, failed = result.get("missing") or [], result.get("failed") or {}
    if lacking or failed:
        elsewhere = "; ".join(f"{name}: {why}" for name, why in failed.items())
        print(f"note: the set lacks {', '.join(lacking) or 'nothing'}. {elsewhere}".rstrip(), flush=True)


@does(RememberRestore)
def _remember(self: Execution, step: RememberRestore) -> None:
    content = {**(step.content or {}), "at": time.strftime("%Y-%m-%dT%H:%M:%S%z")}
    files.write(restoring.journal(self.state), files.dump(content), mode=0o600)


@does(ForgetRestore)
def _forget(self: Execution, step: ForgetRestore) -> None:
    restoring.journal(self.state).unlink(missing_ok=True)


@does(CheckSpace)
def _space(self: Execution, step: CheckSpace) -> None:
    self.report(step.key, volumes.check_space(self.host, step.part, step.bytes))


@does(SetAside)
def _set_aside(self: Execution, step: SetAside) -> None:
    volumes.do(self.host, step.part, ("set-aside", step.stamp))


@does(FetchCluster)
def _fetch_cluster(self: Execution, step: FetchCluster) -> None:
    options = list(step.options)
    if step.set:
        place = container.manifest(self.host, step.set, step.repository, MANIFEST_SECONDS)["fingerprint"]["lsn"]
        options = [f"--target={place}" if option == TO_BE_LOOKED_UP else option for option in options]

    def each(line: str) -> None:
        if words := progress_of(line):
            self.report(step.key, words)

    try:
        volumes.watched(self.host, "postgres", ("fetch", *options), step.deadline, each)
    except OpsError as problem:
        # pgBackRest takes the newest backup of before that moment, whatever has become of its timeline since.
        if OTHER_HISTORY not in problem.why or not _fetched_otherwise(self, step, options, each):
            raise


def _fetched_otherwise(self: Execution, step: FetchCluster, options: list[str], each: Callable[[str], None]) -> bool:
    for label in step.others:
        self.report(step.key, f"trying the backup {label}")
        try:
            volumes.watched(self.host, "postgres", ("fetch", f"--set={label}", *options), step.deadline, each)
        except OpsError as problem:
            if OTHER_HISTORY not in problem.why:
                raise
        else:
            return True
    return False


@does(AddReceived)
def _add_received(self: Execution, step: AddReceived) -> None:
    packed = self.state.root / "restore-received.tar"
    try:
        container.received(self.host, packed, step.deadline)
        said = volumes.do(self.host, "postgres", ("receive",), step.deadline, source=packed).stdout.strip()
        self.report(step.key, f"{said or 'no'} files")
    finally:
        packed.unlink(missing_ok=True)


@does(RecoverCluster)
def _recover(self: Execution, step: RecoverCluster) -> None:
    def each(line: str) -> None:
        if line.startswith("reached "):
            print(f"      {line}", flush=True)

    volumes.watched(self.host, "postgres", ("recover",), step.deadline, each)


@does(FetchFiles)
def _fetch_files(self: Execution, step: FetchFiles) -> None:
    container.fetch(self.host, step.set, step.repository, step.parts, step.deadline)


@does(FillVolume)
def _fill(self: Execution, step: FillVolume) -> None:
    packed = self.state.root / f"restore-{step.part}.tar"
    try:
        container.pack(self.host, step.part, packed, step.deadline)
        volumes.do(self.host, step.part, ("fill",), step.deadline, source=packed)
    finally:
        packed.unlink(missing_ok=True)


@does(RemoveFetched)
def _remove_fetched(self: Execution, step: RemoveFetched) -> None:
    for packed in self.state.root.glob("restore-*.tar"):
        packed.unlink(missing_ok=True)
    try:
        container.remove_fetched(self.host)
    except OpsError as problem:
        if step.grave:
            raise
        print(f"note: {problem.what}: {problem.why}; {problem.next_step}", flush=True)


@does(PutBack)
def _put_back(self: Execution, step: PutBack) -> None:
    volumes.do(self.host, step.part, ("put-back", step.stamp), step.deadline)


@does(DropSafety)
def _drop(self: Execution, step: DropSafety) -> None:
    volumes.do(self.host, step.part, ("drop", step.stamp))


@does(CompareSet)
def _compare(self: Execution, step: CompareSet) -> None:
    manifest = container.manifest(self.host, step.set, step.repository, MANIFEST_SECONDS)
    print(f"      {container.compare(self.host, manifest, step.deadline)}", flush=True)


@does(AgreeSecrets)
def _agree(self: Execution, step: AgreeSecrets) -> None:
    restoring.agree(self.project, self.perform, lambda text: self.report(step.key, text), step.deadline)


@does(VerifyRestored)
def _verify(self: Execution, step: VerifyRestored) -> None:
    restoring.prove(self.project, step.deadline, lambda text: self.report(step.key, text))
