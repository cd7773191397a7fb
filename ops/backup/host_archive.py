"""host.tar: what only this host knows, for the backup container, which stores it and cannot read it.

    facts.json      what ran, for the manifest of the set
    sealed.age      a tar file of the state folder and the settings, encrypted for the recovery key (keys.py)
    sealed.hmac     what tells that this host has made both
    state/secrets/backup-cipher/…      former keys of the repositories, only while a rotation of them is not finished

Written after each command that changes something, so that the newest set restores this host as it is.
"""

from __future__ import annotations

import io
import json
import os
import stat
import tarfile
import tempfile
import time
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from copy import copy
from pathlib import Path
from typing import Any

from ops.backup import container
from ops.core import files, lock, machine, records
from ops.core.errors import HostLacks, OpsError
from ops.core.state import State
from ops.host.files import owner_of
from ops.project import Project
from ops.secrets import backup_keys as keys
from ops.stack.applied_settings import OWNER
from ops.stack.checkout import origin
from ops.store import encrypted_copies, encryption, versions
from ops.store.releases import current_number

NAME, FACTS, SEALED, SIGNED = "host.tar", "facts.json", "sealed.age", "sealed.hmac"
STATE, CHECKOUT = "state", "checkout"
"""Folders within the archive."""
LEFT_OUT = {
    "logs", "builds", "metrics", "prober", "ticker", "backup", "dumps", "lock", "containers.conf", "restore.json", "at-rest",
    "handed",
}  # fmt: skip
"""Of the state folder: what is made anew, and dumps, which may be large and are in the database's own backup."""
JOURNALS = ("journal.jsonl", "backup.jsonl")
"""Files of which finished parts (records.py) are left out."""
LARGEST = 64 << 20
"""Bytes of one file. What is larger is left out, and named in the facts: the archive is encrypted in memory."""
FORMER = Path("secrets") / keys.CIPHER


def facts(project: Project, left_out: Mapping[str, int] = {}) -> dict[str, Any]:
    """What the archive says of itself; it goes into the manifest of the set. `left_out`: file -> bytes."""
    state = project.state
    release = files.read_json(state.current / "release.json") or {}
    return {
        "version": 1, "project": project.name, "at": machine.now(),
        "release": current_number(state), "images": release.get("images", {}), "image_ids": release.get("image_ids", {}),
        "left_out": dict(left_out), **origin(project.host.repository),
    }  # fmt: skip


def keep(project: Project) -> Path | None:
    """Write the archive whole or not at all; None where there is no project any more, or nothing deployed yet.

    Raises OSError where it cannot be written, OpsError where the recovery key does not open it.
    """
    state = project.state
    # What is in the place of secrets that are locked may be somebody else's.
    if encrypted_copies.is_locked(state.root) or not state.secrets.is_dir() or not any(state.secrets.iterdir()):
        return None
    state.backup.mkdir(mode=0o755, exist_ok=True)
    # Some commands change something without the project's lock; of those, each writes after the other.
    with lock.hold(state.root / ".archive.lock", "archive", patiently=True):
        versions.write_signers(state)
        _write(project, state.backup / NAME)
        keys.mark_exported(state)
    return state.backup / NAME


def _write(project: Project, target: Path) -> None:
    # One name: what a command left that was killed meanwhile is replaced by the next one.
    fresh, identity = target.with_name(f".{NAME}.new"), keys.recovery_key(project.state)
    fresh.unlink(missing_ok=True)
    members = list(_members(project.state, project.host.repository))
    large = {name: size for path, name in members if (size := _size(path)) > LARGEST}
    content = _packed((path, name) for path, name in members if name not in large)
    about, data = files.dump(facts(project, large)).encode(), keys.encrypt(content, identity)
    try:
        with os.fdopen(os.open(fresh, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o400), "wb") as file:
            with tarfile.open(fileobj=file, mode="w", format=tarfile.PAX_FORMAT) as archive:
                _add(archive, FACTS, about)
                for path in _former(project.state):
                    archive.add(path, f"{STATE}/{FORMER}/{path.name}", recursive=False)
                _add(archive, SEALED, data)
                _add(archive, SIGNED, keys.signature([data, about], identity).encode())
            if os.geteuid() == 0:
                owner = owner_of(project.engine, "backup", OWNER)
                os.fchown(file.fileno(), owner, owner)
            file.flush()
            os.fsync(file.fileno())
        with tarfile.open(fresh) as archive:
            intact = _opened(archive, [identity]) == content
        if not intact:
            raise OpsError("what was written for the backup does not open", f"{fresh.name} is damaged", "inv backup, again")
        fresh.replace(target)
    finally:
        fresh.unlink(missing_ok=True)


def _opened(outer: tarfile.TarFile, identities: Sequence[str]) -> bytes | None:
    """What is encrypted in an archive; None in one of earlier versions. Raises HostLacks where these keys do not open it."""
    data, about, signed = (_content(outer, name) for name in (SEALED, FACTS, SIGNED))
    return None if data is None else keys.decrypt(data, [about or b""], (signed or b"").decode(), identities)


def _packed(members: Iterable[tuple[Path, str]]) -> bytes:
    """In memory: nothing of it lies on the disk in the clear."""
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w", format=tarfile.PAX_FORMAT) as archive:
        for path, name in members:
            with suppress(FileNotFoundError):
                archive.add(path, name, recursive=False)
    return buffer.getvalue()


def _former(state: State) -> list[Path]:
    """Keys of the repositories, where there is more than one: the container needs the one that it had to take up another one
    (compose/backup, keys.py). They are its own secret, and go as soon as no repository opens with them."""
    kept = sorted((state.root / FORMER).glob("*"))
    return kept if len([path for path in kept if versions.is_value(path)]) > 1 else []


def _size(path: Path) -> int:
    """Of a file; of anything else, and of what has gone meanwhile, nothing."""
    try:
        about = path.lstat()
    except FileNotFoundError:
        return 0
    return about.st_size if stat.S_ISREG(about.st_mode) else 0


def _add(archive: tarfile.TarFile, name: str, content: bytes) -> None:
    about = tarfile.TarInfo(name)
    about.size, about.mode, about.mtime = len(content), 0o400, int(time.time())
    archive.addfile(about, io.BytesIO(content))


def _content(archive: tarfile.TarFile, name: str) -> bytes | None:
    """Of a member; None where there is none."""
    try:
        stream = archive.extractfile(name)
    except KeyError:
        return None
    return stream.read() if stream else None


def _members(state: State, repository: Path) -> Iterator[tuple[Path, str]]:
    """Every file, folder and link, folders before what they hold. What goes meanwhile is left out."""
    # Folders that lie in memory are the same to who gets them back.
    linked = [name for name in encrypted_copies.FOLDERS if (state.root / name).is_symlink()]
    within_links = [((state.root / name).resolve(), f"{STATE}/{name}", set[str]()) for name in linked if name not in LEFT_OUT]
    yield from ((top, prefix) for top, prefix, _ in within_links)
    lost = [path.name for path in state.root.glob(f"{encrypted_copies.HOME}.*")]
    # Steps of commands that ended long ago, which nothing reads. Those of the other records belong to them.
    old = [part.name for name in JOURNALS for part in records.finished(state.root / name)]
    tops = (
        (state.root, STATE, LEFT_OUT.union(linked, lost, old)), *within_links,
        (repository / "config", f"{CHECKOUT}/config", set[str]()),
    )  # fmt: skip
    for top, prefix, without in tops:
        for path in sorted(top.rglob("*")):
            within = path.relative_to(top)
            hidden = any(part.startswith(".") for part in within.parts)
            if within.parts[0] in without or hidden or not (path.is_symlink() or path.is_file() or path.is_dir()):
                continue
            yield path, f"{prefix}/{within}"


@contextmanager
def opened(archive: Path, identities: Sequence[str]) -> Iterator[tarfile.TarFile]:
    """The tar file with the state folder. Earlier versions wrote it in the clear: then it is the archive itself.

    Raises HostLacks where none of these recovery keys opens it.
    """
    with tarfile.open(archive) as outer:
        content = _opened(outer, identities)
        if content is None:
            yield outer
            return
    with tarfile.open(fileobj=io.BytesIO(content)) as inner:
        yield inner


def is_sealed(archive: Path) -> bool:
    with tarfile.open(archive) as outer:
        return SEALED in outer.getnames()


def opens(archive: Path, identities: Sequence[str]) -> bool:
    try:
        with opened(archive, identities):
            return True
    except HostLacks:
        return False


def unpack(archive: Path, state: Path, settings: Path, identities: Sequence[str]) -> dict[str, Any]:
    """Put the state folder in place, on a host that has none of it; what the archive says of itself.

    settings: file that receives the stack.yaml of that time; the rest of the checkout stays. identities: recovery keys.

    Owners and modes are restored too: keys belong to the uid that reads them.
    """
    if not encrypted_copies.is_on(state):
        # What a command was killed at that gave up encrypted ones.
        encryption.lead_nowhere(state)
    with opened(archive, identities) as inner:
        for member in inner:
            if member.name == f"{CHECKOUT}/config/{settings.name}":
                stream = inner.extractfile(member)
                if stream and settings.read_bytes() != (content := stream.read()):
                    settings.replace(settings.with_name(f"{settings.name}.before-restore"))
                    files.write(settings, content)
            elif member.name.startswith(f"{STATE}/"):
                folder, within = _destination(state, member.name.removeprefix(f"{STATE}/"))
                _extract(inner, member, folder, within)
    encrypted_copies.sync(state)
    return read_facts(archive)


def _extract(archive: tarfile.TarFile, member: tarfile.TarInfo, folder: Path, name: str) -> None:
    """Extract a member under another name, within the folder: a filter sees to that, which Debian 12's Python (3.11.2) lacks.

    Raises OpsError where it would be written elsewhere.
    """
    placed = copy(member)
    placed.name = name
    if hasattr(tarfile, "tar_filter"):
        archive.extract(placed, folder, numeric_owner=True, filter="tar")
        return
    if name.startswith("/") or ".." in Path(name).parts:
        raise OpsError(
            f"the archive would write outside of {folder}: {name}", "no backup made it", "another set: inv backup.list"
        )
    archive.extract(placed, folder, numeric_owner=True)


def _destination(state: Path, name: str) -> tuple[Path, str]:
    """(folder to extract to, name there). Where secrets are encrypted at rest, their folder is a link, and what it leads to is
    outside of the state folder."""
    top, _, rest = name.partition("/")
    linked = top in encrypted_copies.FOLDERS and (state / top).is_symlink()
    return ((state / top).resolve(), rest or ".") if linked else (state, name)


def read_facts(archive: Path) -> dict[str, Any]:
    with tarfile.open(archive) as outer:
        found: dict[str, Any] = json.loads(_content(outer, FACTS) or b"{}")
    return found


def left_out(archive: Path) -> Mapping[str, int]:
    """File -> bytes of what was too large for an archive."""
    return dict(read_facts(archive).get("left_out", {}))


def prove(project: Project, name: str, repository: str, deadline: float) -> str:
    """Open on this host what a set holds of it: the container can verify its checksum alone. Returns what was found, in words.

    name: of the set.
    Raises OpsError where the recovery keys of this host do not open it.
    """
    with tempfile.TemporaryDirectory(dir=encrypted_copies.private(project.state.root), prefix=".proving-") as folder:
        copy = Path(folder) / NAME
        if container.host_archive(project, name, repository, copy, deadline)["host"]["facts"]["project"] != project.name:
            raise OpsError(f"{name} contains the state of another project", "it was made by another host", "inv backup.list")
        try:
            with opened(copy, keys.recovery_keys(project.state)) as inner:
                count = sum(member.isfile() for member in inner)
        except HostLacks as problem:
            what = f"this host's archive in {name} cannot be decrypted"
            raise OpsError(what, problem.why, "inv backup, then this again") from problem
    return f"{count} files of this host"
