"""The key that secrets are encrypted for at rest: an identity of age, in a file as age-keygen writes it."""

from __future__ import annotations

import os
from pathlib import Path

from ops.core import machine
from ops.core.errors import HostLacks, UsageProblem
from ops.core.files import to_disk


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
    raise UsageProblem(f"{where} contains no key", "a line that begins with AGE-SECRET-KEY-1 is missing", "age-keygen -o FILE")


def make_key(path: Path) -> str:
    """A new identity in a new file (0600), as age-keygen writes it."""
    import pyrage

    identity = pyrage.x25519.Identity.generate()
    text = f"# created: {machine.now()}\n# public key: {identity.to_public()}\n{identity}\n"
    with os.fdopen(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "w", encoding="utf-8") as file:
        file.write(text)
        file.flush()
        os.fsync(file.fileno())
    to_disk(path.parent)
    return str(identity)


def public(identity: str) -> str:
    """Raises UsageProblem where it is no identity."""
    import pyrage

    try:
        return str(pyrage.x25519.Identity.from_str(identity).to_public())
    except pyrage.IdentityError as problem:
        raise UsageProblem("this is no key", str(problem), "age-keygen -o FILE makes one") from problem


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
