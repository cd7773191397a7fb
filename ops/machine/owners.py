"""Owners of the files of services on this host: observed, and changed."""

from __future__ import annotations

import json
import os
import secrets
import shutil
import stat
import time
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path

from ops import podman
from ops.machine.certificates.folder import TLS
from ops.machine.host import Host
from ops.render import container_name
from ops.steps import DropFormerFiles, OwnFiles

REPORT_SECONDS = 5.0
"""Between two lines of progress."""


def mountpoints(host: Host) -> dict[str, Path]:
    """Volume of this project -> its folder on this host."""
    names = host.run(podman.list_volumes(host.project)).stdout.split()
    # Another command may remove a volume between the two calls; what is left is still true.
    answer = host.run(podman.inspect_volumes(names), ok=(0, 125)).stdout if names else ""
    return {one["Name"]: Path(one["Mountpoint"]) for one in json.loads(answer or "[]")}


def owners(host: Host) -> Mapping[str, frozenset[int]]:
    """Volume, or folder of the state -> ids that its files have. Of a volume only the folder itself, which is changed last."""
    found = {name: frozenset({path.stat().st_uid}) for name, path in mountpoints(host).items() if path.is_dir()}
    state = host.state
    folders = [*(state.certs.iterdir() if state.certs.is_dir() else ()), state.backup]
    for folder in folders:
        if folder.is_dir():
            found[str(folder)] = frozenset(about.st_uid for _, about in _below(folder))
    return found


def owner_of(host: Host, slot: str, otherwise: int) -> int:
    """The id that a container runs with, which may be that of an earlier release. `otherwise`: where there is none."""
    answer = host.run(podman.inspect_containers([container_name(host.project, slot)]), ok=None)
    user = json.loads(answer.stdout)[0]["Config"]["User"] if answer.returncode == 0 else ""
    uid = str(user).partition(":")[0]
    return int(uid) if uid.isdigit() else otherwise


def reader(folder: Path, otherwise: str) -> str:
    """The id that can read the key in a service's folder of certificates. `otherwise`: where there is none."""
    key = folder / TLS
    return "{0}:{0}".format(key.stat().st_uid) if key.is_file() else otherwise


def own(host: Host, step: OwnFiles, report: Callable[[str], None]) -> None:
    """Change the owner of the files of a service."""
    places = mountpoints(host)
    # The folder of a volume shows whether a step has been completed, so volumes come last.
    for top in (*map(Path, step.folders), *(places[name] for name in step.volumes if name in places)):
        if step.beside and (top / TLS).is_file():
            exchange(top, step.owner)
        elif top.is_dir():
            chown_tree(top, step.owner, report)


def exchange(folder: Path, owner: int) -> None:
    """Put a copy that belongs to another id in the place of a folder, or one that was there before.

    A container that runs has mounted the folder itself, not its path: it keeps the former one, and reads its keys there.
    """
    content, own_id = (folder / TLS).read_bytes(), f"{owner}:{owner}"
    fitting = (one for one in _former(folder) if reader(one, "") == own_id and (one / TLS).read_bytes() == content)
    fresh = next(fitting, None)
    if fresh is None:
        fresh = folder.with_name(f".{folder.name}.{secrets.token_hex(4)}")
        shutil.copytree(folder, fresh, symlinks=True)
        # The key last: whose it is shows that the copy is whole.
        for path, about in sorted(_below(folder), key=lambda one: one[0].name == TLS):
            os.chown(fresh / path.relative_to(folder), about.st_uid and owner, about.st_gid and owner, follow_symlinks=False)
    folder.rename(folder.with_name(f".{folder.name}.{secrets.token_hex(4)}"))
    fresh.rename(folder)


def drop_former(step: DropFormerFiles) -> None:
    """Remove what took its place, or was to take it."""
    for folder in (one for place in step.folders for one in _former(Path(place))):
        shutil.rmtree(folder)


def _former(folder: Path) -> list[Path]:
    return sorted(folder.parent.glob(f".{folder.name}.*"))


def chown_tree(top: Path, owner: int, report: Callable[[str], None]) -> int:
    """Change the owner of every file below, and then of the folder itself; root's stay root's. Returns how many were changed.

    It can be killed and run again: the folder itself is the last one, and what has the owner already is skipped.
    """
    changed, last = 0, time.monotonic()
    for path, about in _below(top):
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


def _below(top: Path) -> Iterator[tuple[Path, os.stat_result]]:
    """Everything below a folder, what a folder holds before the folder, and the folder itself last. No link is followed, and
    no other file system is entered."""
    device = top.stat().st_dev
    for folder, folders, names in os.walk(top, topdown=False):
        for name in (*names, *(one for one in folders if (Path(folder) / one).is_symlink())):
            path = Path(folder) / name
            try:
                about = path.lstat()
            except FileNotFoundError:
                continue  # it has gone meanwhile
            if about.st_dev == device:
                yield path, about
        about = Path(folder).lstat()
        if about.st_dev == device:
            yield Path(folder), about
