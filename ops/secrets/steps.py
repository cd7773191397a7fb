"""Steps that change secrets, on their servers, in containers and at rest."""

from __future__ import annotations

import secrets
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

from ops.core import files
from ops.core.errors import OpsError
from ops.core.plan import Step
from ops.core.process import until
from ops.stack.model import Account
from ops.stack.render import secret_name

if TYPE_CHECKING:
    from ops.execution import Execution

LOGIN_SECONDS = 45.0
"""An exporter and the health of a backend are asked anew every few seconds; a container that has just started is slow."""

SECRET_BYTES = 32
"""256 bits: out of reach of guessing for as long as any of the protocols here will be in use."""


@dataclass(frozen=True)
class GenerateSecret(Step):
    """Make up a version of a secret that never existed, and keep it in the state folder (0600)."""

    name: str = ""
    version: int = 1

    def run(self, execution: Execution) -> None:
        folder = execution.state.secrets / self.name
        files.make_folder(folder, mode=0o700)
        files.write(folder / str(self.version), secrets.token_urlsafe(SECRET_BYTES), mode=0o600)


@dataclass(frozen=True)
class StoreSecret(Step):
    """Give Podman the secret that containers mount as a file."""

    name: str = ""
    version: int = 1

    def run(self, execution: Execution) -> None:
        from ops.store import encrypted_copies

        value = (execution.state.secrets / self.name / str(self.version)).read_text()
        if not value.strip():
            # Before the copy that the engine has is replaced: it may be the last one.
            raise OpsError(
                f"the state folder has no value of the secret {self.name}",
                "its file is empty",
                "inv keycloak.fix restores Keycloak's from a container that has it; else restore it from the backup",
            )
        if encrypted_copies.is_on(execution.state.root):
            return  # containers are given a file
        execution.engine.store_secret(secret_name(execution.project.name, self.name, self.version), value)


@dataclass(frozen=True)
class RemoveSecret(Step):
    name: str = ""

    def run(self, execution: Execution) -> None:
        execution.engine.remove_secret(self.name)


@dataclass(frozen=True)
class SetCredential(Step):
    """Set a version of a credential on its server."""

    to: Account = field(kw_only=True)
    secret: str = ""
    version: int = 1
    beside: int = 0
    """Version that stays valid beside it; 0: none."""
    settles: bool = False
    """Whether containers use the new version by now, so that the previous one is revoked."""

    def run(self, execution: Execution) -> None:
        from ops.secrets import verifiers

        verifiers.set_credential(execution.project, self)


@dataclass(frozen=True)
class VerifySecret(Step):
    """Log in with a version of a secret, and check that a previous one is refused."""

    to: Account = field(kw_only=True)
    secret: str = ""
    version: int = 1
    before: int = 0
    """Version that must not be valid any more; 0: there was none."""

    def run(self, execution: Execution) -> None:
        from ops.secrets import verifiers

        verifiers.verify(execution.project, self)


@dataclass(frozen=True)
class Encrypt(Step):
    """Keep secrets in memory, and encrypted on files. `key_file`: where their key is, and is looked for after a boot."""

    key_file: str = ""

    def run(self, execution: Execution) -> None:
        from ops.store import encryption

        encryption.begin(execution.state.root, Path(self.key_file))


@dataclass(frozen=True)
class Decrypt(Step):
    """Keep secrets on disk as they are, again."""

    def run(self, execution: Execution) -> None:
        from ops.store import encryption

        encryption.end(execution.state.root)


@dataclass(frozen=True)
class ProveLogin(Step):
    """Verify that a container can log in with the secret that it has."""

    slot: str = ""
    secret: str = ""
    argv: tuple[str, ...] = ()

    def run(self, execution: Execution) -> None:
        def refused() -> str:
            answer = execution.engine.exec(self.slot, self.argv, ok=None, timeout=20)
            return "" if answer.returncode == 0 else answer.last_words(1) or f"exit code {answer.returncode}"

        if why := until(refused, LOGIN_SECONDS):
            raise OpsError(f"{self.slot} cannot log in with {self.secret}", why, f"inv logs {self.slot} --since 10m")


@dataclass(frozen=True)
class ExportKey(Step):
    """Write the newest key of the repositories into a file (0600) for a place that is not this host, and read it back. Only
    then may the repositories be given it."""

    path: str = ""
    before: int = 0
    """Version that they have now."""
    version: int = 0

    def run(self, execution: Execution) -> None:
        from ops.secrets import backup_keys

        backup_keys.write(execution.project, Path(self.path))
        backup_keys.allow(execution.state, (self.before, self.version))


@dataclass(frozen=True)
class NoteExported(Step):
    """Write down that the key which is in use was exported."""

    def run(self, execution: Execution) -> None:
        from ops.secrets import backup_keys

        backup_keys.note_exported(execution.state)
