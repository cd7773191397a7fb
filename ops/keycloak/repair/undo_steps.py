"""What undoes a repair: kept in the state folder before anything is changed, so that it survives the end of the command, and
the steps that act on it."""

from __future__ import annotations

import shutil
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ops.core import files
from ops.core.plan import Step
from ops.core.state import State

if TYPE_CHECKING:
    from ops.execution import Execution


@dataclass(frozen=True)
class Entry:
    """One kept undo. kind: `sql`, `aside`, `config`, `certificate`, `realm`, `stranger` or `release`."""

    name: str
    kind: str
    data: Mapping[str, Any]


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


@dataclass(frozen=True)
class TakeBack(Step):
    """Restore the container that was set aside to its slot, and start it if it served."""

    slot: str = ""
    entry: str = ""
    """Name of the kept undo (`keep`)."""

    def run(self, execution: Execution) -> None:
        kept = read(execution.state, self.entry)
        engine, aside = execution.engine, str(kept.get("aside", ""))
        if aside in engine.slots():
            engine.discard([self.slot])
            engine.rename(aside, self.slot)
        if kept.get("serving"):
            engine.start(self.slot)


@dataclass(frozen=True)
class StartStranger(Step):
    """The undo of it."""

    name: str = ""

    def run(self, execution: Execution) -> None:
        from ops.keycloak.probe.container import start_stranger

        start_stranger(execution.host, self.name)


@dataclass(frozen=True)
class UndoStatements(Step):
    """Run the statements that were kept before a change."""

    entry: str = ""
    """Name of the kept undo (`keep`)."""

    def run(self, execution: Execution) -> None:
        from ops.engines import postgres

        kept = read(execution.state, self.entry)
        if kept.get("statements"):
            postgres.execute(execution.engine, str(kept["database"]), str(kept["statements"]), {})


@dataclass(frozen=True)
class BringBackConfig(Step):
    """The undo of it: the edited folder in its place again."""

    service: str = ""
    version: str = ""
    entry: str = ""

    def run(self, execution: Execution) -> None:
        place, name = execution.state.config / self.service, str(read(execution.state, self.entry).get("edited", ""))
        if name and (place / name).is_dir():
            shutil.rmtree(place / self.version, ignore_errors=True)
            (place / name).rename(place / self.version)


@dataclass(frozen=True)
class BringBackCertificate(Step):
    service: str = ""
    entry: str = ""
    owner: int = 0

    def run(self, execution: Execution) -> None:
        kept = folder(execution.state) / self.entry
        for path in sorted(kept.iterdir()) if kept.is_dir() else ():
            target = execution.state.certs / self.service / path.name
            if path.is_symlink():
                files.link(target, str(path.readlink()))
                continue
            content = path.read_bytes()
            private = b"PRIVATE KEY" in content
            files.write(target, content, mode=0o600 if private else 0o644, owner=self.owner if private else None)


@dataclass(frozen=True)
class UndoRealm(Step):
    """Send back the representations that were kept before a repair through the admin API."""

    entry: str = ""

    def run(self, execution: Execution) -> None:
        from ops.keycloak.repair import admin_api

        calls = read(execution.state, self.entry).get("calls", [])
        admin_api.revert(execution.project, [(str(method), str(path), body) for method, path, body in calls])
