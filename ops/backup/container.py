"""The backup container: what it has, its jobs with their progress, the files of a set."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ops.backup.sets import Status, advice, progress_of_job, read_status
from ops.core.errors import HostLacks, OpsError
from ops.core.files import log_line
from ops.core.process import shown
from ops.engines.engine import OVERDUE, REMOVING, How

if TYPE_CHECKING:
    from ops.project import Project

SERVICE = "backup"
ASK_SECONDS = 30.0
FETCHED = "/var/lib/pgbackrest/restore"
"""Where files of a set are unpacked: on the repository's own disk, and no job of the container touches it."""
PROVING = "/var/lib/pgbackrest/proving"
"""The same for a proof, which may run beside a restore."""
JOBS_LOG = "backup-0"
"""Name of the log of jobs that commands run: the collector takes it for a replica, so `inv logs backup` shows both."""
LAST_LINES = 5


def status(project: Project) -> Status:
    """Raises HostLacks where the container does not answer."""
    answer = project.engine.exec(SERVICE, ("backup", "status", "--json"), timeout=ASK_SECONDS, ok=None)
    try:
        return read_status(json.loads(answer.stdout))
    except ValueError as problem:
        why = answer.last_words() if answer.returncode else str(problem)
        raise HostLacks("the backup container does not answer", why, "inv status; inv logs backup --since 10m") from problem


def run_job(
    project: Project, argv: Sequence[str], deadline: float, report: Callable[[str], None], given: str = ""
) -> Mapping[str, Any]:  # fmt: skip
    """Have a job done, and report how far it is. A job goes on in the container where this process ends.

    argv: what stands behind `backup run`. deadline: seconds. given: its standard input.

    Returns what the job has to say. Raises OpsError with its reason where it fails.
    """
    ended: dict[str, Any] = {}
    said: list[str] = []

    def line(text: str) -> None:
        found = _object(text)
        if "event" not in found:
            said.append(text)
            _to_log_store(project, text, found)
        elif found["event"] in ("done", "failed"):
            ended.update(found)
        elif words := progress_of_job(found):
            report(words)

    report("waiting for a job that runs")
    how: How = {"ok": None, "timeout": deadline, "each": line}
    if given:
        how["stdin"] = given
    code = project.engine.exec(SERVICE, ("backup", "run", *argv, "--json-progress"), **how).returncode
    if code == 0 and ended.get("event") == "done":
        found = ended.get("result")
        return found if isinstance(found, dict) else {}
    why = str(ended.get("error") or " / ".join(said[-2:]) or f"exit code {code}")
    if code == OVERDUE:
        why = f"it did not end within {deadline:.0f} s"
    why, step = advice(why)
    raise OpsError(f"backup run {' '.join(argv)}", why, step, said[-LAST_LINES:])


def _object(text: str) -> dict[str, Any]:
    """A JSON object; empty where a text is none."""
    try:
        value = json.loads(text)
    except ValueError:
        return {}
    return value if isinstance(value, dict) else {}


def _to_log_store(project: Project, text: str, found: Mapping[str, Any]) -> None:
    """What a job says that a command runs reaches that command alone: the container's log has the scheduler's jobs only."""
    fields = {key: value for key, value in found.items() if key not in ("folder", "source", "message", "level")}
    message, level = str(found.get("message", text)), str(found.get("level", "info")).lower()
    log_line(project.state.logs, JOBS_LOG, message, **{**fields, "level": level})


def fetch(
    project: Project, name: str, repository: str, parts: Sequence[str], deadline: float, place: str = FETCHED
) -> dict[str, Any]:  # fmt: skip
    """Unpack parts of a set in the container; its manifest, whose signature the container has verified.

    Raises OpsError where the set is damaged, was not signed by this stack, or lacks one of the parts.
    """
    remove_fetched(project, place)
    only = [word for part in parts for word in ("--only", part)]
    command = ("backup", "extract", name, "--repository", repository, "--target", place, *only)
    answer = project.engine.exec(SERVICE, command, timeout=deadline, ok=None)
    if answer.returncode:
        raise OpsError(f"{', '.join(parts)} of {name} cannot be read", answer.last_words(2), "inv backup.list shows other sets")
    found: dict[str, Any] = json.loads(answer.stdout)
    return found


def manifest(project: Project, name: str, repository: str, deadline: float) -> dict[str, Any]:
    """The manifest of a set, by its smallest part."""
    try:
        return fetch(project, name, repository, ("host",), deadline)
    finally:
        remove_fetched(project)


def host_archive(project: Project, name: str, repository: str, target: Path, deadline: float) -> dict[str, Any]:
    """What a set holds of this host, as a file for its owner alone, and the manifest of the set. Raises OpsError as `fetch`."""
    try:
        found = fetch(project, name, repository, ("host",), deadline, PROVING)
        project.engine.exec(SERVICE, ("cat", f"{PROVING}/host.tar"), timeout=deadline, target=target)
        return found
    finally:
        remove_fetched(project, PROVING)


def remove_fetched(project: Project, place: str = FETCHED) -> None:
    """Raises OpsError where something of it stays: it holds data in the clear."""
    answer = project.engine.exec(SERVICE, ("rm", "-rf", place), timeout=REMOVING, ok=None)
    if answer.returncode:
        what = f"cannot remove {place} of the backup, which contains unencrypted data"
        raise OpsError(what, answer.last_words(), shown(answer.argv))


def pack(project: Project, part: str, target: Path, deadline: float) -> None:
    """What was unpacked of a part, as a tar file of the host for its owner alone."""
    what = ("-C", FETCHED, "redis.rdb") if part == "redis" else ("-C", f"{FETCHED}/{part}", ".")
    project.engine.exec(SERVICE, ("tar", "-cf", "-", *what), timeout=deadline, target=target)


def received(project: Project, target: Path, deadline: float) -> None:
    """WAL that the receiver holds and that no repository may have, as a tar file of the host for its owner alone."""
    project.engine.exec(SERVICE, ("backup", "received"), timeout=deadline, target=target)


def compare(project: Project, manifest: Mapping[str, Any], deadline: float) -> str:
    """Whether the running PostgreSQL holds what the manifest says. Raises OpsError with the differences."""
    command, given = ("python3", "-m", "backup.compare"), json.dumps(manifest)
    answer = project.engine.exec(SERVICE, command, timeout=deadline, ok=None, stdin=given)
    if answer.returncode:
        raise OpsError("what was restored is not what was backed up", answer.last_words(2), "inv backup.list: another set")
    return answer.stdout.strip()
