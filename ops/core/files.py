"""Files that are on the disk, whole, when somebody acts upon them."""

from __future__ import annotations

import os
import secrets
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from ops.core.errors import OpsError


def write(path: Path, content: str | bytes, *, mode: int = 0o644, owner: int | None = None, durable: bool = True) -> None:
    """Write a whole file or none of it: a new file beside the old one, then one rename.

    Parameters
    ----------
    owner: uid and gid, where root writes. durable: whether it must be on the disk when this returns; False for what is written
    anew every few seconds.
    """
    data = content.encode() if isinstance(content, str) else content
    with beside(path, data, mode=mode, owner=owner, durable=durable) as fresh:
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


def host_ca_bundle() -> Path | None:
    """The host's CA bundle, for builds behind a proxy that inspects TLS; None where the host has none."""
    for name in (os.environ.get("SSL_CERT_FILE"), "/etc/ssl/certs/ca-certificates.crt", "/etc/pki/tls/certs/ca-bundle.crt"):
        if name and Path(name).exists():
            return Path(name)
    return None
