"""Encryption at rest begun, opened after a boot, and ended. Each can be killed at any moment and called again."""

from __future__ import annotations

import os
import shutil
import time
from pathlib import Path

from ops.errors import HostLacks, OpsError, UsageProblem
from ops.machine.at_rest import mirror
from ops.machine.at_rest.mirror import FOLDERS, HOME, OF, SUFFIX

OPEN_FOLDERS = {"backup": 0o755}
"""Folders that a container reads as another user; the rest is for root."""


def read_key(path: Path) -> str:
    """The identity in a file as age-keygen writes it. Raises HostLacks where there is none."""
    try:
        text = path.read_text(encoding="utf-8")
    except OSError as problem:
        raise HostLacks(
            f"cannot read the key {path}", str(problem.strerror), "bring it, then inv secrets.unlock; or --key FILE"
        ) from problem
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
    path.parent.mkdir(parents=True, exist_ok=True)
    with os.fdopen(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "w", encoding="utf-8") as file:
        file.write(text)
        file.flush()
        os.fsync(file.fileno())
    return str(identity)


def public(identity: str) -> str:
    """Raises UsageProblem where it is no identity."""
    import pyrage

    try:
        return str(pyrage.x25519.Identity.from_str(identity).to_public())
    except pyrage.IdentityError as problem:
        raise UsageProblem("this is no key", str(problem), "age-keygen -o FILE makes one") from problem


def begin(root: Path, key: Path) -> None:
    """Put what holds secrets into memory, and encrypted copies of it on the disk.

    Parameters
    ----------
    key: file with the identity; made where there is none.

    Raises OpsError where what was encrypted does not come back as it was: then nothing has been removed.
    """
    memory = mirror.memory_of(root)
    identity = read_key(key) if key.exists() else make_key(key)
    to, home = public(identity), root / HOME
    home.mkdir(mode=0o700, exist_ok=True)
    mirror.make_room(memory)
    memory.mkdir(exist_ok=True, mode=0o700)
    with mirror.alone(root):
        for name in FOLDERS:
            _into_memory(root, name, memory / name, identity)
        _note(home / "key-file", str(key))
        _note(memory / OF, str(root.resolve()))
        # Last: from here on it is on.
        _note(home / "recipient", to)
        os.sync()
        for name in FOLDERS:
            _drop(root, name)


def _aside(root: Path, name: str) -> Path:
    """Where a folder is while a link takes its place. What is there is whole."""
    return root / f".{name}.clear"


def _drop(root: Path, name: str) -> None:
    aside, gone = _aside(root, name), root / f".{name}.gone"
    shutil.rmtree(gone, ignore_errors=True)
    if aside.is_dir():
        aside.rename(gone)
        shutil.rmtree(gone)


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


def opened(copy: Path, identity: str) -> bytes:
    """What an encrypted copy holds. Raises HostLacks where this is not its key."""
    import pyrage

    try:
        content: bytes = pyrage.decrypt(copy.read_bytes(), [pyrage.x25519.Identity.from_str(identity)])
    except pyrage.DecryptError as problem:
        raise HostLacks(
            f"{copy.name} cannot be decrypted", f"another key, or a damaged file: {problem}",
            "give the key that it was encrypted for; or inv restore --bootstrap on a host without the state folder",
        ) from problem  # fmt: skip
    return content


def unlock(root: Path, identity: str) -> None:
    """Decrypt everything into memory: all of it, or none.

    Raises HostLacks where the key is another one.
    """
    memory, to = mirror.memory_of(root), public(identity)
    if mirror.is_on(root) and to != mirror.recipient(root):
        raise HostLacks(
            "this is not the key of the secrets of this project", f"they are encrypted for {mirror.recipient(root)}",
            "inv secrets.unlock --key FILE, with that key",
        )  # fmt: skip
    with mirror.alone(root):
        if mirror.is_there(memory):
            return
        fresh = memory.with_name(f"{memory.name}.new")
        shutil.rmtree(fresh, ignore_errors=True)
        mirror.make_room(memory)
        fresh.mkdir(mode=0o700)
        _decrypt(root / HOME / "files", fresh, identity)
        for name in FOLDERS:
            (fresh / name).mkdir(exist_ok=True, mode=OPEN_FOLDERS.get(name, 0o700))
        _note(fresh / OF, str(root.resolve()))
        shutil.rmtree(memory, ignore_errors=True)
        fresh.rename(memory)
        for name in FOLDERS:
            _lead_there(root / name, memory / name)


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
            clear = fresh / within.with_name(within.name.removesuffix(SUFFIX))
            clear.touch(mode=0o600)
            clear.write_bytes(opened(path, identity))
            mirror.alike(clear, path.stat())
    for path in reversed(folders):
        mirror.alike(fresh / path.relative_to(copies), path.stat())


def _lead_there(link: Path, target: Path) -> None:
    """The place in memory may be another than before the boot."""
    if link.is_symlink() and link.readlink() != target:
        link.unlink()
        link.symlink_to(target)


def open_again(root: Path) -> None:
    """After a boot, with the key where it was said to be. Raises HostLacks, saying what to do, where it is not."""
    if mirror.is_half(root):
        raise HostLacks(
            f"the secrets of {root.name} are encrypted in part", "inv secrets.encrypt was broken off",
            "inv secrets.encrypt again, with the same --key",
        )  # fmt: skip
    if not mirror.is_locked(root):
        return
    key = mirror.key_file(root)
    if not key.is_file():
        raise HostLacks(
            f"the secrets of {root.name} are encrypted, and their key is not here", f"{key} does not exist",
            "bring it, or: inv secrets.unlock --key FILE",
        )  # fmt: skip
    unlock(root, read_key(key))


def end(root: Path) -> None:
    """Put everything back on the disk as it is in memory, and forget the copies."""
    if not mirror.is_on(root):
        return
    with mirror.alone(root):
        for name in FOLDERS:
            _drop(root, name)
            _onto_disk(root, name)
        os.sync()
    forget(root)
    shutil.rmtree(root / HOME)


def _onto_disk(root: Path, name: str) -> None:
    link, fresh, memory = root / name, root / f".{name}.fresh", mirror.memory_of(root) / name
    if link.is_symlink():
        shutil.rmtree(fresh, ignore_errors=True)
        # What containers were given as files they are given by Podman again.
        if name != "handed":
            _copy(memory, fresh)
        link.unlink()
    if fresh.is_dir():
        # It is whole. In its place there can only be an empty one that a later command has made.
        shutil.rmtree(link, ignore_errors=True)
        fresh.rename(link)


def forget(root: Path) -> None:
    """Remove what is in memory."""
    shutil.rmtree(mirror.memory_of(root), ignore_errors=True)


def _note(path: Path, text: str) -> None:
    fresh = path.with_name(path.name + ".new")
    fresh.write_text(text)
    fresh.replace(path)
