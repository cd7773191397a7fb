"""Whose the files of services on this host are: observed."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path

from ops.core.state import State
from ops.engines.engine import Engine
from ops.stack.certificates import TLS


def owners(state: State) -> dict[str, frozenset[int]]:
    """Folder of the state that services mount -> ids that its files have."""
    folders = [*(state.certs.iterdir() if state.certs.is_dir() else ()), state.backup]
    return {str(one): frozenset(about.st_uid for _, about in below(one)) for one in folders if one.is_dir()}


def owner_of(engine: Engine, slot: str, otherwise: int) -> int:
    """The id that a container runs with, which may be that of an earlier release. `otherwise`: where there is none."""
    container = engine.containers().get(slot)
    uid = container.user.partition(":")[0] if container else ""
    return int(uid) if uid.isdigit() else otherwise


def reader(folder: Path, otherwise: str) -> str:
    """The id that can read the key in a service's folder of certificates. `otherwise`: where there is none."""
    key = folder / TLS
    return "{0}:{0}".format(key.stat().st_uid) if key.is_file() else otherwise


def below(top: Path) -> Iterator[tuple[Path, os.stat_result]]:
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
