"""The keys that a lost host comes back with, exported for a safe and checked against such a copy: that of the repositories,
and the recovery key of what the host has stored there."""

from __future__ import annotations

import hmac
import json
import time
from collections.abc import Iterable
from pathlib import Path

from ops.backup import recovery
from ops.backup.paper_key import exported, parse, recovery_keys
from ops.core import state as files
from ops.core.errors import HostLacks, OpsError, UsageProblem
from ops.core.output import destination
from ops.core.state import State
from ops.project import Project
from ops.secrets import versions
from ops.secrets.at_rest.keys import public

SECRET = recovery.CIPHER
ROTATED = "rotated"
"""Name of the file beside its versions that lists those which a rotation went between."""


def newest(state: State) -> str:
    """The newest version in a state folder; empty where there is none."""
    number = versions.newest(state, SECRET)
    return versions.value_of(state, SECRET, number) if number else ""


def value(project: Project) -> str:
    """Raises HostLacks where there is none yet."""
    if not versions.newest(project.state, SECRET):
        raise HostLacks(
            "there is no repository key", f"the state folder lacks {SECRET}",
            "of a new stack: inv deploy makes it; lost: inv backup.key --import FILE",
        )  # fmt: skip
    return versions.values(project.state, SECRET)[0]


def export(project: Project, path: Path) -> None:
    """Write the key into a new file (0600), read it back, and note that it was exported.

    Raises UsageProblem where the file exists: it may be another key's.
    """
    must_be_new(path)
    write(project, path)
    note_exported(project)


def must_be_new(path: Path) -> None:
    """Raises UsageProblem where the file exists: it might be the key of another stack, which nothing replaces."""
    destination(str(path), overwrite=False, option="")


def is_pending(project: Project, path: Path) -> bool:
    """Whether a file was written by a rotation to the newest version that did not come to its end."""
    made = versions.path_of(project.state, SECRET, versions.newest(project.state, SECRET))
    noted = project.state.backup / recovery.ESCROWED
    if not path.is_file() or (noted.is_file() and noted.stat().st_mtime >= made.stat().st_mtime):
        return False
    try:
        check(project, path)
    except OpsError:
        return False
    return True


def write(project: Project, path: Path) -> None:
    """The newest version, and every recovery key, into a file (0600), read back."""
    cipher, known = value(project), recovery.identities(project.state)
    files.write(path, exported(cipher, known, project.name, time.strftime("%Y-%m-%d")), mode=0o600)
    check(project, path)


def allow(state: State, numbers: Iterable[int]) -> None:
    """Note that the repositories may go from one of these versions to another (compose/backup, keys.py)."""
    path = state.secrets / SECRET / ROTATED
    known = json.loads(path.read_text()) if path.is_file() else []
    files.write(path, json.dumps(sorted({*known, *numbers})) + "\n", mode=0o600)


def note_exported(project: Project) -> None:
    recovery.note_exported(project.state)


def check(project: Project, path: Path) -> None:
    """Raises OpsError where a file does not hold the keys of these backups."""
    if not hmac.compare_digest(read(path), value(project)):
        raise OpsError(
            f"{path} contains another key",
            "no backup of this stack can be read with it",
            "inv backup.key --export NEW-FILE",
        )
    if recovery.present(project.state) not in read_recovery(path):
        raise OpsError(
            f"{path} lacks the recovery key of this host", "an empty host could not decrypt this host's archives",
            "inv backup.key --export NEW-FILE",
        )  # fmt: skip


def _text(path: Path) -> str:
    try:
        return path.read_text(encoding="utf-8", errors="replace")
    except OSError as problem:
        raise UsageProblem(
            f"cannot read {path}", str(problem.strerror), "give the file of inv backup.key --export"
        ) from problem


def read(path: Path) -> str:
    """The key of the repositories in a file. Raises UsageProblem where that cannot be read."""
    return parse(_text(path), str(path))


def read_recovery(path: Path) -> tuple[str, ...]:
    """The recovery keys in a file, today's first; none in one that an earlier version has written.

    Raises UsageProblem where one is mistyped: each has a checksum of its own.
    """
    found = recovery_keys(_text(path))
    for identity in found:
        public(identity)
    return found


def escrowed(project: Project) -> str:
    """When today's keys were exported; empty: never."""
    return recovery.exported_at(project.state)
