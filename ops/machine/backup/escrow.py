"""The repository key out of the safe: tried on the repository, then put where it was lost."""

from __future__ import annotations

from pathlib import Path

from ops.errors import HostLacks
from ops.machine import state as files
from ops.machine.backup import bootstrap, key, recovery, volumes
from ops.machine.keycloak.admin import values
from ops.machine.observe import observe
from ops.machine.project import Project
from ops.machine.secrets import versions
from ops.plan.backup.key import version_for

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
    if versions.numbers(project.state, key.SECRET) and values(project, key.SECRET)[0] == value:
        return None
    copies = observe(project.host, (), with_health=False).given
    number = version_for(present, copies, f"{project.name}-{key.SECRET}")
    kept.mkdir(mode=0o700, exist_ok=True)
    files.write(kept / str(number), value, mode=0o600)
    for identity in identities[:1]:
        recovery.take(project.state, number, identity)
    return number
