"""What this host has of every secret."""

from __future__ import annotations

import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Any

from ops.core import files
from ops.core.state import State
from ops.project import Project
from ops.secrets.table import TARGETS, Target, consumers, target_named
from ops.store import encrypted_copies, versions

if TYPE_CHECKING:
    from ops.cli.execute import UnderWay


OLD_DAYS = 365.0
"""From then on the alert SecretOld fires (config/prometheus/alerts/secrets.yml)."""
USERS = {"client": "this repository's commands", "account": "this repository's commands", "user": "people"}
"""Kind of account -> who uses its secret, where no container does."""


@dataclass(frozen=True)
class Row:
    """`age_days`: since the present version was made. `release`: the first one with it. `unfinished`: what is left to do."""

    secret: str
    version: int
    age_days: float | None
    release: int | None
    checked_by: str
    consumers: tuple[str, ...]
    way: str
    rotatable: bool
    unfinished: str

    @property
    def old(self) -> bool:
        return self.rotatable and self.age_days is not None and self.age_days > OLD_DAYS

    def as_json(self) -> dict[str, Any]:
        return {**asdict(self), "consumers": list(self.consumers), "old": self.old}


def survey(project: Project) -> list[Row]:
    """In the order in which the stack declares them."""
    stack, now = project.deployed.stack, time.time()
    sealed = _sealed(project.state)
    return [_row(project, target_named(name), now, sealed, consumers(stack, target_named(name))) for name in stack.secrets]


def present(project: Project) -> dict[str, int]:
    """Secret -> its version that is in use.

    Containers log in with the version of the release that runs, also where a rotation was interrupted before they were
    replaced. Keycloak's accounts belong to the commands, which use the newest one.
    """
    newest, running = versions.secret_versions(project.state), project.deployed.versions
    return {
        name: number if target_named(name).owner == "keycloak" else running.get(name, number)
        for name, number in newest.items() if name in project.deployed.stack.secrets
    }  # fmt: skip


def at_rest(state: State) -> dict[str, str] | None:
    """For whom secrets are encrypted on disk, and where that key is looked for; None where they are not."""
    if not encrypted_copies.is_on(state.root):
        return None
    recipient, key_file = encrypted_copies.recipient(state.root), encrypted_copies.key_file(state.root)
    return {"recipient": recipient, "key_file": str(key_file)}


def _row(project: Project, target: Target, now: float, sealed: Mapping[int, Any], used_by: tuple[str, ...]) -> Row:
    state, secret = project.state, target.secret
    newest = versions.newest(state, secret)
    path = state.secrets / secret / str(newest)
    known = versions.accepted(state, secret)
    running = project.deployed.versions.get(secret, newest)
    unfinished = ""
    if not newest:
        pass  # never made: the service that needs it is left out
    elif running != newest:
        unfinished = f"version {newest} was made, the release that runs has {running}"
    elif known is not None and known != (newest,):
        unfinished = f"version {newest} is in use, accepted for sure: {', '.join(map(str, filter(None, known))) or 'none'}"
    return Row(
        secret, newest, (now - path.stat().st_mtime) / 86400 if path.is_file() else None, first_release(sealed, secret, newest),
        f"{target.kind} {target.to.name}" if target.can_rotate else target.owner,
        used_by or tuple(filter(None, [USERS.get(target.kind, "")])), target.way, target.can_rotate, unfinished,
    )  # fmt: skip


def _sealed(state: State) -> dict[int, Any]:
    """Release -> version of each secret in it."""
    folders = (path for path in state.releases.glob("[0-9]*") if path.name.isdigit())
    return {int(path.name): (files.read_json(path / "release.json") or {}).get("secrets", {}) for path in folders}


def first_release(sealed: Mapping[int, Mapping[str, int]], secret: str, version: int) -> int | None:
    """The oldest release that is kept, back to which this version has been the one without a break."""
    found = None
    for number in sorted(sealed, reverse=True):
        if sealed[number].get(secret) != version:
            break
        found = number
    return found


METRICS = "secrets.prom"
METRIC = "cc03_secret_created_timestamp_seconds"


def exposition(state: State) -> str:
    """Only of those that a command rotates: of the others an alert would ask for what cannot be done."""
    lines = [f"# HELP {METRIC} Since when the present version exists.", f"# TYPE {METRIC} gauge"]
    for target in TARGETS:
        path = state.secrets / target.secret / str(versions.newest(state, target.secret))
        if target.can_rotate and path.is_file():
            lines.append(f'{METRIC}{{secret="{target.secret}",service="{target.owner}"}} {path.stat().st_mtime:.0f}')
    return "\n".join(lines) + "\n"


def write_metrics(state: State) -> None:
    """Raises OSError where they cannot be written."""
    if state.metrics.is_dir():
        files.write(state.metrics / METRICS, exposition(state))


@contextmanager
def write_after(change: UnderWay) -> Iterator[None]:
    """Write the metrics after every plan that was executed. That it fails is worth a note, no more."""
    try:
        yield
    finally:
        try:
            write_metrics(change.project.state)
        except OSError as problem:
            change.note(f"metrics of secrets are not up to date: {problem}; the next change writes them")
