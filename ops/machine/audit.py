"""The audit trail on this host: who changed what, when and with which outcome. Written before a change and after it.

audit.jsonl is only ever appended to. The order of writing (line, then audit.head, each on the disk before the next) is what
lets `ops.plan.audit` tell a crash from a hand: only a line that the head does not yet count can have been cut by a crash.
"""

from __future__ import annotations

import fcntl
import os
import sys
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import IO, Any

from ops.errors import HostLacks, NeedsPerson, OpsError
from ops.machine import state as files
from ops.machine.checkout import origin
from ops.machine.lock import Holder, boot_id, process_started
from ops.machine.logfile import tell
from ops.machine.project import Project
from ops.machine.run import account
from ops.machine.state import State
from ops.model import Plan
from ops.plan import audit as trail
from ops.plan.audit import Head, Verdict

LOCK_SECONDS = 10.0
"""Others hold the file's lock for one line."""
LONGEST_WHY = 500


@dataclass
class Record:
    """What becomes known of a change while it is made."""

    hooks: list[Mapping[str, Any]] = field(default_factory=list)


@contextmanager
def audited(project: Project, plan: Plan) -> Iterator[Record]:
    """Enter a change into the audit trail: that it begins, before the block, and how it ended, however the block ends.

    Raises HostLacks, before anything is changed, where the trail cannot be written.
    """
    content = _who() | {
        "project": project.name, "verb": plan.verb, "command": trail.typed(sys.argv),
        "plan": trail.plan_digest(plan), "steps": len(plan.steps), **origin(project.host.repository),
        **({"violations": list(plan.violations)} if plan.violations else {}),
        **({"exemptions": list(plan.exemptions)} if plan.exemptions else {}),
    }  # fmt: skip
    began, at = time.monotonic(), _now()
    try:
        number = append(project.state, {**content, "event": "begin", "at": at})
    except OSError as problem:
        raise HostLacks(
            f"cannot write {project.state.audit}", f"{problem.strerror}; nothing was changed", f"df -h {project.state.root}"
        ) from problem
    record = Record()

    def close(outcome: str, why: str) -> None:
        append(project.state, {
            **content, "event": "end", "at": _now(), "began": at, "of": number, "outcome": outcome, "why": why,
            "seconds": round(time.monotonic() - began, 1), "hooks": list(record.hooks),
        })  # fmt: skip

    try:
        yield record
    except BaseException as problem:
        # What went wrong is told as it is; a beginning without an end tells the rest.
        with suppress(OSError, OpsError):
            close(*_outcome(problem, record))
        raise
    try:
        close("done", "")
    except OSError as problem:
        raise OpsError(
            f"inv {plan.verb} is done, but the audit trail does not say so", str(problem.strerror), "inv audit.log"
        ) from problem


def _outcome(problem: BaseException, record: Record) -> tuple[str, str]:
    if isinstance(problem, KeyboardInterrupt):
        return "interrupted", "broken off by the operator"
    why = f"{problem}: {problem.why}" if isinstance(problem, OpsError) else f"{type(problem).__name__}: {problem}"
    why = trail.without_secrets(why)[:LONGEST_WHY]
    if any(hook["hook"].startswith("pre-") and hook["outcome"] != "done" for hook in record.hooks):
        return "refused", why
    return ("needs-person" if isinstance(problem, NeedsPerson) else "failed"), why


def _now() -> str:
    return time.strftime("%Y-%m-%dT%H:%M:%S%z")


def _who() -> dict[str, Any]:
    """The login behind sudo, or the account; and the process, which tells later whether it is still at work."""
    uid = os.environ.get("SUDO_UID", "")
    return {
        "who": account(), "uid": int(uid) if uid.isdigit() else os.getuid(),
        "terminal": sys.stdin.isatty(), "pid": os.getpid(), "started": process_started(os.getpid()), "boot": boot_id(),
    }  # fmt: skip


@contextmanager
def _locked(path: Path) -> Iterator[IO[bytes]]:
    """The trail, with nobody else writing it: it carries its own lock. Raises OpsError where that does not come free."""
    with os.fdopen(os.open(path, os.O_RDWR | os.O_APPEND | os.O_CREAT, 0o600), "r+b") as file:
        until = time.monotonic() + LOCK_SECONDS
        while True:
            try:
                fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
                break
            except BlockingIOError:
                if time.monotonic() > until:
                    raise OpsError(
                        f"{path} stays locked", f"another program has held it for {LOCK_SECONDS:.0f} s", f"fuser {path}"
                    ) from None
                time.sleep(0.02)
        yield file


TAIL = 64 << 10
"""Bytes that are read of the end of the trail at first."""


def _tip(file: IO[bytes], head: Head | None) -> trail.Tip:
    """Where the next entry goes on. It is written in the end: the trail is not read whole for each entry."""
    size, length = file.seek(0, os.SEEK_END), TAIL
    while True:
        file.seek(max(0, size - length))
        data = file.read()
        if length >= size:
            return trail.tip(data, head)
        # Its first line may have lost its beginning.
        tip = trail.tip(whole := data.partition(b"\n")[2], head)
        if whole and any(True for _ in trail.entries(whole)):
            return tip
        length *= 4


def append(state: State, content: Mapping[str, Any]) -> int:
    """Enter one entry, on the disk when this returns; its number, 0 where the project's own folder has been removed.

    A copy goes to the log store. Raises OSError where it cannot be written.
    """
    if not state.root.is_dir():
        return 0
    with _locked(state.audit) as file:
        tip = _tip(file, read_head(state))
        line = trail.seal(content, tip)
        file.write((b"\n" if tip.unended else b"") + line + b"\n")
        file.flush()
        os.fsync(file.fileno())
        head = Head(tip.head.count + 1, trail.sha(line))
        files.write(state.audit_head, files.dump({"count": head.count, "hash": head.hash}), mode=0o600)
    _to_log_store(state, trail.read(line) or {})
    return head.count


def _to_log_store(state: State, entry: Mapping[str, Any]) -> None:
    outcome = entry.get("outcome", "begins")
    level = "info" if outcome in ("begins", "done") else "warn"
    words = [f"{entry['who']}: {entry['command']}: {outcome}", entry.get("why", "")]
    tell(state.logs, "audit", ", ".join(word for word in words if word), **{**entry, "level": level})


def read_head(state: State) -> Head | None:
    """What audit.head says; None where it is missing or says nothing that can be read."""
    try:
        said = files.read_json(state.audit_head)
        return Head(int(said["count"]), str(said["hash"])) if said else None
    except (ValueError, KeyError, TypeError):
        return None


def _snapshot(state: State) -> tuple[bytes, Head | None]:
    """File and head of one moment."""
    if not state.audit.exists():
        return b"", read_head(state)
    with _locked(state.audit) as file:
        return file.read(), read_head(state)


def verify(state: State) -> Verdict:
    """Whether the trail is what was written."""
    return trail.check(*_snapshot(state))


def changes(state: State) -> list[dict[str, Any]]:
    """Every change, oldest first. One without an end has the outcome `under way` or `killed`, and no seconds."""
    found = trail.changes(trail.entries(_snapshot(state)[0]))
    for change in found:
        if change["event"] == "begin":
            process = Holder(pid=change["pid"], started=change["started"] or 0, boot=change["boot"])
            change["outcome"] = "under way" if process.lives() else "killed"
    return found
