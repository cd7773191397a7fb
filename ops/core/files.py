"""Files that are on the disk, whole, when somebody acts upon them. Standard library only: the health supervisor has a copy."""

from __future__ import annotations

import hashlib
import json
import os
import secrets
import shutil
from collections.abc import Callable, Iterator, Mapping
from contextlib import AbstractContextManager, contextmanager, nullcontext, suppress
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from ops.core.errors import OpsError, UsageProblem


def _none(before: Path, after: Path) -> AbstractContextManager[None]:
    return nullcontext()


replacing: Callable[[Path, Path], AbstractContextManager[None]] = _none
"""Entered while the second of two files takes the place of the first: secrets at rest write the encrypted copy (see
ops/store/encrypted_copies.py)."""
renaming: Callable[[Path, Path], AbstractContextManager[None]] = _none
"""Entered while a file gets another name."""


def write(path: Path, content: str | bytes, *, mode: int = 0o644, owner: int | None = None, durable: bool = True) -> None:
    """Write a whole file or none of it: a new file beside the old one, then one rename.

    owner: uid and gid, where root writes. durable: whether it must be on the disk when this returns; False for what is written
    anew every few seconds.
    """
    data = content.encode() if isinstance(content, str) else content
    with beside(path, data, mode=mode, owner=owner, durable=durable) as fresh, replacing(path, fresh):
        fresh.replace(path)
        if durable:
            to_disk(path.parent)


@contextmanager
def beside(
    path: Path, data: bytes, *, mode: int = 0o644, owner: int | None = None, durable: bool = True
) -> Iterator[Path]:  # fmt: skip
    """A new file beside another one, flushed to disk, which the block puts in its place by one rename. Where it does not, the
    new one is removed."""
    fresh = path.with_name(f".{path.name}.{secrets.token_hex(4)}")
    try:
        with os.fdopen(os.open(fresh, os.O_WRONLY | os.O_CREAT | os.O_EXCL, mode), "wb") as file:
            os.fchmod(file.fileno(), mode)
            if owner is not None and os.geteuid() == 0:
                os.fchown(file.fileno(), owner, owner)
            file.write(data)
            if durable:
                file.flush()
                os.fsync(file.fileno())
        yield fresh
    finally:
        fresh.unlink(missing_ok=True)


def make_folder(path: Path, *, mode: int) -> None:
    """Make a folder where there is none, and those above it. Their names are on the disk when this returns."""
    if not path.is_dir():
        make_folder(path.parent, mode=mode)
        path.mkdir(mode=mode)
        to_disk(path.parent)


def remove_clear(path: Path) -> None:
    """Remove a folder, where there is one, that holds data in the clear. Raises OpsError where anything of it stays."""
    if not path.is_dir():
        return
    try:
        shutil.rmtree(path)
    except OSError as problem:
        raise OpsError(
            f"cannot remove {path}, which contains unencrypted data", f"{problem.filename}: {problem.strerror}", f"rm -r {path}"
        ) from problem


def to_disk(path: Path) -> None:
    """The content of a file, or the names in a folder, are on the disk when this returns."""
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def move(old: Path, new: Path) -> None:
    """Rename a file within its folder. It has the new name on the disk when this returns."""
    with renaming(old, new):
        old.rename(new)
        to_disk(new.parent)


def link(path: Path, target: str) -> None:
    """Point a symbolic link elsewhere in one rename: whoever opens it sees the old target or the new one, never none. The
    names in its folder are on the disk when this returns."""
    fresh = path.with_name(f".{path.name}.{secrets.token_hex(4)}")
    fresh.symlink_to(target)
    fresh.replace(path)
    to_disk(path.parent)


def read_json(path: Path) -> Mapping[str, Any] | None:
    """The content of a JSON file; None where there is none yet."""
    try:
        value = json.loads(path.read_text())
    except FileNotFoundError:
        return None
    return value if isinstance(value, dict) else None


def dump(value: Any) -> str:
    return json.dumps(value, indent=2, sort_keys=True) + "\n"


def destination(file: str, *, overwrite: bool, option: str = "--overwrite") -> Path:
    """Where a command shall write.

    overwrite: whether an existing file is to be replaced. option: what says so on the command line; empty: nothing does.
    Raises UsageProblem, before anything is done, where that file exists or cannot be one.
    """
    path = Path(file).absolute()
    if path.is_dir() or not path.parent.is_dir():
        raise UsageProblem(f"cannot write {path}", "it is a folder, or its folder does not exist", "name another file")
    if path.exists() and not overwrite:
        alternative = f", or give {option} to replace it" if option else ""
        raise UsageProblem(f"{path} exists", "nothing was written over it", f"give the name of a new file{alternative}")
    return path


@contextmanager
def whole(path: Path) -> Iterator[Path]:
    """A name beside the file for the block to write to; it takes the file's place when the block has succeeded, and is removed
    where it has not."""
    fresh = path.with_name(f".{path.name}.{secrets.token_hex(4)}")
    try:
        yield fresh
        fresh.replace(path)
        to_disk(path.parent)
    finally:
        fresh.unlink(missing_ok=True)


LOG_BYTES = 5 << 20
"""Size at which an empty file takes the place of a file, as Podman does it: the collector keeps what it has not delivered."""


def log_line(folder: Path, source: str, message: str, **fields: Any) -> None:
    """Append one line to SOURCE.log, which the collector makes a row of the service SOURCE.

    folder: the state's `logs`. source: a name that no container has. fields: become fields of the row.

    What cannot be written is left out: this is a copy, for searching, and must not stop what is being done.
    """
    at = datetime.now(UTC).strftime("%Y-%m-%dT%H:%M:%S.%f000+00:00")
    line = f"{at} stdout F {json.dumps({'level': 'info', **fields, 'message': message}, sort_keys=True)}\n"
    path = folder / f"{source}.log"
    with suppress(OSError):
        if path.exists() and path.stat().st_size > LOG_BYTES:
            fresh = path.with_name(f"{path.name}.new")
            os.close(os.open(fresh, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600))
            fresh.replace(path)
        descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o600)
        try:
            os.write(descriptor, line.encode())
        finally:
            os.close(descriptor)


def sha256(path: Path) -> str:
    """Checksum of a file's content, in hexadecimal digits."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def host_ca_bundle() -> Path | None:
    """The host's CA bundle, for builds behind a proxy that inspects TLS; None where the host has none."""
    for name in (os.environ.get("SSL_CERT_FILE"), "/etc/ssl/certs/ca-certificates.crt", "/etc/pki/tls/certs/ca-bundle.crt"):
        if name and Path(name).exists():
            return Path(name)
    return None
