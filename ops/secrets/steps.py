"""Changes of secrets on both of their sides. Data only; `ops/secrets/perform.py` knows how each is done."""

from __future__ import annotations

from dataclasses import dataclass

from ops.core.plan import Step


@dataclass(frozen=True)
class HandOver(Step):
    """Tell a version of a secret to the one who checks it."""

    secret: str = ""
    version: int = 1
    to: str = ""
    """`role NAME` or `pair NAME` (two roles that are one) of PostgreSQL, `redis NAME`, `client NAME` of Keycloak, `user NAME`
    of the realm master, `account NAME` of the product's realm, `signer NAME` and `cipher NAME` of the backup."""
    beside: int = 0
    """Version that goes on to be accepted beside it; 0: none."""


@dataclass(frozen=True)
class VerifySecret(Step):
    """Log in with a version of a secret, and see one of before refused."""

    secret: str = ""
    version: int = 1
    to: str = ""
    before: int = 0
    """Version that must not be accepted any more; 0: there was none."""


@dataclass(frozen=True)
class Encrypt(Step):
    """Keep secrets in memory, and encrypted on disk. `key_file`: where their key is, and is looked for after a boot."""

    key_file: str = ""


@dataclass(frozen=True)
class Decrypt(Step):
    """Keep secrets on disk as they are, again."""


@dataclass(frozen=True)
class ProveLogin(Step):
    """See that a container is let in with the secret that it has."""

    slot: str = ""
    secret: str = ""
    argv: tuple[str, ...] = ()
