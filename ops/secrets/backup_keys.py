"""The keys that a lost host comes back with, and their copy on paper.

The key of the repositories is the secret `backup-cipher`. The recovery key, an identity of age, opens what this host has stored
in them (host_archive.py). The backup container has the first and not the second: root alone keeps that, so that it can be
exported again and each archive can be tested.
"""

from __future__ import annotations

import hashlib
import hmac
import json
import re
import time
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import pyrage

from ops.core import files, machine
from ops.core.errors import HostLacks, OpsError, UsageProblem
from ops.core.files import destination
from ops.core.state import State
from ops.store import versions
from ops.store.keys import public

if TYPE_CHECKING:
    from ops.project import Project

CIPHER, RECOVERY = "backup-cipher", "backup-recovery"
ROTATED = "rotated"
"""File beside the versions of the first that lists those which a rotation went between."""
EXPORTED = "exported"
"""File beside the versions of the second: recipient -> when that key was exported."""
ESCROWED = "escrowed"
"""In the folder that the container reads: its presence says that both present keys were exported."""
GROUP = 6
"""Characters between blanks on paper: what can be compared at a glance."""

# ---- The recovery key


def _number(state: State) -> int:
    return versions.newest(state, CIPHER) or versions.newest(state, RECOVERY) or 1


def recovery_key(state: State) -> str:
    """The present recovery key, made where there is none. Each key of the repositories has its own, of the same version: a
    rotation that is withdrawn returns to the previous one."""
    number = _number(state)
    if number not in versions.numbers(state, RECOVERY):
        keep_recovery_key(state, number, str(pyrage.x25519.Identity.generate()))
    return versions.value_of(state, RECOVERY, number)


def keep_recovery_key(state: State, number: int, identity: str) -> None:
    """Store a recovery key under this version, unless there is one of it."""
    path = state.secrets / RECOVERY / str(number)
    path.parent.mkdir(mode=0o700, exist_ok=True)
    if not path.exists():
        files.write(path, identity, mode=0o600)


def recovery_keys(state: State) -> list[str]:
    """The present one first, then all former ones: sets that were made with those need them."""
    numbers = reversed(versions.numbers(state, RECOVERY))
    return list(dict.fromkeys([recovery_key(state), *(versions.value_of(state, RECOVERY, number) for number in numbers)]))


def encrypt(content: bytes, identity: str) -> bytes:
    """For this recovery key; its public half is enough for that."""
    data: bytes = pyrage.encrypt(content, [pyrage.x25519.Recipient.from_str(public(identity))])
    return data


def signature(parts: Sequence[bytes], identity: str) -> str:
    """By which the holder of a recovery key knows its own archives: with the public half alone anybody could make one."""
    total = hmac.new(identity.encode(), digestmod="sha256")
    for part in parts:
        total.update(len(part).to_bytes(8, "big") + part)
    return total.hexdigest()


def decrypt(data: bytes, others: Sequence[bytes], signed: str, identities: Sequence[str]) -> bytes:
    """Raises HostLacks where none of these keys has made it. `others`: what was signed beside it. `signed`: the signature of
    all."""
    for identity in identities:
        if hmac.compare_digest(signature([data, *others], identity), signed):
            content: bytes = pyrage.decrypt(data, [pyrage.x25519.Identity.from_str(identity)])
            return content
    raise HostLacks(
        "the archive of this host cannot be opened", "none of the recovery keys that are here has made it",
        "give the newest file of inv backup.key --export; files of earlier versions have no recovery key",
    )  # fmt: skip


# ---- Whether they were exported


def _exports(state: State) -> dict[str, str]:
    return dict(files.read_json(state.secrets / RECOVERY / EXPORTED) or {})


def note_exported(state: State) -> None:
    """Record that the present keys were exported."""
    known = {**_exports(state), public(recovery_key(state)): machine.now()}
    files.write(state.secrets / RECOVERY / EXPORTED, json.dumps(known) + "\n", mode=0o600)
    # Its time counts too: is_pending.
    (state.backup / ESCROWED).unlink(missing_ok=True)
    mark_exported(state)


def exported_at(state: State) -> str:
    """When the present keys were exported; empty: never."""
    number = _number(state)
    there = number in versions.numbers(state, RECOVERY)
    return _exports(state).get(public(versions.value_of(state, RECOVERY, number)), "") if there else ""


def mark_exported(state: State) -> None:
    """Let the container know whether the present keys were exported."""
    path, at = state.backup / ESCROWED, exported_at(state)
    if not at:
        path.unlink(missing_ok=True)
    elif not path.is_file() or path.read_text().strip() != at:
        state.backup.mkdir(mode=0o755, exist_ok=True)
        files.write(path, at + "\n")


# ---- Both, in a file


def newest(state: State) -> str:
    """The newest key of the repositories; empty where there is none."""
    number = versions.newest(state, CIPHER)
    return versions.value_of(state, CIPHER, number) if number else ""


def value(project: Project) -> str:
    """The same. Raises HostLacks where there is none yet."""
    if not (found := newest(project.state)):
        raise HostLacks(
            "there is no repository key", f"the state folder lacks {CIPHER}",
            "of a new stack: inv deploy makes it; lost: inv backup.key --import FILE",
        )  # fmt: skip
    return found


def export(project: Project, path: Path) -> None:
    """Write the keys into a new file (0600), read it back, and note that they were exported."""
    must_be_new(path)
    write(project, path)
    note_exported(project.state)


def must_be_new(path: Path) -> None:
    """Raises UsageProblem where the file exists: it might be the key of another stack, which nothing replaces."""
    destination(str(path), overwrite=False, option="")


def is_pending(project: Project, path: Path) -> bool:
    """Whether a file was written by a rotation to the newest version that did not come to its end."""
    made = versions.path_of(project.state, CIPHER, versions.newest(project.state, CIPHER))
    noted = project.state.backup / ESCROWED
    if not path.is_file() or (noted.is_file() and noted.stat().st_mtime >= made.stat().st_mtime):
        return False
    try:
        check(project, path)
    except OpsError:
        return False
    return True


def write(project: Project, path: Path) -> None:
    """The newest key of the repositories, and every recovery key, into a file (0600), read back."""
    cipher, known = value(project), recovery_keys(project.state)
    files.write(path, on_paper(cipher, known, project.name, time.strftime("%Y-%m-%d")), mode=0o600)
    check(project, path)


def allow(state: State, numbers: Iterable[int]) -> None:
    """Note that the repositories may go from one of these versions to another (compose/backup, keys.py)."""
    path = state.secrets / CIPHER / ROTATED
    known = json.loads(path.read_text()) if path.is_file() else []
    files.write(path, json.dumps(sorted({*known, *numbers})) + "\n", mode=0o600)


def check(project: Project, path: Path) -> None:
    """Raises OpsError where a file does not hold the keys of these backups."""
    if not hmac.compare_digest(read(path), value(project)):
        raise OpsError(
            f"{path} contains another key",
            "no backup of this stack can be read with it",
            "inv backup.key --export NEW-FILE",
        )
    if recovery_key(project.state) not in read_recovery(path):
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
    """The recovery keys in a file, in its order. Raises UsageProblem where one is mistyped: each has a checksum of its own."""
    found = parse_recovery(_text(path))
    for identity in found:
        public(identity)
    return found


# ---- On paper


def checksum(key: str) -> str:
    """Eight hexadecimal digits that tell nothing about the 256 random bits of the key."""
    return hashlib.sha256(b"cc03 repository key\n" + key.encode()).hexdigest()[:8]


def _grouped(key: str) -> str:
    return " ".join(key[index : index + GROUP] for index in range(0, len(key), GROUP))


def on_paper(key: str, recovery: Sequence[str], project: str, at: str) -> str:
    """The file to print or to keep in a safe. `key`: of the repositories. `recovery`: recovery keys, the present one first.
    `at`: date of the export."""
    further = "".join(f"recovery key: {_grouped(identity)}\n" for identity in recovery)
    return (
        f"Keys of the backups of {project}, exported {at}.\n"
        "\n"
        "Whoever has them and a copy of a backup repository can read everything in it, passwords included.\n"
        "Without them no backup can be read by anybody. Keep them apart from the backups, and not on the same host.\n"
        "The first opens the repositories. A recovery key opens what they hold of the host: secrets, certificates,\n"
        "settings. Where there are several, the first is today's, and older sets need the others.\n"
        "\n"
        f"key: {_grouped(key)}\n"
        f"checksum: {checksum(key)}\n"
        f"{further}"
        "\n"
        "On an empty host, with a clone of this repository and this file:\n"
        "    inv restore --bootstrap FOLDER --key FILE\n"
        "Whether a copy of this file is still right: inv backup.key --check FILE\n"
        "Blanks within a key do not count.\n"
    )


def parse(text: str, name: str) -> str:
    """The key out of an exported file, or out of one that holds nothing else. Raises OpsError where it cannot be one, or its
    checksum tells that it was mistyped. `name`: of the file."""
    labelled = re.search(r"^\s*key:\s*(.+)$", text, re.MULTILINE)
    key = re.sub(r"\s+", "", labelled[1] if labelled else text)
    if not re.fullmatch(r"[A-Za-z0-9_~.-]{20,}", key):
        raise OpsError(f"{name} holds no key", "a line `key: …`, or the key alone, is needed", "inv backup.key --export FILE")
    said = re.search(r"^\s*checksum:\s*([0-9a-fA-F]{8})\s*$", text, re.MULTILINE)
    if said and not hmac.compare_digest(said[1].lower(), checksum(key)):
        raise OpsError(
            f"the key in {name} is mistyped", f"its checksum is {checksum(key)}, the file says {said[1]}",
            "compare it with the printed copy group by group",
        )  # fmt: skip
    return key


def parse_recovery(text: str) -> tuple[str, ...]:
    """The recovery keys in an exported file, in its order; none in one of earlier versions."""
    found = re.findall(r"^\s*recovery key:\s*(.+)$", text, re.MULTILINE)
    return tuple(re.sub(r"\s+", "", one).upper() for one in found)


def version_for(present: Sequence[int], copies: Iterable[str], secret: str) -> int:
    """The version of a key that is restored: that of the engine's copy, which containers have, where the state folder has none;
    else a newer one than what is there, which was wrong.

    present: versions in the state folder. copies: names of the engine's secrets. secret: `PROJECT-NAME`.
    """
    if present:
        return max(present) + 1
    found = (re.fullmatch(rf"{re.escape(secret)}-(\d+)", name) for name in copies)
    return max((int(match[1]) for match in found if match), default=1)
