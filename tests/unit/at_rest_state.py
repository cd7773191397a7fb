"""A state folder whose secrets are encrypted at rest, memory beside it, and the commands that do so."""

from __future__ import annotations

import os
import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest

from ops.core import files
from ops.core.state import State
from ops.secrets.plan import plan_decrypt, plan_encrypt
from ops.stack.model import Seen
from ops.store import encrypted_copies, encryption, keys
from tests.unit.power_cut import cut_power

VALUE = "Zx9-_Qw3rTyUiOpAsDfGhJkL1234567890abcdefgh"


def memory_at(place: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Have secrets kept in this folder, instead of in memory."""
    place.mkdir(parents=True, exist_ok=True)
    monkeypatch.setattr(encrypted_copies, "PLACES", (place,))
    monkeypatch.setattr(encrypted_copies, "memory_below", lambda: place)
    return place


def made(root: Path) -> State:
    """A state folder with a secret, an authority and what the backup is handed."""
    state = State(root)
    state.prepare()
    (state.secrets / "redis-app").mkdir(mode=0o700)
    files.write(state.secrets / "redis-app" / "1", VALUE, mode=0o600)
    files.write(state.ca / "root.key", VALUE + "ca", mode=0o600)
    (state.ca / "link").symlink_to("root.key")
    files.write(state.backup / "host.tar", VALUE + "tar", mode=0o400)
    return state


def whole(state: State) -> bool:
    """Whether everything is there as it was made."""
    expected = {
        state.secrets / "redis-app" / "1": VALUE, state.ca / "root.key": VALUE + "ca", state.ca / "link": VALUE + "ca",
        state.backup / "host.tar": VALUE + "tar",
    }  # fmt: skip
    return all(path.is_file() and path.read_text() == text for path, text in expected.items())


def boot(state: State) -> None:
    """Memory is empty; on the disk is what was flushed, where that is recorded."""
    cut_power(state.root)
    shutil.rmtree(encrypted_copies.memory_of(state.root).parent, ignore_errors=True)


def on_disk(state: State) -> Iterator[Path]:
    """Files below the state folder that hold a value as it is. Links are not followed: those lead to memory."""
    for folder, _, names in os.walk(state.root):
        for path in (Path(folder) / name for name in names):
            if path.is_file() and not path.is_symlink() and VALUE.encode() in path.read_bytes():
                yield path


def present(state: State) -> str | None:
    return str(encrypted_copies.key_file(state.root)) if encrypted_copies.is_on(state.root) else None


def encrypt(state: State, key: Path) -> int:
    """What `inv secrets.encrypt` does, without containers; the number of steps."""
    if not encryption.is_unfinished(state.root):
        encryption.open_again(state.root)
    state.prepare()
    plan = plan_encrypt(Seen(), str(key), present(state), unfinished=encryption.is_unfinished(state.root))
    if plan.steps:
        encryption.begin(state.root, key)
    return len(plan.steps)


def decrypt(state: State) -> int:
    """What `inv secrets.decrypt` does."""
    if encrypted_copies.is_locked(state.root):
        encryption.unlock(state.root, keys.read_key(encrypted_copies.key_file(state.root)))
    state.prepare()
    plan = plan_decrypt(Seen(), present(state), unfinished=encryption.is_unfinished(state.root))
    if plan.steps:
        encryption.end(state.root)
    return len(plan.steps)
