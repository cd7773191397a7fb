"""The files that a service reads its certificate from, and how they are replaced: by one rename, which can be reverted.

    NAME.pem            key and chain in one file: the two change together and never disagree
    .NAME.pem.next      written and checked, not yet in place
    .NAME.pem.previous  another name of the file that was in place; there only while the new one is not yet seen on the wire

So a command that was killed in between leaves one of three: a `next` that nothing reads, a `previous` beside a file in place
that has to be taken up and seen, or nothing. No step needs space on the disk once `next` is written. Both are hidden, so that
no backup has them.
"""

from __future__ import annotations

import contextlib
import datetime as dt
import os
from pathlib import Path

from ops.certificates import pki
from ops.core import files
from ops.core.state import State
from ops.stack.certificates import PUBLIC_TLS, TLS
from ops.stack.model import EDGE

CHAIN, KEY, ROOTS = "cert.pem", "key.pem", "ca.pem"
"""The chain alone, for people and for configurations of earlier releases, put in place right after the file that counts; a link
to that, under the name that those give the key; what is trusted."""


def next_of(file: Path) -> Path:
    return file.with_name(f".{file.name}.next")


def previous_of(file: Path) -> Path:
    return file.with_name(f".{file.name}.previous")


def pending(file: Path) -> bool:
    """Whether a swap was begun and its result not yet seen on the wire."""
    return os.path.lexists(previous_of(file))


def stage(file: Path, content: bytes, owner: int) -> None:
    """Write the next content, for the uid that reads it alone. Raises OSError where it cannot be written whole."""
    file.parent.mkdir(exist_ok=True, mode=0o755)
    file.parent.chmod(0o755)
    if file.name == TLS:
        chain = content[max(0, content.find(b"-----BEGIN CERTIFICATE-----")) :]
        files.write(next_of(file.with_name(CHAIN)), chain)
    files.write(next_of(file), content, mode=0o600, owner=owner)


def stage_link(file: Path, target: str) -> None:
    """Have the next one be another file of the folder."""
    files.link(next_of(file), target)


def swap(file: Path) -> None:
    """Put the next one in place; the one before keeps another name until `settle` or `restore`."""
    for one in _with_companion(file):
        if not os.path.lexists(next_of(one)):
            continue
        previous_of(one).unlink(missing_ok=True)
        with contextlib.suppress(FileNotFoundError):
            os.link(one, previous_of(one), follow_symlinks=False)
        next_of(one).replace(one)
    if file.name == TLS:
        files.link(file.with_name(KEY), TLS)


def restore(file: Path) -> bool:
    """The one before in place again; whether there was one."""
    if not pending(file):
        return False
    for one in reversed(_with_companion(file)):
        if not pending(one):
            continue
        # A rename between two names of one file does nothing: that swap was killed before its own rename.
        previous_of(one).replace(one)
        previous_of(one).unlink(missing_ok=True)
    return True


def settle(file: Path) -> None:
    """The one in place has been seen: remove the others."""
    companion = file.with_name(CHAIN)
    if file.name == TLS and pending(file) and next_of(companion).exists():
        next_of(companion).replace(companion)  # killed between the two renames
    for one in reversed(_with_companion(file)):
        next_of(one).unlink(missing_ok=True)
        previous_of(one).unlink(missing_ok=True)


def _with_companion(file: Path) -> tuple[Path, ...]:
    return (file, file.with_name(CHAIN)) if file.name == TLS else (file,)


def good_names(state: State) -> dict[str, tuple[str, ...]]:
    """Service -> the names of its certificate, where all its files are there, and it is neither due nor half replaced."""
    found = {}
    now = dt.datetime.now(dt.UTC)
    for where in state.certs.iterdir() if state.certs.is_dir() else ():
        names = (TLS, CHAIN, KEY, ROOTS, *((PUBLIC_TLS,) if where.name == EDGE else ()))
        if not all((where / name).is_file() for name in names) or pending(where / TLS):
            continue
        with contextlib.suppress(ValueError):
            (leaf, *_) = pki.certificates_in((where / TLS).read_bytes())
            if pki.renew_after(leaf) > now:
                found[where.name] = pki.names_of(leaf)
    return found
