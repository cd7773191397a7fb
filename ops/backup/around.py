"""What the backup does around every command: an interrupted restore forbids it, and what it changes is archived."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ops.core import files
from ops.core.errors import HostLacks, OpsError
from ops.core.state import State

if TYPE_CHECKING:
    from ops.cli.execute import UnderWay
    from ops.project import Project

DESPITE_UNFINISHED = ("restore", "stop", "destroy")


def journal(state: State) -> Path:
    """Exists from the first change of a restore to its end."""
    return state.root / "restore.json"


def left_over(state: State) -> Mapping[str, Any] | None:
    """What a restore that did not come to its end wrote down."""
    return files.read_json(journal(state))


@contextmanager
def refuse_unfinished(project: Project, verb: str, note: Callable[[str], None]) -> Iterator[None]:
    """Raises HostLacks where a restore that did not come to its end has put data aside: nothing could start without it."""
    if verb not in DESPITE_UNFINISHED and journal(project.state).exists():
        raise HostLacks(
            "a restore was interrupted", f"{journal(project.state)} says which: data is in a safety copy, not yet replaced",
            "inv restore --undo restores it; inv restore, with the same options, starts again",
        )  # fmt: skip
    yield


@contextmanager
def follow_change(change: UnderWay) -> Iterator[None]:
    """Write the archive of this host after every plan that was executed. That it fails is worth a note, no more."""
    from ops.backup import host_archive

    try:
        yield
    finally:
        try:
            written = host_archive.keep(change.project)
            for name, size in host_archive.left_out(written).items() if written else ():
                change.note(f"the backup has no {name} ({size >> 20} MB, too large): copy it yourself")
        except (OSError, OpsError) as problem:
            change.note(f"the backup does not have this change: {problem}; it follows with the next one")


def archive(project: Project) -> None:
    """Write the archive of this host now. Raises as `host_archive.keep`."""
    from ops.backup import host_archive

    host_archive.keep(project)
