"""host.tar: what only this host knows, handed over to the backup container, which encrypts it as it stores it.

Written after each command that changes something, so that the newest set brings this host back as it is.
"""

from __future__ import annotations

import io
import json
import os
import tarfile
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from ops.machine import lock
from ops.machine import state as files
from ops.machine.at_rest import mirror, opening
from ops.machine.checkout import origin
from ops.machine.project import Project
from ops.machine.releases import current_number
from ops.machine.secrets import signers
from ops.machine.state import State
from ops.plan.backup.configuration import OWNER

NAME, FACTS, ESCROWED = "host.tar", "facts.json", "escrowed"
STATE, CHECKOUT = "state", "checkout"
"""Folders within the archive."""
LEFT_OUT = {
    "logs", "builds", "metrics", "prober", "ticker", "backup", "dumps", "lock", "containers.conf", "restore.json", "at-rest",
    "handed",
}  # fmt: skip
"""Of the state folder: what is made anew, and dumps, which may be large and are in the database's own backup."""
LARGEST = 64 << 20
"""Bytes. The container keeps its copy on a disk; still, something that large does not belong here."""


def facts(project: Project) -> dict[str, Any]:
    """What the archive says of itself; it goes into the manifest of the set."""
    state = project.state
    release = files.read_json(state.current / "release.json") or {}
    return {
        "version": 1, "project": project.name, "at": time.strftime("%Y-%m-%dT%H:%M:%S%z"),
        "release": current_number(state), "images": release.get("images", {}), "image_ids": release.get("image_ids", {}),
        **origin(project.host.repository),
    }  # fmt: skip


def keep(project: Project) -> Path | None:
    """Write the archive whole or not at all; None where there is no project any more, or nothing deployed yet.

    Raises OSError where it cannot be written.
    """
    state = project.state
    # What is in the place of secrets that are locked may be somebody else's.
    if mirror.is_locked(state.root) or not state.secrets.is_dir():
        return None
    state.backup.mkdir(mode=0o755, exist_ok=True)
    # Some commands change something without the project's lock; of those, each writes after the other.
    with lock.hold(state.root / ".archive.lock", "archive", patiently=True):
        signers.write(state)
        _write(project, state.backup / NAME)
    return state.backup / NAME


def _write(project: Project, target: Path) -> None:
    # One name: what a command left that was killed meanwhile is replaced by the next one.
    fresh = target.with_name(f".{NAME}.new")
    fresh.unlink(missing_ok=True)
    try:
        with os.fdopen(os.open(fresh, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o400), "wb") as file:
            with tarfile.open(fileobj=file, mode="w", format=tarfile.PAX_FORMAT) as archive:
                _text(archive, FACTS, files.dump(facts(project)))
                for path, name in _members(project.state, project.host.repository):
                    archive.add(path, name, recursive=False)
            if os.geteuid() == 0:
                os.fchown(file.fileno(), OWNER, OWNER)
            file.flush()
            os.fsync(file.fileno())
        fresh.replace(target)
    finally:
        fresh.unlink(missing_ok=True)


def _text(archive: tarfile.TarFile, name: str, text: str) -> None:
    about = tarfile.TarInfo(name)
    about.size, about.mode, about.mtime = len(text.encode()), 0o400, int(time.time())
    archive.addfile(about, io.BytesIO(text.encode()))


def _members(state: State, repository: Path) -> Iterator[tuple[Path, str]]:
    """Every file, folder and link, folders before what they hold. What goes meanwhile is left out."""
    # Folders that lie in memory are the same to who gets them back.
    linked = [name for name in mirror.FOLDERS if (state.root / name).is_symlink()]
    within_links = [((state.root / name).resolve(), f"{STATE}/{name}", set[str]()) for name in linked if name not in LEFT_OUT]
    yield from ((top, prefix) for top, prefix, _ in within_links)
    lost = [path.name for path in state.root.glob(f"{mirror.HOME}.*")]
    tops = (
        (state.root, STATE, LEFT_OUT.union(linked, lost)), *within_links,
        (repository / "config", f"{CHECKOUT}/config", set[str]()),
    )  # fmt: skip
    for top, prefix, without in tops:
        for path in sorted(top.rglob("*")):
            within = path.relative_to(top)
            hidden = any(part.startswith(".") for part in within.parts)
            if within.parts[0] in without or hidden or not (path.is_symlink() or path.is_file() or path.is_dir()):
                continue
            if path.is_symlink() or path.stat().st_size <= LARGEST:
                yield path, f"{prefix}/{within}"


def unpack(archive: Path, state: Path, settings: Path) -> dict[str, Any]:
    """Put the state folder in place, on a host that has none of it; what the archive says of itself.

    Parameters
    ----------
    settings: file that receives the stack.yaml of then, beside nothing else of the checkout.

    Owners and modes are those of then: keys belong to the uid that reads them.
    """
    said: dict[str, Any] = {}
    if not mirror.is_on(state):
        # What a command was killed at that gave up encrypted ones.
        opening.lead_nowhere(state)
    with tarfile.open(archive) as opened:
        for member in opened:
            if member.name == FACTS:
                stream = opened.extractfile(member)
                said = json.loads(stream.read()) if stream else {}
            elif member.name == f"{CHECKOUT}/config/{settings.name}":
                stream = opened.extractfile(member)
                if stream and settings.read_bytes() != (content := stream.read()):
                    settings.replace(settings.with_name(f"{settings.name}.before-restore"))
                    files.write(settings, content)
            elif member.name.startswith(f"{STATE}/"):
                folder, within = _destination(state, member.name.removeprefix(f"{STATE}/"))
                opened.extract(member.replace(name=within, deep=False), folder, numeric_owner=True, filter="tar")
    mirror.sync(state)
    return said


def _destination(state: Path, name: str) -> tuple[Path, str]:
    """(folder to extract to, name there). Where secrets are encrypted at rest, their folder is a link, and what it leads to is
    outside of the state folder."""
    top, _, rest = name.partition("/")
    linked = top in mirror.FOLDERS and (state / top).is_symlink()
    return ((state / top).resolve(), rest or ".") if linked else (state, name)


def read_facts(archive: Path) -> dict[str, Any]:
    with tarfile.open(archive) as opened:
        stream = opened.extractfile(FACTS)
        found: dict[str, Any] = json.loads(stream.read()) if stream else {}
    return found
