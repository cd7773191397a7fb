"""The repository key out of the safe: tried on the repository, then put where it was lost."""

from __future__ import annotations

from pathlib import Path

from ops.backup import key, recovery
from ops.backup.paper_key import version_for
from ops.backup.restore import repository as bootstrap
from ops.backup.restore import volumes
from ops.core import state as files
from ops.core.errors import HostLacks
from ops.engines.podman.observe import observe
from ops.project import Project
from ops.secrets import versions
from ops.secrets.versions import values

VOLUME = "backup-repository"


def bring_back(project: Project, path: Path) -> int | None:
    """Put an exported key into the state folder; the version that it got, None where it is there already.

    Raises OpsError where it does not open the local repository, HostLacks where there is none to try it on.
    """
    value, identities = key.read(path), key.read_recovery(path)
    folder = volumes.mountpoint_of(project.host, VOLUME)
    if folder is None or not (folder / "files" / "config").is_file():
        raise HostLacks(
            "there is no repository to try the key on", f"the volume {VOLUME} holds none",
            "with a copy of one elsewhere: inv restore --bootstrap",
        )  # fmt: skip
    bootstrap.opens(project, folder, value)
    kept = project.state.secrets / key.SECRET
    present = versions.taken(project.state, key.SECRET)
    if versions.numbers(project.state, key.SECRET) and values(project.state, key.SECRET)[0] == value:
        return None
    copies = observe(project.host, (), with_health=False).given
    number = version_for(present, copies, f"{project.name}-{key.SECRET}")
    kept.mkdir(mode=0o700, exist_ok=True)
    files.write(kept / str(number), value, mode=0o600)
    for identity in identities[:1]:
        recovery.take(project.state, number, identity)
    return number
