"""What puts a repair back, kept in the state folder before anything is changed: it survives the end of the command."""

from __future__ import annotations

import shutil
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from ops.core import state as files
from ops.core.state import State
from ops.keycloak.repair.undo_plan import Entry


def folder(state: State) -> Path:
    """Its files hold statements with the old password's hash: for their owner only."""
    return state.root / "keycloak-fix"


def keep(state: State, kind: str, **data: Any) -> str:
    """Write an undo down. Returns the name by which the steps that undo it find it again."""
    place = folder(state)
    place.mkdir(mode=0o700, exist_ok=True)
    number = max((int(path.name[:4]) for path in place.glob("[0-9]*.json")), default=0) + 1
    name = f"{number:04}-{kind}"
    files.write(place / f"{name}.json", files.dump({"kind": kind, **data}), mode=0o600)
    return name


def kept(state: State) -> tuple[Entry, ...]:
    """Oldest first."""
    found = [(path.stem, files.read_json(path)) for path in sorted(folder(state).glob("[0-9]*.json"))]
    return tuple(Entry(name, str(data.pop("kind")), data) for name, value in found if (data := dict(value or {})))


def read(state: State, name: str) -> Mapping[str, Any]:
    """The content of one; empty where it is gone."""
    return files.read_json(folder(state) / f"{name}.json") or {}


def forget(state: State, name: str) -> None:
    (folder(state) / f"{name}.json").unlink(missing_ok=True)
    shutil.rmtree(folder(state) / name, ignore_errors=True)
