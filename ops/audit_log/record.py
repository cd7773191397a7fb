"""The audit log of this host: who changed what, when and with which outcome. Written before a change and after it.

audit.jsonl is only appended to, and continued in another file when it is large (records.py). An entry is on the disk before
audit.head counts it: only a line that the head does not count can have been cut by a crash, any other was tampered with.
"""

from __future__ import annotations

import os
import sys
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from datetime import datetime
from itertools import chain, takewhile
from pathlib import Path
from typing import IO, TYPE_CHECKING, Any

from ops.audit_log import entries as trail
from ops.audit_log.entries import Head, Verdict
from ops.core import files, machine, records
from ops.core.errors import HostLacks, NeedsPerson, OpsError
from ops.core.files import log_line
from ops.core.lock import Holder, boot_id
from ops.core.plan import Plan
from ops.core.process import account, process_started
from ops.core.state import State
from ops.project import Project
from ops.stack.checkout import origin

if TYPE_CHECKING:
    from ops.cli.execute import UnderWay

KEPT_DAYS = 400
"""Of a finished part, counted from its newest entry: a yearly audit sees the whole year. By age alone, so that nobody can have
entries removed by making many."""
LONGEST_WHY = 500


@contextmanager
def record_change(change: UnderWay) -> Iterator[None]:
    """Enter every plan that is executed into the audit log."""
    with audited(change.project, change.plan, change.hooks):
        yield


@contextmanager
def audited(project: Project, plan: Plan, hooks: Sequence[Mapping[str, Any]] = ()) -> Iterator[None]:
    """Enter a change into the audit log: that it begins, before the block, and how it ended, however the block ends.

    hooks: outcomes of the operator's programs; they may be added until the block has ended.
    Raises HostLacks, before anything is changed, where the log cannot be written.
    """
    content = _who() | {
        "project": project.name, "verb": plan.verb, "command": trail.typed(sys.argv),
        "plan": trail.plan_digest(plan), "steps": len(plan.steps), **origin(project.host.repository),
        **({"violations": list(plan.violations)} if plan.violations else {}),
        **({"exemptions": list(plan.exemptions)} if plan.exemptions else {}),
    }  # fmt: skip
    began, at = time.monotonic(), machine.now()
    try:
        number = append(project.state, {**content, "event": "begin", "at": at})
    except OSError as problem:
        raise HostLacks(
            f"cannot write {project.state.audit}", f"{problem.strerror}; nothing was changed", f"df -h {project.state.root}"
        ) from problem

    def close(outcome: str, why: str) -> None:
        append(project.state, {
            **content, "event": "end", "at": machine.now(), "began": at, "of": number, "outcome": outcome, "why": why,
            "seconds": round(time.monotonic() - began, 1), "hooks": list(hooks),
        })  # fmt: skip

    try:
        yield
    except BaseException as problem:
        # The problem is raised as it is; a `begin` without an `end` shows the rest.
        with suppress(OSError, OpsError):
            close(*_outcome(problem, hooks))
        raise
    try:
        close("done", "")
    except OSError as problem:
        raise OpsError(
            f"inv {plan.verb} is done, but the audit log does not record it", str(problem.strerror), "inv audit.log"
        ) from problem


def _outcome(problem: BaseException, hooks: Sequence[Mapping[str, Any]]) -> tuple[str, str]:
    if isinstance(problem, KeyboardInterrupt):
        return "interrupted", "interrupted by the operator"
    why = f"{problem}: {problem.why}" if isinstance(problem, OpsError) else f"{type(problem).__name__}: {problem}"
    why = trail.without_secrets(why)[:LONGEST_WHY]
    if any(hook["hook"].startswith("pre-") and hook["outcome"] != "done" for hook in hooks):
        return "refused", why
    return ("needs-person" if isinstance(problem, NeedsPerson) else "failed"), why


def _who() -> dict[str, Any]:
    """The login behind sudo, or the account; and the process, which tells later whether it is still at work."""
    uid = os.environ.get("SUDO_UID", "")
    return {
        "who": account(), "uid": int(uid) if uid.isdigit() else os.getuid(),
        "terminal": sys.stdin.isatty(), "pid": os.getpid(), "started": process_started(os.getpid()), "boot": boot_id(),
    }  # fmt: skip


def _tip(parts: Sequence[IO[bytes]], head: Head | None) -> trail.Tip:
    """What the next entry continues. Only the end of the log is read."""
    length = records.TAIL
    while True:
        data, whole = records.tail(parts, length)
        if whole:
            return trail.tip(data, head)
        # Its first line may have lost its beginning.
        tip = trail.tip(rest := data.partition(b"\n")[2], head)
        if rest and any(True for _ in trail.entries(rest)):
            return tip
        length *= 4


def append(state: State, content: Mapping[str, Any]) -> int:
    """Enter one entry, on the disk when this returns; its number, 0 where the project's own folder has been removed.

    A copy goes to the log store. Raises OSError where it cannot be written.
    """
    if not state.root.is_dir():
        return 0
    with records.continued(state.audit, mode=0o600) as file:
        with records.opened(state.audit) as parts:
            tip = _tip(parts, read_head(state))
        begins = _begins(file)
        expired = _expired(state) if begins else []
        line = trail.seal({**content, **(_continuation(state, expired) if begins else {})}, tip)
        file.write((b"\n" if tip.unended else b"") + line + b"\n")
        file.flush()
        os.fsync(file.fileno())
        head = Head(tip.head.count + 1, trail.sha(line))
        files.write(state.audit_head, files.dump({"count": head.count, "hash": head.hash}), mode=0o600)
        # The entry that names them is on the disk before they are removed.
        records.remove(expired)
    _to_log_store(state, trail.read(line) or {})
    return head.count


def _begins(file: IO[bytes]) -> bool:
    """Whether the current part has no entry yet; a crash may have left an incomplete one."""
    file.seek(0)
    return not any(trail.entries(file.read(records.TAIL)))


def _continuation(state: State, expired: Sequence[Path]) -> dict[str, Any]:
    """What the first entry of a part says of the previous ones."""
    before = records.finished(state.audit)
    if not before:
        return {}
    said: dict[str, Any] = {"continues": {"file": before[-1].name, "bytes": before[-1].stat().st_size}}
    if expired:
        ends = [(part.name, last[0]) for part in expired if (last := _last(part))]
        said["removed"] = [{"file": name, "count": end.count, "hash": end.hash} for name, end in ends]
    return said


def _expired(state: State) -> list[Path]:
    """Parts whose newest entry is older than KEPT_DAYS, oldest first. The newest finished part stays, and so does one that does
    not end with an unaltered entry, with all after it."""

    def old(part: Path) -> bool:
        last = _last(part)
        at = last[1].get("at") if last else None
        return bool(at) and time.time() - datetime.fromisoformat(str(at)).timestamp() > KEPT_DAYS * 86400

    return list(takewhile(old, records.finished(state.audit)[:-1]))


def _last(part: Path) -> tuple[Head, Mapping[str, Any]] | None:
    with part.open("rb") as file:
        return trail.last(records.tail([file], records.TAIL)[0])


def _to_log_store(state: State, entry: Mapping[str, Any]) -> None:
    outcome = entry.get("outcome", "begins")
    level = "info" if outcome in ("begins", "done") else "warn"
    words = [f"{entry['who']}: {entry['command']}: {outcome}", entry.get("why", "")]
    log_line(state.logs, "audit", ", ".join(word for word in words if word), **{**entry, "level": level})


def read_head(state: State) -> Head | None:
    """What audit.head says; None where it is missing or says nothing that can be read."""
    try:
        said = files.read_json(state.audit_head)
        return Head(int(said["count"]), str(said["hash"])) if said else None
    except (ValueError, KeyError, TypeError):
        return None


def _snapshot(state: State) -> tuple[list[tuple[str, bytes]], Head | None]:
    """(name, content) of each part, oldest first, and the head of one moment."""
    if not state.audit.exists() and not records.finished(state.audit):
        return [], read_head(state)
    with records.continued(state.audit, mode=0o600, finishes=False), records.opened(state.audit) as parts:
        return [(Path(part.name).name, part.read()) for part in parts], read_head(state)


def verify(state: State) -> Verdict:
    """Whether the log is complete and unaltered."""
    return trail.check(*_snapshot(state))


def changes(state: State) -> list[dict[str, Any]]:
    """Every change, oldest first. One without an end has the outcome `under way` or `killed`, and no seconds."""
    found = trail.changes(chain.from_iterable(trail.entries(content) for _, content in _snapshot(state)[0]))
    for change in found:
        if change["event"] == "begin":
            process = Holder(pid=change["pid"], started=change["started"] or 0, boot=change["boot"])
            change["outcome"] = "under way" if process.lives() else "killed"
    return found
