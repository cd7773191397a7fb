"""Encryption at rest begun and ended. Either can be killed at any moment; then the same goes on, or the other."""

from __future__ import annotations

import contextlib
import os
import shutil
from pathlib import Path

from ops.core import files as disk
from ops.core.errors import HostLacks, OpsError, UsageProblem
from ops.core.files import remove_clear
from ops.secrets.at_rest import encrypted_copies as mirror
from ops.secrets.at_rest.encrypted_copies import FOLDERS, HOME, OF, ON, SUFFIX
from ops.secrets.at_rest.keys import make_key, opened, public, read_key
from ops.secrets.at_rest.unlock import OPEN_FOLDERS, unlock, vanished

GONE = f".{HOME}.gone"
ROOM = 2
"""Times what the folders hold now, that must be free in memory: they grow with each version."""


def is_unfinished(root: Path) -> bool:
    """Whether a beginning or an end was killed: some parts are encrypted, or the readable ones are still there."""
    left = mirror.has_leftovers(root) or (root / GONE).exists()
    return left or mirror.is_half(root) or (mirror.is_on(root) and not mirror.all_linked(root))


def begin(root: Path, key: Path) -> None:
    """Put what holds secrets into memory, and encrypted copies of it on the disk.

    Parameters
    ----------
    key: file with the identity; made where there is none.

    Raises UsageProblem where it was begun with another key, HostLacks where memory is short, OpsError where what was encrypted
    does not come back as it was: then nothing has been removed.
    """
    memory, home = mirror.memory_of(root), root / HOME
    mirror.make_room(memory)
    _must_fit(root, memory)
    _must_be_key_of(root, key)
    identity = read_key(key) if key.exists() else make_key(key)
    if mirror.is_locked(root):
        # Memory is empty: the copies are what counts.
        unlock(root, identity)
    shutil.rmtree(root / GONE, ignore_errors=True)
    home.mkdir(mode=0o700, exist_ok=True)
    disk.write(home / "key-file", str(key))
    disk.write(home / "recipient", public(identity))
    memory.mkdir(exist_ok=True, mode=0o700)
    with mirror.alone(root):
        for name in FOLDERS:
            _undo_an_end(root, name)
            _into_memory(root, name, memory / name, identity)
        disk.write(memory / OF, str(root.resolve()))
        os.sync()
        disk.write(home / ON, "")
        mirror.drop_all(root)


def _must_fit(root: Path, memory: Path) -> None:
    paths = [path for name in FOLDERS if not (root / name).is_symlink() for path in (root / name).rglob("*") if path.is_file()]
    needed, free = ROOM * sum(path.stat().st_size for path in paths), shutil.disk_usage(memory.parent).free
    if needed > free:
        raise HostLacks(
            "the secrets do not fit into memory", f"{memory.parent}: {free:,} bytes are free, {needed:,} are wanted",
            "make that tmpfs larger: mount -o remount,size=… ",
        )  # fmt: skip


def _must_be_key_of(root: Path, key: Path) -> None:
    """Raises UsageProblem where what was begun was begun for another key, or for one that is not there now."""
    begun = mirror.recipient(root)
    if begun and (not key.exists() or public(read_key(key)) != begun):
        raise UsageProblem(
            "encryption was begun with another key", f"for {begun}, whose key was {mirror.key_file(root)}",
            "inv secrets.encrypt with that one; or inv secrets.decrypt reverts it",
        )  # fmt: skip


def _undo_an_end(root: Path, name: str) -> None:
    """What an end that was killed was about to put in place of a link; where the link has gone already, it is put there."""
    if (root / name).is_symlink():
        remove_clear(mirror.fresh_of(root, name))
    _in_place(root, name)


def _into_memory(root: Path, name: str, target: Path, identity: str) -> None:
    folder, aside, copies = root / name, mirror.aside_of(root, name), mirror.copies_of(root) / name
    if folder.is_symlink() and target.is_dir():
        return
    # Beside the one that was put aside, there can only be an empty one that a later command has made.
    source = aside if aside.is_dir() else folder
    if folder.is_symlink():
        # Until the target is whole, nothing leads there.
        folder.unlink()
    if not source.is_dir() and any(copies.rglob(f"*{SUFFIX}")):
        raise OpsError(
            f"{name} of {root.name} is neither in memory nor on disk", "its encrypted copies are all that is left of it",
            f"inv secrets.unlock --key {mirror.key_file(root)}",
        )  # fmt: skip
    shutil.rmtree(target, ignore_errors=True)
    _copy(source, target)
    if not source.is_dir():
        target.mkdir(mode=OPEN_FOLDERS.get(name, 0o700))
    mirror.sync_folder(target, copies, public(identity))
    _compare(target, copies, identity)
    if source is aside:
        shutil.rmtree(folder, ignore_errors=True)
    elif folder.is_dir():
        folder.rename(aside)
        _must_be_alike(aside, target)
    folder.symlink_to(target)


def _copy(source: Path, target: Path) -> None:
    """A folder with its owners, modes and times; nothing where there is none."""
    if not source.is_dir():
        return
    shutil.copytree(source, target, symlinks=True)
    for path in (source, *source.rglob("*")):
        if not path.is_symlink():
            mirror.alike(target / path.relative_to(source), path.stat())


def _compare(clear: Path, copies: Path, identity: str) -> None:
    for path in (path for path in clear.rglob("*") if path.is_file() and not path.is_symlink() and path.name[0] != "."):
        copy = mirror.copy_in(copies, path.relative_to(clear))
        if opened(copy, identity) != path.read_bytes():
            raise OpsError(f"{copy} does not come back as it was", "the disk or memory is faulty", "check the kernel's log")


def _must_be_alike(one: Path, other: Path) -> None:
    """Raises OpsError where a file of `one` is not the same in `other`."""
    for path in one.rglob("*"):
        twin = other / path.relative_to(one)
        if path.is_file() and not (twin.is_file() and path.read_bytes() == twin.read_bytes()):
            raise OpsError(f"{path.name} was changed meanwhile", "another command wrote it", "the same command again")


def end(root: Path) -> None:
    """Put everything back on the disk as it is in memory, and forget the copies. What was only begun is taken back."""
    home, gone = root / HOME, root / GONE
    if home.is_dir():
        with mirror.alone(root):
            if mirror.is_on(root):
                _onto_disk(root)
            else:
                for name in FOLDERS:
                    _as_before(root, name)
            os.sync()
            # In one step: a folder that lacks some of its files would say nothing true.
            home.rename(gone)
    forget(root)
    shutil.rmtree(gone, ignore_errors=True)


def _onto_disk(root: Path) -> None:
    # Where the link has gone, they are on the disk already.
    if (root / "secrets").is_symlink() and (missing := vanished(root)):
        raise HostLacks(
            f"{len(missing)} secrets are not in memory, such as {next(iter(missing))}", "only their copies are left",
            "inv secrets.unlock brings them back, then this again",
        )  # fmt: skip
    memory, linked = mirror.memory_of(root), [name for name in FOLDERS if (root / name).is_symlink()]
    mirror.drop_all(root)
    for name in linked:
        fresh = mirror.fresh_of(root, name)
        shutil.rmtree(fresh, ignore_errors=True)
        # What containers were given as files they are given by Podman again.
        if name != "handed":
            _copy(memory / name, fresh)
    os.sync()
    for name in FOLDERS:
        if name in linked:
            if name != "handed":
                _must_be_alike(memory / name, mirror.fresh_of(root, name))
            (root / name).unlink()
        _in_place(root, name)


def _in_place(root: Path, name: str) -> None:
    fresh = mirror.fresh_of(root, name)
    if fresh.is_dir() and not (root / name).is_symlink():
        # It is whole. In its place there can only be an empty one that a later command has made.
        shutil.rmtree(root / name, ignore_errors=True)
        fresh.rename(root / name)


def _as_before(root: Path, name: str) -> None:
    """Take back what was begun: what was put aside is whole, and nothing was written since."""
    folder, aside = root / name, mirror.aside_of(root, name)
    if folder.is_symlink():
        folder.unlink()
    if aside.is_dir():
        shutil.rmtree(folder, ignore_errors=True)
        aside.rename(folder)


def forget(root: Path) -> None:
    """Remove what is in memory."""
    memory = mirror.memory_of(root)
    remove_clear(memory)
    with contextlib.suppress(OSError):
        memory.with_name(f"{memory.name}.lock").unlink(missing_ok=True)
        memory.parent.rmdir()
