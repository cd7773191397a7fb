"""Search for values of secrets where none belongs: in memory, byte by byte, and never printed."""

from __future__ import annotations

import base64
import json
import os
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from ops.core.state import State
from ops.project import Project
from ops.secrets import backup_keys as keys
from ops.stack.model import Container
from ops.stack.render import volume_name
from ops.store import encrypted_copies
from ops.store.versions import newest_values

CHUNK = 8 << 20
VOLUME_BYTES = 512 << 20
"""Of each volume, the newest files first: some ten seconds of one core (measured)."""
BELONG = {"secrets", "dumps", "ca", "keycloak-fix"}
"""Parts of the state folder that hold secrets, for root only. Dumps are of a database that keeps clients' secrets."""
HANDED = "backup/"
"""Files for the backup container, which has this secret of its own: a former key of the repositories stays there until every
repository has the new one."""
VOLUMES = ("backup-repository", "prometheus-data", "alertmanager-data", "logs-data", "redis-data")
"""Not PostgreSQL's, where Keycloak keeps its clients' secrets."""

Place = tuple[str, Path | bytes]
"""(name of the place, its file or its content)"""


@dataclass(frozen=True)
class Leak:
    """The value of a secret at a place where it does not belong."""

    secret: str
    where: str


@dataclass
class Found:
    secrets: int = 0
    places: int = 0
    read_bytes: int = 0
    leaks: list[Leak] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)

    def as_json(self) -> dict[str, Any]:
        return {**vars(self), "leaks": [vars(leak) for leak in self.leaks]}


def forms(value: bytes) -> tuple[bytes, ...]:
    """A value as it is, in hexadecimal, and in base64 wherever in a text it begins. URLs and JSON leave it as it is."""
    shifted = (base64.b64encode(b"\0" * shift + value)[(0, 2, 3)[shift] :].rstrip(b"=")[:-1] for shift in range(3))
    return (value, value.hex().encode(), *shifted)


def places(state: State, containers: Mapping[str, Mapping[str, Any]]) -> Iterator[Place]:
    """Where a secret shows to others, or is kept for long: what the engine says of containers, arguments and environment of
    every process of the host, and the state folder without the parts that hold secrets.

    containers: slot -> what the engine says of it.
    """
    for slot, item in containers.items():
        yield f"{slot} (inspect)", json.dumps(item).encode()
    owners = {_namespace(item["State"]["Pid"]): slot for slot, item in containers.items()}
    owners[""] = ""
    for entry in Path("/proc").iterdir():
        for part in ("cmdline", "environ") if entry.name.isdigit() else ():
            try:
                content = (entry / part).read_bytes()
            except OSError:
                continue  # it has ended meanwhile
            yield f"{owners.get(_namespace(entry.name), '') or f'process {entry.name}'} ({part})", content
    for path in sorted(state.root.rglob("*")):
        within = path.relative_to(state.root)
        if within.parts[0] not in BELONG and path.is_file() and not path.is_symlink():
            yield str(within), path


def _namespace(pid: object) -> str:
    """Identity of the namespace of processes that one stands in; empty for the host's own, and for one that has ended."""
    try:
        own, found = (os.readlink(f"/proc/{one}/ns/pid") for one in ("self", pid))  # noqa: PTH115  (not a path)
    except OSError:
        return ""
    return "" if found == own else found


def search(project: Project) -> Found:
    """Every place that commands, containers and backups write to or show, without those where secrets belong."""
    needles = {name: forms(value) for name, value in newest_values(project.state).items()}
    found = Found(secrets=len(needles))
    containers = project.engine.containers()
    for where, content in places(project.state, {slot: one.said for slot, one in containers.items()}):
        own = {keys.CIPHER} if where.startswith(HANDED) else set()
        _look(found, {name: some for name, some in needles.items() if name not in own}, where, content)
    for image in sorted({one.image_identity for one in containers.values()}):
        _look(found, needles, f"image {image[:12]} (history)", project.engine.image_history(image).encode())
        _look(found, needles, f"image {image[:12]} (inspect)", json.dumps(project.engine.inspect_image(image)).encode())
    if encrypted_copies.is_on(project.state.root):
        for path in _engines_own(project, containers):
            _look(found, needles, f"Podman: {path}", path)
    for volume in VOLUMES:
        _volume(project, volume, needles, found)
    return found


def _look(found: Found, needles: Mapping[str, tuple[bytes, ...]], where: str, content: Path | bytes) -> None:
    found.places += 1
    held: set[str] = set()
    for chunk in _chunks(content) if isinstance(content, Path) else [content]:
        found.read_bytes += len(chunk)
        held |= {name for name, some in needles.items() if any(one in chunk for one in some)}
    found.leaks += [Leak(name, where) for name in sorted(held)]


def _engines_own(project: Project, containers: Mapping[str, Container]) -> Iterator[Path]:
    """What Podman keeps of secrets and of each container. No value belongs there where secrets are encrypted at rest."""
    root = project.engine.storage()
    folders = (root / "overlay-containers" / one.identity / "userdata" for one in containers.values())
    for folder in (root / "secrets", *folders):
        yield from (path for path in sorted(folder.rglob("*")) if path.is_file() and not path.is_symlink())


def _chunks(path: Path) -> Iterator[bytes]:
    """The content, in pieces that overlap by more than a value is long."""
    rest = b""
    try:
        with path.open("rb") as file:
            while data := file.read(CHUNK):
                yield rest + data
                rest = data[-512:]
    except OSError:
        return  # it is gone


def _volume(project: Project, volume: str, needles: Mapping[str, tuple[bytes, ...]], found: Found) -> None:
    root = project.engine.volumes().get(volume_name(project.name, volume))
    if root is None:
        return
    sizes = {}
    for path in root.rglob("*"):
        try:
            if path.is_file() and not path.is_symlink():
                sizes[path] = path.stat()
        except OSError:
            continue
    left, skipped = VOLUME_BYTES, 0
    for path, about in sorted(sizes.items(), key=lambda item: -item[1].st_mtime):
        if about.st_size > left:
            skipped += 1
            continue
        left -= about.st_size
        _look(found, needles, f"volume {volume}: {path.relative_to(root)}", path)
    if skipped:
        found.notes.append(f"volume {volume}: {skipped} files were not read, beyond {VOLUME_BYTES >> 20} MB of the newest")
