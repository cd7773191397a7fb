"""The recovery key, an identity of age: only who has it opens what the host hands to the backup container.

The container has the key of the repositories and not this one. A copy stays on the host, for root only, so that it can be
exported again and so that each archive can be tested; the other one is in the exported file, beside the key of the
repositories.
"""

from __future__ import annotations

import hmac
import json
import time
from collections.abc import Sequence

import pyrage

from ops.core import state as files
from ops.core.errors import HostLacks
from ops.core.state import State
from ops.secrets import versions
from ops.secrets.at_rest import keys

SECRET = "backup-recovery"  # noqa: S105  (a name)
CIPHER = "backup-cipher"
EXPORTED = "exported"
"""Name of the file beside its versions: recipient -> when that key was exported."""
ESCROWED = "escrowed"
"""In the folder that the container reads: its presence says that both keys of today were exported."""


def present(state: State) -> str:
    """The recovery key of today, made where there is none. Each key of the repositories has its own, of the same version: a
    rotation that is withdrawn returns to the one before."""
    number = _number(state)
    if number not in versions.numbers(state, SECRET):
        take(state, number, str(pyrage.x25519.Identity.generate()))
    return versions.value_of(state, SECRET, number)


def _number(state: State) -> int:
    return versions.newest(state, CIPHER) or versions.newest(state, SECRET) or 1


def take(state: State, number: int, identity: str) -> None:
    """Keep a recovery key under this version, unless there is one of it."""
    path = state.secrets / SECRET / str(number)
    path.parent.mkdir(mode=0o700, exist_ok=True)
    if not path.exists():
        files.write(path, identity, mode=0o600)


def identities(state: State) -> list[str]:
    """Today's first, then all former ones: sets that were made with those need them."""
    numbers = reversed(versions.numbers(state, SECRET))
    return list(dict.fromkeys([present(state), *(versions.value_of(state, SECRET, number) for number in numbers)]))


def sealed(content: bytes, identity: str) -> bytes:
    """Encrypted so that this key opens it. The public half is enough for that."""
    data: bytes = pyrage.encrypt(content, [pyrage.x25519.Recipient.from_str(keys.public(identity))])
    return data


def signature(parts: Sequence[bytes], identity: str) -> str:
    """By which who has the private half knows its own archives: with the public half alone anybody could make one."""
    total = hmac.new(identity.encode(), digestmod="sha256")
    for part in parts:
        total.update(len(part).to_bytes(8, "big") + part)
    return total.hexdigest()


def opened(data: bytes, others: Sequence[bytes], signed: str, identities: Sequence[str]) -> bytes:
    """What was encrypted.

    Parameters
    ----------
    others: what was signed beside it. signed: the signature of all.

    Raises HostLacks where none of these keys has made it.
    """
    for identity in identities:
        if hmac.compare_digest(signature([data, *others], identity), signed):
            content: bytes = pyrage.decrypt(data, [pyrage.x25519.Identity.from_str(identity)])
            return content
    raise HostLacks(
        "the archive of this host cannot be opened", "none of the recovery keys that are here has made it",
        "give the newest file of inv backup.key --export; files of earlier versions have no recovery key",
    )  # fmt: skip


def _exports(state: State) -> dict[str, str]:
    return dict(files.read_json(state.secrets / SECRET / EXPORTED) or {})


def note_exported(state: State) -> None:
    """Record that today's key was exported."""
    known = {**_exports(state), keys.public(present(state)): time.strftime("%Y-%m-%dT%H:%M:%S%z")}
    files.write(state.secrets / SECRET / EXPORTED, json.dumps(known) + "\n", mode=0o600)
    # Its time counts too: key.is_pending.
    (state.backup / ESCROWED).unlink(missing_ok=True)
    mark(state)


def exported_at(state: State) -> str:
    """When today's key was exported; empty: never."""
    number = _number(state)
    there = number in versions.numbers(state, SECRET)
    return _exports(state).get(keys.public(versions.value_of(state, SECRET, number)), "") if there else ""


def mark(state: State) -> None:
    """Tell the container whether today's key was exported."""
    path, at = state.backup / ESCROWED, exported_at(state)
    if not at:
        path.unlink(missing_ok=True)
    elif not path.is_file() or path.read_text().strip() != at:
        state.backup.mkdir(mode=0o755, exist_ok=True)
        files.write(path, at + "\n")
