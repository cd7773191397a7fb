"""Encryption at rest begun, opened after a boot, and ended. Each can be killed at any moment and called again."""

from __future__ import annotations

import os
import shutil
import time
from pathlib import Path

from ops.errors import HostLacks, OpsError, UsageProblem
from ops.machine.at_rest import mirror
from ops.machine.at_rest.mirror import FOLDERS, HOME, OF, ON, SUFFIX

OPEN_FOLDERS = {"backup": 0o755}
"""Folders that a container reads as another user; the rest is for root."""
GONE = f".{HOME}.gone"
ROOM = 2
"""Times what the folders hold now, that must be free in memory: they grow with each version."""


def read_key(path: Path) -> str:
    """The identity in a file. Raises HostLacks where it cannot be read, UsageProblem where it holds none."""
    try:
        text = path.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as problem:
        why = problem.strerror if isinstance(problem, OSError) else "it is no text"
        raise HostLacks(f"cannot read the key {path}", str(why), "give the file that age-keygen, or inv, has made") from problem
    return identity_in(text, str(path))


def identity_in(text: str, where: str) -> str:
    """The first identity of a text. Raises UsageProblem where it holds none."""
    for line in text.splitlines():
        if line.startswith("AGE-SECRET-KEY-1"):
            return line.strip()
    raise UsageProblem(f"{where} holds no key", "a line that begins with AGE-SECRET-KEY-1 is missing", "age-keygen -o FILE")


def make_key(path: Path) -> str:
    """A new identity in a new file (0600), as age-keygen writes it."""
    import pyrage

    identity = pyrage.x25519.Identity.generate()
    text = f"# created: {time.strftime('%Y-%m-%dT%H:%M:%S%z')}\n# public key: {identity.to_public()}\n{identity}\n"
    with os.fdopen(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "w", encoding="utf-8") as file:
        file.write(text)
        file.flush()
        os.fsync(file.fileno())
    mirror.to_disk(path.parent)
    return str(identity)


def public(identity: str) -> str:
    """Raises UsageProblem where it is no identity."""
    import pyrage

    try:
        return str(pyrage.x25519.Identity.from_str(identity).to_public())
    except pyrage.IdentityError as problem:
        raise UsageProblem("this is no key", str(problem), "age-keygen -o FILE makes one") from problem


def is_unfinished(root: Path) -> bool:
    """Whether a beginning or an end was killed: some parts are encrypted, or the readable ones are still there."""
    left = any((root / f".{name}.{state}").exists() for name in FOLDERS for state in ("clear", "gone", "fresh"))
    return mirror.is_half(root) or left or (root / GONE).exists() or (mirror.is_on(root) and not _all_linked(root))


def _all_linked(root: Path) -> bool:
    return all((root / name).is_symlink() for name in FOLDERS)


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
    shutil.rmtree(root / GONE, ignore_errors=True)
    home.mkdir(mode=0o700, exist_ok=True)
    note(home / "key-file", str(key))
    note(home / "recipient", public(identity))
    memory.mkdir(exist_ok=True, mode=0o700)
    with mirror.alone(root):
        for name in FOLDERS:
            _into_memory(root, name, memory / name, identity)
        note(memory / OF, str(root.resolve()))
        os.sync()
        note(home / ON, "")
        _drop_all(root)


def _must_fit(root: Path, memory: Path) -> None:
    paths = [path for name in FOLDERS if not (root / name).is_symlink() for path in (root / name).rglob("*") if path.is_file()]
    needed, free = ROOM * sum(path.stat().st_size for path in paths), shutil.disk_usage(memory.parent).free
    if needed > free:
        raise HostLacks(
            "what holds secrets does not fit into memory", f"{memory.parent}: {free:,} bytes are free, {needed:,} are wanted",
            "make that tmpfs larger: mount -o remount,size=… ",
        )  # fmt: skip


def _must_be_key_of(root: Path, key: Path) -> None:
    """Raises UsageProblem where what was begun was begun for another key, or for one that is not there now."""
    begun = mirror.recipient(root)
    if begun and (not key.exists() or public(read_key(key)) != begun):
        raise UsageProblem(
            "this was begun with another key", f"for {begun}, whose key was {mirror.key_file(root)}",
            "inv secrets.encrypt with that one; or inv secrets.decrypt takes back what was begun",
        )  # fmt: skip


def _aside(root: Path, name: str) -> Path:
    """Where a folder is while a link takes its place. What is there is whole."""
    return root / f".{name}.clear"


def _drop_all(root: Path) -> None:
    """Remove what can be read, once that is on the disk which cannot."""
    for name in FOLDERS:
        aside, gone = _aside(root, name), root / f".{name}.gone"
        shutil.rmtree(gone, ignore_errors=True)
        if aside.is_dir():
            aside.rename(gone)
            shutil.rmtree(gone)
    mirror.to_disk(root)


def _into_memory(root: Path, name: str, target: Path, identity: str) -> None:
    folder, aside, copies = root / name, _aside(root, name), root / HOME / "files" / name
    if folder.is_symlink() and target.is_dir():
        return
    # Beside the one that was put aside, there can only be an empty one that a later command has made.
    source = aside if aside.is_dir() else folder
    shutil.rmtree(target, ignore_errors=True)
    _copy(source, target)
    if not source.is_dir():
        target.mkdir(mode=OPEN_FOLDERS.get(name, 0o700))
    mirror.sync_folder(target, copies, public(identity))
    _compare(target, copies, identity)
    if folder.is_symlink():
        folder.unlink()
    elif source is aside:
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
    for copy in copies.rglob(f"*{SUFFIX}"):
        within = copy.relative_to(copies)
        if opened(copy, identity) != (clear / within.with_name(within.name.removesuffix(SUFFIX))).read_bytes():
            raise OpsError(f"{copy} does not come back as it was", "the disk or memory is faulty", "look at the kernel's log")


def _must_be_alike(one: Path, other: Path) -> None:
    """Raises OpsError where a file of `one` is not the same in `other`."""
    for path in one.rglob("*"):
        twin = other / path.relative_to(one)
        if path.is_file() and not (twin.is_file() and path.read_bytes() == twin.read_bytes()):
            raise OpsError(f"{path.name} was changed meanwhile", "another command wrote it", "the same command again")


def opened(copy: Path, identity: str) -> bytes:
    """What an encrypted copy holds. Raises HostLacks where this is not its key."""
    import pyrage

    try:
        content: bytes = pyrage.decrypt(copy.read_bytes(), [pyrage.x25519.Identity.from_str(identity)])
    except pyrage.DecryptError as problem:
        raise HostLacks(
            f"{copy.name} cannot be decrypted", f"another key, or a damaged file: {problem}",
            "give the key that it was encrypted for; if it is lost: docs/how-to/secrets.md#the-key-is-lost",
        ) from problem  # fmt: skip
    return content


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
        _decrypt(root / HOME / "files", fresh, identity)
        for name in FOLDERS:
            (fresh / name).mkdir(exist_ok=True, mode=OPEN_FOLDERS.get(name, 0o700))
        note(fresh / OF, str(root.resolve()))
        shutil.rmtree(memory, ignore_errors=True)
        fresh.rename(memory)
    except OSError as problem:
        free = shutil.disk_usage(memory.parent).free
        raise HostLacks(
            "secrets cannot be put into memory", f"{memory.parent}: {problem.strerror}, {free:,} bytes are free",
            "make room there, then inv secrets.unlock",
        ) from problem  # fmt: skip
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
            _open(path, fresh / within.with_name(within.name.removesuffix(SUFFIX)), identity)
    for path in reversed(folders):
        mirror.alike(fresh / path.relative_to(copies), path.stat())


def _open(copy: Path, clear: Path, identity: str) -> None:
    content = opened(copy, identity)
    clear.touch(mode=0o600)
    clear.write_bytes(content)
    mirror.alike(clear, copy.stat())


def refill(root: Path, identity: str) -> list[str]:
    """Bring back into memory what is missing there of secrets, and of which there is a copy; the names of it."""
    copies, clear = root / HOME / "files" / "secrets", root / "secrets"
    missing = []
    for copy in sorted(copies.rglob(f"[!.]*{SUFFIX}")):
        within = copy.relative_to(copies)
        target = clear / within.with_name(within.name.removesuffix(SUFFIX))
        if not target.exists():
            target.parent.mkdir(exist_ok=True, mode=0o700)
            _open(copy, target, identity)
            missing.append(str(target.relative_to(clear)))
    return missing


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
    if mirror.is_half(root) or not _all_linked(root):
        raise HostLacks(
            f"the secrets of {root.name} are encrypted in part", "inv secrets.encrypt, or secrets.decrypt, was broken off",
            f"inv secrets.encrypt --key {mirror.key_file(root)} completes it; inv secrets.decrypt takes it back",
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
    if any(_aside(root, name).exists() for name in FOLDERS):
        with mirror.alone(root):
            _drop_all(root)


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
            mirror.to_disk(root)
            os.sync()
            # In one step: a folder that lacks some of its files would say nothing true.
            home.rename(gone)
    forget(root)
    shutil.rmtree(gone, ignore_errors=True)


def _onto_disk(root: Path) -> None:
    memory, linked = mirror.memory_of(root), [name for name in FOLDERS if (root / name).is_symlink()]
    _drop_all(root)
    for name in linked:
        fresh = root / f".{name}.fresh"
        shutil.rmtree(fresh, ignore_errors=True)
        # What containers were given as files they are given by Podman again.
        if name != "handed":
            _copy(memory / name, fresh)
    os.sync()
    for name in linked:
        if name != "handed":
            _must_be_alike(memory / name, root / f".{name}.fresh")
        (root / name).unlink()
        _in_place(root, name)
    for name in FOLDERS:
        _in_place(root, name)


def _in_place(root: Path, name: str) -> None:
    fresh = root / f".{name}.fresh"
    if fresh.is_dir() and not (root / name).is_symlink():
        # It is whole. In its place there can only be an empty one that a later command has made.
        shutil.rmtree(root / name, ignore_errors=True)
        fresh.rename(root / name)


def _as_before(root: Path, name: str) -> None:
    """Take back what was begun: what was put aside is whole, and nothing was written since."""
    folder, aside = root / name, _aside(root, name)
    if folder.is_symlink():
        folder.unlink()
    if aside.is_dir():
        shutil.rmtree(folder, ignore_errors=True)
        aside.rename(folder)


def forget(root: Path) -> None:
    """Remove what is in memory."""
    shutil.rmtree(mirror.memory_of(root), ignore_errors=True)


def set_aside(root: Path) -> None:
    """Give up what is locked, its key being lost: the encrypted copies stay under another name, and nothing leads to memory."""
    (root / HOME).rename(root / f"{HOME}.lost-{time.strftime('%Y%m%dT%H%M%S')}")
    for name in FOLDERS:
        if (root / name).is_symlink():
            (root / name).unlink()


def note(path: Path, text: str) -> None:
    """Write a small file whole, on the disk when this returns."""
    fresh = path.with_name(path.name + ".new")
    with fresh.open("w", encoding="utf-8") as file:
        file.write(text)
        file.flush()
        os.fsync(file.fileno())
    fresh.replace(path)
    mirror.to_disk(path.parent)
