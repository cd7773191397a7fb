"""Credentials of remote repositories: read from an operator's file, kept as secrets, passed to one job on its input."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat, PublicFormat

from ops.core.errors import UsageProblem
from ops.project import Project
from ops.stack.repositories import Repository, read_credentials
from ops.store.versions import keep_issued


def read_file(path: Path) -> str:
    """Raises UsageProblem where it cannot be read."""
    try:
        return path.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as problem:
        said = problem.strerror if isinstance(problem, OSError) else "it is no text"
        raise UsageProblem(f"cannot read {path}", str(said), "give the path of a file that this account can read") from problem


def read(kind: str, path: Path) -> dict[str, str]:
    """Part -> value. Raises UsageProblem where the file does not hold what this kind of repository takes."""
    return read_credentials(kind, read_file(path), str(path))


def keep(project: Project, repository: Repository, values: Mapping[str, str]) -> bool:
    """A new version of each part in the state folder (0600); whether that changed anything. `inv deploy` hands it over."""
    return keep_issued(project.state, {name: values[part] for part, name in repository.secrets.items()})


def key_pair() -> tuple[str, str]:
    """(private key for SFTP, the line of its public half for authorized_keys). Nobody but this host ever has the first."""
    key = Ed25519PrivateKey.generate()
    private = key.private_bytes(Encoding.PEM, PrivateFormat.OpenSSH, NoEncryption()).decode()
    return private, key.public_key().public_bytes(Encoding.OpenSSH, PublicFormat.OpenSSH).decode()
