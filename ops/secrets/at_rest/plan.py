"""Plans that encrypt the state folder's secrets at rest, and that end it."""

from __future__ import annotations

from ops.core.errors import HostLacks, UsageProblem
from ops.core.plan import Plan
from ops.secrets.steps import Decrypt, Encrypt
from ops.stack.model import Seen

ENCRYPT, DECRYPT = "secrets.encrypt", "secrets.decrypt"


def plan_encrypt(seen: Seen, key_file: str, present: str | None, *, unfinished: bool = False) -> Plan:
    """Nothing to do where secrets are encrypted under that key.

    Parameters
    ----------
    present: key file of an encryption that is on; None where none is. unfinished: whether a command was killed half way.

    Raises UsageProblem where they are encrypted under another one, HostLacks where containers hold copies.
    """
    if present is not None:
        if present != key_file:
            raise UsageProblem(
                f"secrets are encrypted already, with the key {present}", "a second key would leave some under the first",
                f"inv {DECRYPT}, then this again",
            )  # fmt: skip
        if not unfinished:
            return Plan(ENCRYPT)
    _must_be_alone(seen, ENCRYPT)
    return Plan(
        ENCRYPT,
        (Encrypt("encrypt", f"encrypt the secrets for the key {key_file}", key_file=key_file),),
        notes=("what lay on this disk may be read from its free blocks: docs/how-to/secrets.md#at-rest says what to replace",),
    )


def plan_decrypt(seen: Seen, present: str | None, *, unfinished: bool = False) -> Plan:
    """`present`, `unfinished`: as above. Raises HostLacks where containers mount what would go."""
    if present is None and not unfinished:
        return Plan(DECRYPT)
    _must_be_alone(seen, DECRYPT)
    return Plan(
        DECRYPT, (Decrypt("decrypt", "store secrets unencrypted again"),),
        destroys=("the encryption of secrets at rest: a copy of the disk can be read from then on",),
    )  # fmt: skip


def _must_be_alone(seen: Seen, verb: str) -> None:
    if seen.containers:
        raise HostLacks(
            f"{len(seen.containers)} containers have the secrets in another form",
            "Podman copies its own to the disk, and keeps what it has mounted",
            f"inv destroy, which keeps the data; inv {verb} again; inv deploy",
        )  # fmt: skip
