"""Owners of the files of services on this host: observed."""

from __future__ import annotations

import json
import os
from collections.abc import Iterator, Mapping
from pathlib import Path

from ops.engines.podman import argv as podman
from ops.engines.podman.host import Host
from ops.stack.certificates import TLS
from ops.stack.render import container_name


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
            found[str(folder)] = frozenset(about.st_uid for _, about in below(folder))
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
