"""Versions of secrets in the state folder, and which of them are known to be accepted."""

from __future__ import annotations

import json
import re
from collections.abc import Iterable, Mapping
from hashlib import sha256
from pathlib import Path

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat

from ops.core import files
from ops.core.errors import HostLacks, OpsError
from ops.core.state import State
from ops.store import encrypted_copies

SHORTEST = 12
"""Characters of a value that can be told from chance."""
URL_SAFE = re.compile(r"[A-Za-z0-9._~-]+")
ACCEPTED = "accepted"
"""Name of the file, beside the versions of a secret, that lists those which who checks it surely accepts."""


OTHERS = 0
"""In that list: older versions may be accepted besides, since somebody was told to refuse them and may not have done so."""
WITHDRAWN = ".withdrawn"
SIGNING, SIGNERS = "backup-signing", "signers.pem"
RETIRED = ".retired"
"""A version that nothing needs any more: its number stays taken, its value is gone."""


def value_of(state: State, secret: str, version: int) -> str:
    """A version of a secret, also one that was taken back: containers may still have it.

    Raises HostLacks where there is none.
    """
    try:
        value = path_of(state, secret, version).read_text().strip()
    except OSError as problem:
        raise HostLacks(f"cannot read version {version} of {secret}", str(problem.strerror), "inv deploy") from problem
    if not URL_SAFE.fullmatch(value):
        raise OpsError(f"version {version} of {secret} cannot be used", "it is empty or not URL-safe", "inv secrets.rotate")
    return value


def path_of(state: State, secret: str, version: int) -> Path:
    """Where a version is kept, also one that was taken back."""
    path = state.secrets / secret / str(version)
    return path if path.exists() else path.with_name(path.name + WITHDRAWN)


def _files(state: State, secret: str) -> Iterable[Path]:
    folder = state.secrets / secret
    return folder.iterdir() if folder.is_dir() else ()


def numbers(state: State, secret: str) -> list[int]:
    """Versions that there are, in their order."""
    return sorted(int(path.name) for path in _files(state, secret) if path.name.isdigit())


def newest(state: State, secret: str) -> int:
    """The newest version; 0 where there is none."""
    return max(numbers(state, secret), default=0)


def secret_versions(state: State) -> dict[str, int]:
    """Secret -> newest version that the state folder holds."""
    folders = state.secrets.iterdir() if state.secrets.is_dir() else ()
    return {folder.name: version for folder in folders if (version := newest(state, folder.name))}


def newest_values(state: State) -> dict[str, bytes]:
    """Secret -> its newest value, of those that are long enough to search for."""
    found = {}
    for name, version in secret_versions(state).items():
        value = (state.secrets / name / str(version)).read_bytes().strip()
        if len(value) >= SHORTEST:
            found[name] = value
    return found


def values(state: State, secret: str) -> list[str]:
    """The newest value, and the previous one where there is one. Raises OpsError where the state folder has none."""
    try:
        return [path_of(state, secret, number).read_text().strip() for number in numbers(state, secret)[:-3:-1] or [1]]
    except OSError as problem:
        raise OpsError(f"cannot read the secret {secret}", str(problem.strerror), "inv deploy") from problem


def taken(state: State, secret: str) -> list[int]:
    """Numbers that a version has ever had, those that were taken back included."""
    names = (path.name.partition(".")[0] for path in _files(state, secret))
    return sorted(int(name) for name in names if name.isdigit())


def next_version(state: State, secret: str) -> int:
    """A number that no version of a secret has ever had."""
    return max(taken(state, secret), default=0) + 1


def keep_issued(state: State, values: Mapping[str, str]) -> bool:
    """Keep a new version (0600) of each secret that is issued elsewhere, for the next deploy; whether that changed anything."""
    present = {name: path_of(state, name, newest(state, name)).read_text() for name in values if newest(state, name)}
    if values == present:
        return False
    for name, value in values.items():
        folder = state.secrets / name
        folder.mkdir(mode=0o700, exist_ok=True)
        files.write(folder / str(next_version(state, name)), value, mode=0o600)
    return True


def withdraw(state: State, secret: str, version: int) -> None:
    """Take a version back: nothing uses it any more, and its number is not used again."""
    path = state.secrets / secret / str(version)
    if path.exists():
        files.move(path, path.with_name(path.name + WITHDRAWN))


def is_value(path: Path) -> bool:
    """Whether a file in a secret's folder holds a value, also of a version that was taken back."""
    return path.name.removesuffix(WITHDRAWN).isdigit()


def former(state: State, secret: str) -> list[Path]:
    """Files with values other than the newest version's."""
    present = str(newest(state, secret))
    return sorted(path for path in _files(state, secret) if is_value(path) and path.name != present)


def retire(path: Path, left: str = "") -> None:
    """Remove a value. `left`: what is still needed of it, and no secret."""
    files.write(path.with_name(path.name.partition(".")[0] + RETIRED), left, mode=0o600)
    path.unlink(missing_ok=True)
    encrypted_copies.removed(path)


def accepted(state: State, secret: str) -> tuple[int, ...] | None:
    """Versions that are surely accepted; None where nobody was ever told."""
    path = state.secrets / secret / ACCEPTED
    return tuple(map(int, json.loads(path.read_text()))) if path.is_file() else None


def all_accepted(state: State) -> dict[str, tuple[int, ...]]:
    """Secret -> versions that are surely accepted, for those of which somebody was told one."""
    folders = state.secrets.iterdir() if state.secrets.is_dir() else ()
    return {folder.name: known for folder in folders if (known := accepted(state, folder.name)) is not None}


def note(state: State, secret: str, versions: Iterable[int]) -> None:
    files.write(state.secrets / secret / ACCEPTED, json.dumps(sorted(versions)) + "\n", mode=0o600)


def public_key(value: str) -> str:
    """PEM. The container makes its private key out of the secret in the same way (compose/backup, configuration.py)."""
    key = Ed25519PrivateKey.from_private_bytes(sha256(value.encode()).digest())
    return key.public_key().public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo).decode()


def write_signers(state: State) -> None:
    """Public keys of all that have signed sets of this stack, for the backup: what an older key has signed stays good.

    Raises OSError where it cannot be written. A version whose file was emptied has signed nothing that could be proved.
    """
    paths = [state.secrets / SIGNING / str(number) for number in numbers(state, SIGNING)]
    keys = [public_key(value) for path in paths if (value := path.read_text().strip())]
    retired = sorted((state.secrets / SIGNING).glob(f"*{RETIRED}"))
    files.write(state.backup / SIGNERS, "".join([*(path.read_text() for path in retired), *keys]))
