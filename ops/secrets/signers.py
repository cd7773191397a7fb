"""Public keys of all that have signed sets of this stack, for the backup: what an older key has signed stays good."""

from __future__ import annotations

from collections.abc import Sequence
from hashlib import sha256

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat

from ops.core import files
from ops.core.state import State
from ops.project import Project
from ops.secrets import versions

SECRET = "backup-signing"  # noqa: S105  (a name)
FILE = "signers.pem"


def public_key(value: str) -> str:
    """PEM. The container makes its private key out of the secret in the same way (compose/backup, configuration.py)."""
    key = Ed25519PrivateKey.from_private_bytes(sha256(value.encode()).digest())
    return key.public_key().public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo).decode()


def write(state: State) -> None:
    """Raises OSError where it cannot be written. A version whose file was emptied has signed nothing that could be proved."""
    paths = [state.secrets / SECRET / str(number) for number in versions.numbers(state, SECRET)]
    keys = [public_key(value) for path in paths if (value := path.read_text().strip())]
    retired = sorted((state.secrets / SECRET).glob(f"*{versions.RETIRED}"))
    files.write(state.backup / FILE, "".join([*(path.read_text() for path in retired), *keys]))


def tell(project: Project, name: str, values: Sequence[tuple[int, str]]) -> None:
    write(project.state)


def accepts(project: Project, name: str, version: int, value: str) -> bool:
    return public_key(value) in (project.state.backup / FILE).read_text()
