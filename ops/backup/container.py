"""The backup container asked and told: what it has, its jobs with their progress, the files of a set."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

from ops.backup.sets import Status, advice, read_status, told
from ops.core.errors import HostLacks, OpsError
from ops.core.logfile import tell
from ops.core.process import PATH, shown, stream
from ops.engines.engine import REMOVING
from ops.engines.podman import argv as podman
from ops.engines.podman.host import Host
from ops.stack.render import container_name

ASK_SECONDS = 30.0
FETCHED = "/var/lib/pgbackrest/restore"
"""Where files of a set are unpacked: on the repository's own disk, and no job of the container touches it."""
JOBS_LOG = "backup-0"
"""Name of the log of jobs that commands run: the collector takes it for a replica, so `inv logs backup` shows both."""
PROVING = "/var/lib/pgbackrest/proving"
"""The same for a proof, which may run beside a restore."""
LAST_LINES = 5


def _name(host: Host) -> str:
    return container_name(host.project, "backup")


def status(host: Host) -> Status:
    """Raises HostLacks where the container does not answer."""
    answer = host.run(podman.exec_in(_name(host), ("backup", "status", "--json")), timeout=ASK_SECONDS, ok=None)
    try:
        return read_status(json.loads(answer.stdout))
    except ValueError as problem:
        why = answer.last_words() if answer.returncode else str(problem)
        raise HostLacks("the backup container does not answer", why, "inv status; inv logs backup --since 10m") from problem


def run_job(
    host: Host, argv: Sequence[str], deadline: float, report: Callable[[str], None], said_to_it: str = ""
) -> Mapping[str, Any]:  # fmt: skip
    """Have a job done, and report how far it is. A job goes on in the container where this process ends.

    Parameters
    ----------
    argv: what stands behind `backup run`. deadline: seconds. said_to_it: its standard input.

    Returns what the job has to say. Raises OpsError with its reason where it fails.
    """
    ended: dict[str, Any] = {}
    said: list[str] = []

    def line(text: str) -> None:
        event = _event(text)
        if event is None:
            said.append(text)
            _to_log_store(host, text)
        elif event["event"] in ("done", "failed"):
            ended.update(event)
        elif words := told(event):
            report(words)

    report("waiting for a job that runs")
    words = ("backup", "run", *argv, "--json-progress")
    command = podman.exec_with_input(_name(host), words) if said_to_it else podman.exec_in(_name(host), words)
    environment = {"PATH": PATH, **host.environment}
    code = stream(command, timeout=deadline, stdin=said_to_it, env=environment, cwd=Path("/"), each=line)
    if code == 0 and ended.get("event") == "done":
        found = ended.get("result")
        return found if isinstance(found, dict) else {}
    why = str(ended.get("error") or " / ".join(said[-2:]) or f"exit code {code}")
    if code is None:
        why = f"it did not end within {deadline:.0f} s"
    why, step = advice(why)
    raise OpsError(f"backup run {' '.join(argv)}", why, step, said[-LAST_LINES:])


def _to_log_store(host: Host, text: str) -> None:
    """What a job says that a command runs reaches that command alone: the container's log has the scheduler's jobs only."""
    try:
        fields = dict(json.loads(text))
    except (ValueError, TypeError):
        fields = {"message": text}
    message, level = str(fields.pop("message", text)), str(fields.pop("level", "info")).lower()
    own = {key: value for key, value in fields.items() if key not in ("folder", "source")}
    tell(host.state.logs, JOBS_LOG, message, **{**own, "level": level})


def _event(text: str) -> dict[str, Any] | None:
    try:
        value = json.loads(text)
    except ValueError:
        return None
    return value if isinstance(value, dict) and "event" in value else None


def fetch(
    host: Host, name: str, repository: str, parts: Sequence[str], deadline: float, place: str = FETCHED
) -> dict[str, Any]:  # fmt: skip
    """Unpack parts of a set in the container; its manifest, whose signature the container has verified.

    Raises OpsError where the set is damaged, was not signed by this stack, or lacks one of the parts.
    """
    remove_fetched(host, place)
    only = [word for part in parts for word in ("--only", part)]
    command = ("backup", "extract", name, "--repository", repository, "--target", place, *only)
    answer = host.run(podman.exec_in(_name(host), command), timeout=deadline, ok=None)
    if answer.returncode:
        raise OpsError(f"{', '.join(parts)} of {name} cannot be read", answer.last_words(2), "inv backup.list shows other sets")
    found: dict[str, Any] = json.loads(answer.stdout)
    return found


def manifest(host: Host, name: str, repository: str, deadline: float) -> dict[str, Any]:
    """The manifest of a set, by its smallest part."""
    try:
        return fetch(host, name, repository, ("host",), deadline)
    finally:
        remove_fetched(host)


def host_archive(host: Host, name: str, repository: str, target: Path, deadline: float) -> dict[str, Any]:
    """What a set holds of this host, as a file for its owner alone, and the manifest of the set. Raises OpsError as `fetch`."""
    try:
        found = fetch(host, name, repository, ("host",), deadline, PROVING)
        host.run(podman.exec_in(_name(host), ("cat", f"{PROVING}/host.tar")), timeout=deadline, target=target)
        return found
    finally:
        remove_fetched(host, PROVING)


def remove_fetched(host: Host, place: str = FETCHED) -> None:
    """Raises OpsError where something of it stays: it holds data in the clear."""
    argv = podman.exec_in(_name(host), ("rm", "-rf", place))
    answer = host.run(argv, timeout=REMOVING, ok=None)
    if answer.returncode:
        raise OpsError(
            f"cannot remove {place} of the backup, which contains unencrypted data", answer.last_words(), shown(argv)
        )


def pack(host: Host, part: str, target: Path, deadline: float) -> None:
    """What was unpacked of a part, as a tar file of the host for its owner alone."""
    what = ("-C", FETCHED, "redis.rdb") if part == "redis" else ("-C", f"{FETCHED}/{part}", ".")
    host.run(podman.exec_in(_name(host), ("tar", "-cf", "-", *what)), timeout=deadline, target=target)


def received(host: Host, target: Path, deadline: float) -> None:
    """WAL that the receiver holds and that no repository may have, as a tar file of the host for its owner alone."""
    host.run(podman.exec_in(_name(host), ("backup", "received")), timeout=deadline, target=target)


def compare(host: Host, manifest: Mapping[str, Any], deadline: float) -> str:
    """Whether the running PostgreSQL holds what the manifest says. Raises OpsError with the differences."""
    command = podman.exec_with_input(_name(host), ("python3", "-m", "backup.compare"))
    answer = host.run(command, timeout=deadline, ok=None, stdin=json.dumps(manifest))
    if answer.returncode:
        raise OpsError("what was restored is not what was backed up", answer.last_words(2), "inv backup.list: another set")
    return answer.stdout.strip()
