"""Encryption of secrets at rest begun, ended and unlocked. Killed at any moment, each goes on, or is reverted."""

from __future__ import annotations

import contextlib
import os
import shutil
import time
from pathlib import Path

from ops.core import files
from ops.core.errors import HostLacks, OpsError, UsageProblem
from ops.core.files import remove_clear, to_disk
from ops.store import encrypted_copies
from ops.store.encrypted_copies import FOLDERS, HOME, OF, ON, SUFFIX
from ops.store.keys import make_key, opened, public, read_key

OPEN_FOLDERS = {"backup": 0o755}
"""Folders that a container reads as another user; the rest is for root."""


def unlock(root: Path, identity: str) -> None:
    """Decrypt everything into memory: all of it, or none.

    Raises HostLacks where the key is another one, or memory is full.
    """
    memory, to = encrypted_copies.memory_of(root), public(identity)
    if encrypted_copies.recipient(root) not in ("", to):
        raise HostLacks(
            "this is not the key of the secrets of this project", f"they are encrypted for {encrypted_copies.recipient(root)}",
            "inv secrets.unlock --key FILE, with that key",
        )  # fmt: skip
    with encrypted_copies.alone(root):
        if not encrypted_copies.is_there(memory):
            _fill(root, memory, identity)
        lead_there(root)


def _fill(root: Path, memory: Path, identity: str) -> None:
    fresh = memory.with_name(f"{memory.name}.new")
    shutil.rmtree(fresh, ignore_errors=True)
    try:
        fresh.mkdir(mode=0o700)
        _decrypt(encrypted_copies.copies_of(root), fresh, identity)
        for name in FOLDERS:
            (fresh / name).mkdir(exist_ok=True, mode=OPEN_FOLDERS.get(name, 0o700))
        files.write(fresh / OF, str(root.resolve()))
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
            _open(path, fresh / encrypted_copies.clear_of(within), identity)
    for path in reversed(folders):
        encrypted_copies.alike(fresh / path.relative_to(copies), path.stat())


def _open(copy: Path, clear: Path, identity: str) -> None:
    """Whole or not at all: half a file would be taken for what its copy has to become."""
    with files.beside(clear, opened(copy, identity), mode=0o600, durable=False) as fresh:
        encrypted_copies.alike(fresh, copy.stat())
        fresh.replace(clear)


def refill(root: Path, identity: str) -> list[str]:
    """Bring back into memory what is missing there of secrets, and of which there is a copy; the names of it.

    Raises HostLacks where memory is full.
    """
    clear = root / "secrets"
    with encrypted_copies.alone(root):
        missing = vanished(root)
        try:
            for name, copy in missing.items():
                (clear / name).parent.mkdir(exist_ok=True, mode=0o700)
                _open(copy, clear / name, identity)
        except OSError as problem:
            raise _no_room(encrypted_copies.memory_of(root), problem) from problem
    return list(missing)


def vanished(root: Path) -> dict[str, Path]:
    """Secrets of which there is a copy, and which are not in memory: name and version -> copy."""
    copies = encrypted_copies.copies_of(root) / "secrets"
    found = {str(encrypted_copies.clear_of(copy.relative_to(copies))): copy for copy in sorted(copies.rglob(f"[!.]*{SUFFIX}"))}
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
        link, target = root / name, encrypted_copies.memory_of(root) / name
        if link.is_symlink() and link.readlink() != target:
            link.unlink()
            link.symlink_to(target)


def open_again(root: Path) -> None:
    """After a boot, with the key where it was said to be. Raises HostLacks, saying what to do, where that cannot be."""
    if not (root / HOME).is_dir():
        return
    if encrypted_copies.is_on(root) and not encrypted_copies.is_locked(root):
        _take_in(root)
    if encrypted_copies.is_half(root) or not encrypted_copies.all_linked(root):
        raise HostLacks(
            f"the secrets of {root.name} are encrypted in part", "inv secrets.encrypt, or secrets.decrypt, was interrupted",
            f"inv secrets.encrypt --key {encrypted_copies.key_file(root)} completes it; inv secrets.decrypt reverts it",
        )  # fmt: skip
    if not encrypted_copies.is_locked(root):
        lead_there(root)
    elif (key := encrypted_copies.key_file(root)).is_file():
        unlock(root, read_key(key))
    else:
        raise HostLacks(
            f"the secrets of {root.name} are encrypted, and their key is not here", f"{key} does not exist",
            "bring it, or: inv secrets.unlock --key FILE; if it is lost: docs/how-to/secrets.md#the-key-is-lost",
        )  # fmt: skip
    if encrypted_copies.has_leftovers(root):
        with encrypted_copies.alone(root):
            encrypted_copies.drop_all(root)


def _take_in(root: Path) -> None:
    """A folder that an earlier version of this did not know of, and in which there is nothing yet."""
    if encrypted_copies.all_linked(root):
        return
    for name in FOLDERS:
        folder, target = root / name, encrypted_copies.memory_of(root) / name
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


GONE = f".{HOME}.gone"
ROOM = 2
"""Times what the folders hold now, that must be free in memory: they grow with each version."""


def is_unfinished(root: Path) -> bool:
    """Whether a beginning or an end was killed: some parts are encrypted, or the readable ones are still there."""
    left = encrypted_copies.has_leftovers(root) or (root / GONE).exists()
    return left or encrypted_copies.is_half(root) or (encrypted_copies.is_on(root) and not encrypted_copies.all_linked(root))


def begin(root: Path, key: Path) -> None:
    """Put what holds secrets into memory, and encrypted copies of it on the files.

    key: file with the identity; made where there is none.
    Raises UsageProblem where it was begun with another key, HostLacks where memory is short, OpsError where what was encrypted
    does not come back as it was: then nothing has been removed.
    """
    memory, home = encrypted_copies.memory_of(root), root / HOME
    encrypted_copies.make_room(memory)
    _must_fit(root, memory)
    _must_be_key_of(root, key)
    identity = read_key(key) if key.exists() else make_key(key)
    if encrypted_copies.is_locked(root):
        # Memory is empty: the copies are what counts.
        unlock(root, identity)
    shutil.rmtree(root / GONE, ignore_errors=True)
    home.mkdir(mode=0o700, exist_ok=True)
    files.write(home / "key-file", str(key))
    files.write(home / "recipient", public(identity))
    memory.mkdir(exist_ok=True, mode=0o700)
    with encrypted_copies.alone(root):
        for name in FOLDERS:
            _undo_an_end(root, name)
            _into_memory(root, name, memory / name, identity)
        files.write(memory / OF, str(root.resolve()))
        os.sync()
        files.write(home / ON, "")
        encrypted_copies.drop_all(root)


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
    begun = encrypted_copies.recipient(root)
    if begun and (not key.exists() or public(read_key(key)) != begun):
        raise UsageProblem(
            "encryption was begun with another key", f"for {begun}, whose key was {encrypted_copies.key_file(root)}",
            "inv secrets.encrypt with that one; or inv secrets.decrypt reverts it",
        )  # fmt: skip


def _undo_an_end(root: Path, name: str) -> None:
    """What an end that was killed was about to put in place of a link; where the link has gone already, it is put there."""
    if (root / name).is_symlink():
        remove_clear(encrypted_copies.fresh_of(root, name))
    _in_place(root, name)


def _into_memory(root: Path, name: str, target: Path, identity: str) -> None:
    folder, aside, copies = root / name, encrypted_copies.aside_of(root, name), encrypted_copies.copies_of(root) / name
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
            f"inv secrets.unlock --key {encrypted_copies.key_file(root)}",
        )  # fmt: skip
    shutil.rmtree(target, ignore_errors=True)
    _copy(source, target)
    if not source.is_dir():
        target.mkdir(mode=OPEN_FOLDERS.get(name, 0o700))
    encrypted_copies.sync_folder(target, copies, public(identity))
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
            encrypted_copies.alike(target / path.relative_to(source), path.stat())


def _compare(clear: Path, copies: Path, identity: str) -> None:
    for path in (path for path in clear.rglob("*") if path.is_file() and not path.is_symlink() and path.name[0] != "."):
        copy = encrypted_copies.copy_in(copies, path.relative_to(clear))
        if opened(copy, identity) != path.read_bytes():
            raise OpsError(f"{copy} does not come back as it was", "the disk or memory is faulty", "check the kernel's log")


def _must_be_alike(one: Path, other: Path) -> None:
    """Raises OpsError where a file of `one` is not the same in `other`."""
    for path in one.rglob("*"):
        twin = other / path.relative_to(one)
        if path.is_file() and not (twin.is_file() and path.read_bytes() == twin.read_bytes()):
            raise OpsError(f"{path.name} was changed meanwhile", "another command wrote it", "the same command again")


def end(root: Path) -> None:
    """Write everything to the disk as it is in memory, and remove the copies. What was only begun is reverted."""
    home, gone = root / HOME, root / GONE
    if home.is_dir():
        with encrypted_copies.alone(root):
            if encrypted_copies.is_on(root):
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
    memory, linked = encrypted_copies.memory_of(root), [name for name in FOLDERS if (root / name).is_symlink()]
    encrypted_copies.drop_all(root)
    for name in linked:
        fresh = encrypted_copies.fresh_of(root, name)
        shutil.rmtree(fresh, ignore_errors=True)
        # What containers were given as files they are given by Podman again.
        if name != "handed":
            _copy(memory / name, fresh)
    os.sync()
    for name in FOLDERS:
        if name in linked:
            if name != "handed":
                _must_be_alike(memory / name, encrypted_copies.fresh_of(root, name))
            (root / name).unlink()
        _in_place(root, name)


def _in_place(root: Path, name: str) -> None:
    fresh = encrypted_copies.fresh_of(root, name)
    if fresh.is_dir() and not (root / name).is_symlink():
        # It is whole. In its place there can only be an empty one that a later command has made.
        shutil.rmtree(root / name, ignore_errors=True)
        fresh.rename(root / name)


def _as_before(root: Path, name: str) -> None:
    """Revert what was begun: what was set aside is whole, and nothing was written since."""
    folder, aside = root / name, encrypted_copies.aside_of(root, name)
    if folder.is_symlink():
        folder.unlink()
    if aside.is_dir():
        shutil.rmtree(folder, ignore_errors=True)
        aside.rename(folder)


def forget(root: Path) -> None:
    """Remove what is in memory."""
    memory = encrypted_copies.memory_of(root)
    remove_clear(memory)
    with contextlib.suppress(OSError):
        memory.with_name(f"{memory.name}.lock").unlink(missing_ok=True)
        memory.parent.rmdir()
