"""Steps that change the owner of files on this host."""

from __future__ import annotations

import os
import secrets
import shutil
import stat
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from ops.core.plan import Step

if TYPE_CHECKING:
    from ops.execution import Execution

REPORT_SECONDS = 5.0
"""Between two lines of progress."""


@dataclass(frozen=True)
class OwnFiles(Step):
    """Change the owner of the files of a service."""

    service: str = ""
    owner: int = 0
    folders: tuple[str, ...] = ()
    """Of the host."""
    volumes: tuple[str, ...] = ()
    """Changed in place: no container of the service runs."""
    beside: bool = False
    """Whether containers of the former id run meanwhile: they keep the folders they have mounted, and copies replace these."""

    def run(self, execution: Execution) -> None:
        from ops.stack.certificates import TLS

        places = execution.engine.volumes()
        # The folder of a volume shows whether a self has been completed, so volumes come last.
        for top in (*map(Path, self.folders), *(path for name in self.volumes if (path := places.get(name)))):
            if self.beside and (top / TLS).is_file():
                exchange(top, self.owner)
            elif top.is_dir():
                chown_tree(top, self.owner, execution.reporter(self))


@dataclass(frozen=True)
class DropFormerFiles(Step):
    """Remove the folders that containers of the former id had mounted, once none runs any more."""

    folders: tuple[str, ...] = ()

    def run(self, execution: Execution) -> None:
        for folder in map(Path, self.folders):
            drop_former(folder)


def exchange(folder: Path, owner: int) -> None:
    """Put a copy that belongs to another id in the place of a folder, or one that was there before.

    A container that runs has mounted the folder itself, not its path: it keeps the former one, and reads its keys there.
    """
    from ops.host.files import below, reader
    from ops.stack.certificates import TLS

    content, own_id = (folder / TLS).read_bytes(), f"{owner}:{owner}"
    fitting = (one for one in _former(folder) if reader(one, "") == own_id and (one / TLS).read_bytes() == content)
    fresh = next(fitting, None)
    if fresh is None:
        fresh = folder.with_name(f".{folder.name}.{secrets.token_hex(4)}")
        shutil.copytree(folder, fresh, symlinks=True)
        # The key last: whose it is shows that the copy is whole.
        for path, about in sorted(below(folder), key=lambda one: one[0].name == TLS):
            os.chown(fresh / path.relative_to(folder), about.st_uid and owner, about.st_gid and owner, follow_symlinks=False)
    os.sync()
    folder.rename(folder.with_name(f".{folder.name}.{secrets.token_hex(4)}"))
    fresh.rename(folder)


def drop_former(folder: Path) -> None:
    """Remove what a folder has taken the place of, or what was to take its place."""
    for one in _former(folder):
        shutil.rmtree(one)


def _former(folder: Path) -> list[Path]:
    return sorted(folder.parent.glob(f".{folder.name}.*"))


def chown_tree(top: Path, owner: int, report: Callable[[str], None]) -> int:
    """Change the owner of every file below, and then of the folder itself; root's stay root's. Returns how many were changed.

    It can be killed and run again: the folder itself is the last one, and what has the owner already is skipped.
    """
    from ops.host.files import below

    changed, last = 0, time.monotonic()
    for path, about in below(top):
        # Group 0 is that of a service whose files others may pass through.
        uid, gid = (number if number == 0 else owner for number in (about.st_uid, about.st_gid))
        if (uid, gid) == (about.st_uid, about.st_gid):
            continue
        os.chown(path, uid, gid, follow_symlinks=False)
        if stat.S_IMODE(about.st_mode) & (stat.S_ISUID | stat.S_ISGID) and not stat.S_ISLNK(about.st_mode):
            path.chmod(stat.S_IMODE(about.st_mode))  # chown(2) clears these bits
        changed += 1
        if time.monotonic() - last > REPORT_SECONDS:
            last = time.monotonic()
            report(f"{changed:,} files now belong to uid {owner}")
    return changed
