"""Folders of the state that lie in memory, and their encrypted copies on files.

    secrets -> /run/cc03/PROJECT-…/secrets      a link, as are ca, acme, backup, keycloak-fix and handed
    at-rest/recipient, at-rest/key-file         who can read the copies, and where that key is looked for
    at-rest/on                                  last of all: from then on the copies are what counts
    at-rest/files/secrets/NAME/VERSION.age      one file each, with its owner, mode and time

The copies are age files (https://age-encryption.org/v1), so the program of that name opens them as well. A file is written
through `kept`: nobody acts upon a value of which there is no copy on files.
"""

from __future__ import annotations

import contextlib
import hashlib
import os
import shutil
import stat
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ops.core import files, lock
from ops.core.errors import HostLacks
from ops.core.files import remove_clear, to_disk

HOME = "at-rest"
FOLDERS = ("secrets", "ca", "acme", "backup", "keycloak-fix", "handed")
"""Parts of the state folder that hold secrets. Not certs (keys of 30 days that containers read) and not dumps (databases)."""
SUFFIX = ".age"
ON = "on"
OF = ".state"
"""Name of the file in memory that names the state folder."""
PLACES = (Path("/run"), Path("/dev/shm"))
"""Where memory is mounted: /run on every host with an init system, /dev/shm on every Linux."""


def _kinds() -> dict[str, str]:
    """Mount point -> kind of file system (proc(5), /proc/PID/mounts)."""
    return dict(line.split()[1:3] for line in Path("/proc/self/mounts").read_text().splitlines())


def is_in_memory(folder: Path) -> bool:
    """Whether the file system that a folder is on goes with a boot."""
    kinds = _kinds()
    return next((kinds[str(place)] for place in (folder, *folder.parents) if str(place) in kinds), "") in ("tmpfs", "ramfs")


def memory_below() -> Path:
    """A folder that is in memory. Raises HostLacks where none is."""
    kinds = _kinds()
    for place in PLACES:
        if kinds.get(str(place)) == "tmpfs":
            return place
    raise HostLacks(
        "there is no memory to keep secrets in", f"neither of {', '.join(map(str, PLACES))} is a tmpfs",
        "mount -t tmpfs -o mode=755 tmpfs /run",
    )  # fmt: skip


def memory_of(root: Path) -> Path:
    """The folder in memory that belongs to a state folder."""
    real = root.resolve()
    return memory_below() / "cc03" / f"{real.name}-{hashlib.sha256(str(real).encode()).hexdigest()[:8]}"


def is_on(root: Path) -> bool:
    return (root / HOME / ON).is_file()


def is_half(root: Path) -> bool:
    """Whether the encryption was begun, and has not come to its end."""
    return (root / HOME).is_dir() and not is_on(root)


def is_locked(root: Path) -> bool:
    """Whether secrets are encrypted and memory does not have them, as after a boot."""
    return is_on(root) and not is_there(memory_of(root))


def is_there(memory: Path) -> bool:
    return is_ours(memory.parent) and (memory / OF).is_file()


def is_ours(folder: Path) -> bool:
    """Whether a folder is this user's alone. /dev/shm is open to every account of the host: one may have made it before us."""
    try:
        about = folder.lstat()
    except FileNotFoundError:
        return False
    return stat.S_ISDIR(about.st_mode) and about.st_uid == os.geteuid() and not about.st_mode & 0o077


def make_room(memory: Path) -> None:
    """Make the folder in memory that a project's is in. Raises HostLacks where somebody else has."""
    place = memory.parent
    with contextlib.suppress(FileExistsError):
        place.mkdir(mode=0o700)
    if not is_ours(place):
        raise HostLacks(
            f"{place} is not root's alone", "whose it is could read and replace every secret in it",
            f"ls -ld {place}: of root, chmod 700 will do; of somebody else, find out why, and rename it",
        )  # fmt: skip


def private(root: Path) -> Path:
    """Where something secret may lie for a moment: in memory, where secrets are encrypted and open."""
    return memory_of(root) if is_on(root) and not is_locked(root) else root


def recipient(root: Path) -> str:
    return _noted(root / HOME / "recipient")


def key_file(root: Path) -> Path:
    return Path(_noted(root / HOME / "key-file") or "an unknown place")


def _noted(path: Path) -> str:
    return path.read_text().strip() if path.is_file() else ""


@dataclass(frozen=True)
class _Place:
    root: Path
    copy: Path


def _place(path: Path) -> _Place | None:
    """Where the copy of a file belongs; None where it needs none."""
    real = path.parent.resolve() / path.name
    if not any(real.is_relative_to(place / "cc03") for place in PLACES):
        return None
    memory = next((above for above in real.parents if (above / OF).is_file()), None)
    if memory is None:
        return None
    root, within = Path((memory / OF).read_text()), real.relative_to(memory)
    return _Place(root, copy_in(copies_of(root), within)) if within.parts[0] in FOLDERS else None


def copies_of(root: Path) -> Path:
    """The folder of encrypted copies, as the parts of the state folder that they are of."""
    return root / HOME / "files"


def copy_in(copies: Path, within: Path) -> Path:
    """The copy of a file, in the copy of the folder that it is `within`."""
    return copies / within.with_name(within.name + SUFFIX)


def clear_of(within: Path) -> Path:
    """The file that a copy is of."""
    return within.with_name(within.name.removesuffix(SUFFIX))


@contextmanager
def alone(root: Path) -> Iterator[None]:
    """One at a time writes copies. The lock is in memory, too: with a full disk secrets can still be opened."""
    memory = memory_of(root)
    make_room(memory)
    with lock.hold(memory.with_name(f"{memory.name}.lock"), "at-rest", patiently=True):
        yield


@contextmanager
def kept(path: Path, fresh: Path) -> Iterator[None]:
    """Around the moment in which `fresh` becomes `path`: its copy is on disk before."""
    place = _place(path)
    if place is None:
        yield
        return
    with alone(place.root):
        seal(fresh, place.copy, recipient(place.root))
        yield


def removed(path: Path) -> None:
    """Forget the copies of a file or folder that was removed on purpose."""
    place = _place(path)
    if place is not None:
        with alone(place.root):
            place.copy.unlink(missing_ok=True)
            shutil.rmtree(place.copy.with_name(path.name), ignore_errors=True)
            to_disk(place.copy.parent)


@contextmanager
def moved(old: Path, new: Path) -> Iterator[None]:
    """Around a renaming: the copy has the new name before, and the old one no longer after it."""
    before, after = _place(old), _place(new)
    if before is None or after is None:
        yield
        return
    with alone(before.root):
        seal(old, after.copy, recipient(after.root))
        yield
        before.copy.unlink(missing_ok=True)
        to_disk(before.copy.parent)


# A command that writes a file knows nothing of its copy.
files.replacing, files.renaming = kept, moved


def seal(clear: Path, copy: Path, to: str) -> None:
    """Write the encrypted copy of a file, whole or not at all, with its owner, mode and time."""
    import pyrage

    about = clear.stat()
    data = pyrage.encrypt(clear.read_bytes(), [pyrage.x25519.Recipient.from_str(to)])
    files.make_folder(copy.parent, mode=0o700)
    with files.beside(copy, data, mode=0o600) as fresh:
        alike(fresh, about)
        fresh.replace(copy)
    to_disk(copy.parent)


def alike(path: Path, about: os.stat_result) -> None:
    """The owner, mode and time of another one."""
    if os.geteuid() == 0:
        os.chown(path, about.st_uid, about.st_gid)
    path.chmod(about.st_mode & 0o7777)
    os.utime(path, ns=(about.st_atime_ns, about.st_mtime_ns))


def sync(root: Path) -> None:
    """Bring the copies up to what is in memory: what was removed there, linked or written otherwise than by `kept`."""
    if not is_on(root) or is_locked(root):
        return
    memory, to = memory_of(root), recipient(root)
    with alone(root):
        for name in FOLDERS:
            if (root / name).is_symlink():
                sync_folder(memory / name, copies_of(root) / name, to)


@contextmanager
def keep_current(project: Any, verb: str, note: Callable[[str], None]) -> Iterator[None]:
    """Bring the copies up to what a command has changed beside the steps of a plan, before it releases the lock."""
    try:
        yield
    finally:
        try:
            sync(project.state.root)
        except OSError as problem:
            note(f"encrypted copies of secrets are behind: {problem}; a boot would undo this change")


def sync_folder(clear: Path, copies: Path, to: str) -> None:
    """Make `copies` the encrypted copy of a folder, file by file; what is the same already stays.

    Of secrets nothing is removed here: what was lost from memory by mistake can be had back from its copy (`opening.refill`).
    """
    copies.mkdir(parents=True, exist_ok=True, mode=0o700)
    wanted = set()
    for path in sorted(clear.rglob("*")):
        within = path.relative_to(clear)
        if any(part.startswith(".") for part in within.parts):
            continue  # half a file, or half a folder, of somebody who writes right now
        # Who removes something meanwhile brings the copies up to that after it.
        with contextlib.suppress(FileNotFoundError):
            wanted.add(_sync_one(path, copies, within, to))
    alike(copies, clear.stat())
    changed = set()
    for path in sorted(copies.rglob("*"), reverse=True) if copies.name != "secrets" else ():
        if path not in wanted:
            shutil.rmtree(path) if path.is_dir() and not path.is_symlink() else path.unlink(missing_ok=True)
            changed.add(path.parent)
    for folder in changed:
        if folder.is_dir():
            to_disk(folder)


def _sync_one(path: Path, copies: Path, within: Path, to: str) -> Path:
    if path.is_symlink():
        link = copies / within
        if not link.is_symlink() or link.readlink() != path.readlink():
            link.unlink(missing_ok=True)
            link.symlink_to(path.readlink())
            to_disk(link.parent)
        return link
    if path.is_dir():
        if not (copies / within).is_dir():
            (copies / within).mkdir(mode=0o700)
            to_disk(copies / within.parent)
        alike(copies / within, path.stat())
        return copies / within
    copy = copy_in(copies, within)
    about = path.stat()
    if not copy.exists() or copy.stat().st_mtime_ns != about.st_mtime_ns:
        seal(path, copy, to)
    else:
        alike(copy, about)  # a change of the owner leaves the time as it is
    return copy


def all_linked(root: Path) -> bool:
    """Whether every folder that holds secrets is in memory."""
    return all((root / name).is_symlink() for name in FOLDERS)


def aside_of(root: Path, name: str) -> Path:
    """Where a folder is while a link takes its place. What is there is whole."""
    return root / f".{name}.clear"


def fresh_of(root: Path, name: str) -> Path:
    """Where a folder is while it is brought back. What is there may be half of it, as long as the link is."""
    return root / f".{name}.fresh"


def _gone_of(root: Path, name: str) -> Path:
    return root / f".{name}.gone"


def has_leftovers(root: Path) -> bool:
    """Whether a beginning or an end was killed that had something readable beside what is in memory."""
    return any(of(root, name).exists() for name in FOLDERS for of in (aside_of, fresh_of, _gone_of))


def drop_all(root: Path) -> None:
    """Remove what can be read, once that is on the disk which cannot."""
    for name in FOLDERS:
        aside, gone = aside_of(root, name), _gone_of(root, name)
        remove_clear(gone)
        if aside.is_dir():
            aside.rename(gone)
            remove_clear(gone)
        if (root / name).is_symlink():
            # What an end that was killed had begun to copy.
            remove_clear(fresh_of(root, name))
    to_disk(root)
