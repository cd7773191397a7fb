"""Secrets that are encrypted at rest brought into memory: after a boot, or where some are missing there."""

from __future__ import annotations

import shutil
import time
from pathlib import Path

from ops.core import files as disk
from ops.core.errors import HostLacks
from ops.core.files import to_disk
from ops.secrets.at_rest import encrypted_copies as mirror
from ops.secrets.at_rest.encrypted_copies import FOLDERS, HOME, OF, SUFFIX
from ops.secrets.at_rest.keys import opened, public, read_key

OPEN_FOLDERS = {"backup": 0o755}
"""Folders that a container reads as another user; the rest is for root."""


def unlock(root: Path, identity: str) -> None:
    """Decrypt everything into memory: all of it, or none.

    Raises HostLacks where the key is another one, or memory is full.
    """
    memory, to = mirror.memory_of(root), public(identity)
    if mirror.recipient(root) not in ("", to):
        raise HostLacks(
            "this is not the key of the secrets of this project", f"they are encrypted for {mirror.recipient(root)}",
            "inv secrets.unlock --key FILE, with that key",
        )  # fmt: skip
    with mirror.alone(root):
        if not mirror.is_there(memory):
            _fill(root, memory, identity)
        lead_there(root)


def _fill(root: Path, memory: Path, identity: str) -> None:
    fresh = memory.with_name(f"{memory.name}.new")
    shutil.rmtree(fresh, ignore_errors=True)
    try:
        fresh.mkdir(mode=0o700)
        _decrypt(mirror.copies_of(root), fresh, identity)
        for name in FOLDERS:
            (fresh / name).mkdir(exist_ok=True, mode=OPEN_FOLDERS.get(name, 0o700))
        disk.write(fresh / OF, str(root.resolve()))
        shutil.rmtree(memory, ignore_errors=True)
        fresh.rename(memory)
    except OSError as problem:
        raise _no_room(memory, problem) from problem
    finally:
        shutil.rmtree(fresh, ignore_errors=True)


def _decrypt(copies: Path, fresh: Path, identity: str) -> None:
    folders = []
    for path in sorted(copies.rglob("*")):
        within = path.relative_to(copies)
        if path.is_symlink():
            (fresh / within).symlink_to(path.readlink())
        elif path.is_dir():
            (fresh / within).mkdir()
            folders.append(path)
        elif path.suffix == SUFFIX and not path.name.startswith("."):
            _open(path, fresh / mirror.clear_of(within), identity)
    for path in reversed(folders):
        mirror.alike(fresh / path.relative_to(copies), path.stat())


def _open(copy: Path, clear: Path, identity: str) -> None:
    """Whole or not at all: half a file would be taken for what its copy has to become."""
    with disk.beside(clear, opened(copy, identity), mode=0o600, durable=False) as fresh:
        mirror.alike(fresh, copy.stat())
        fresh.replace(clear)


def refill(root: Path, identity: str) -> list[str]:
    """Bring back into memory what is missing there of secrets, and of which there is a copy; the names of it.

    Raises HostLacks where memory is full.
    """
    clear = root / "secrets"
    with mirror.alone(root):
        missing = vanished(root)
        try:
            for name, copy in missing.items():
                (clear / name).parent.mkdir(exist_ok=True, mode=0o700)
                _open(copy, clear / name, identity)
        except OSError as problem:
            raise _no_room(mirror.memory_of(root), problem) from problem
    return list(missing)


def vanished(root: Path) -> dict[str, Path]:
    """Secrets of which there is a copy, and which are not in memory: name and version -> copy."""
    copies = mirror.copies_of(root) / "secrets"
    found = {str(mirror.clear_of(copy.relative_to(copies))): copy for copy in sorted(copies.rglob(f"[!.]*{SUFFIX}"))}
    return {name: copy for name, copy in found.items() if not (root / "secrets" / name).exists()}


def _no_room(memory: Path, problem: OSError) -> HostLacks:
    free = shutil.disk_usage(memory.parent).free
    return HostLacks(
        "secrets cannot be put into memory", f"{memory.parent}: {problem.strerror}, {free:,} bytes are free",
        "make room there, then inv secrets.unlock",
    )  # fmt: skip


def lead_there(root: Path) -> None:
    """The place in memory may be another than before the boot."""
    for name in FOLDERS:
        link, target = root / name, mirror.memory_of(root) / name
        if link.is_symlink() and link.readlink() != target:
            link.unlink()
            link.symlink_to(target)


def open_again(root: Path) -> None:
    """After a boot, with the key where it was said to be. Raises HostLacks, saying what to do, where that cannot be."""
    if not (root / HOME).is_dir():
        return
    if mirror.is_on(root) and not mirror.is_locked(root):
        _take_in(root)
    if mirror.is_half(root) or not mirror.all_linked(root):
        raise HostLacks(
            f"the secrets of {root.name} are encrypted in part", "inv secrets.encrypt, or secrets.decrypt, was interrupted",
            f"inv secrets.encrypt --key {mirror.key_file(root)} completes it; inv secrets.decrypt reverts it",
        )  # fmt: skip
    if not mirror.is_locked(root):
        lead_there(root)
    elif (key := mirror.key_file(root)).is_file():
        unlock(root, read_key(key))
    else:
        raise HostLacks(
            f"the secrets of {root.name} are encrypted, and their key is not here", f"{key} does not exist",
            "bring it, or: inv secrets.unlock --key FILE; if it is lost: docs/how-to/secrets.md#the-key-is-lost",
        )  # fmt: skip
    if mirror.has_leftovers(root):
        with mirror.alone(root):
            mirror.drop_all(root)


def _take_in(root: Path) -> None:
    """A folder that an earlier version of this did not know of, and in which there is nothing yet."""
    if mirror.all_linked(root):
        return
    for name in FOLDERS:
        folder, target = root / name, mirror.memory_of(root) / name
        if folder.is_symlink() or (folder.is_dir() and any(folder.iterdir())):
            continue
        target.mkdir(exist_ok=True, mode=OPEN_FOLDERS.get(name, 0o700))
        if folder.is_dir():
            folder.rmdir()
        folder.symlink_to(target)
    to_disk(root)


def lead_nowhere(root: Path) -> None:
    """Remove the links into memory."""
    for name in FOLDERS:
        if (root / name).is_symlink():
            (root / name).unlink()
    to_disk(root)


def set_aside(root: Path) -> None:
    """Give up what is locked, its key being lost: the encrypted copies stay under another name, and nothing leads to memory."""
    # In this order: killed in between, it is still locked, and this is done again.
    lead_nowhere(root)
    (root / HOME).rename(root / f"{HOME}.lost-{time.strftime('%Y%m%dT%H%M%S')}")
    to_disk(root)
