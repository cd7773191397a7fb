"""What a set holds of this host, opened on this host: the backup container can prove its checksum and nothing more."""

from __future__ import annotations

import tempfile
from pathlib import Path

from ops.backup import container, recovery
from ops.backup import host_archive as archive
from ops.core.errors import HostLacks, OpsError
from ops.project import Project
from ops.secrets.at_rest import encrypted_copies as mirror


def prove(project: Project, name: str, repository: str, deadline: float) -> str:
    """What was found, in words.

    Parameters
    ----------
    name: of the set.

    Raises OpsError where the recovery keys of this host do not open it.
    """
    root = mirror.private(project.state.root)
    with tempfile.TemporaryDirectory(dir=root, prefix=".proving-") as folder:
        copy = Path(folder) / archive.NAME
        if container.host_archive(project.host, name, repository, copy, deadline)["host"]["facts"]["project"] != project.name:
            raise OpsError(f"{name} contains the state of another project", "it was made by another host", "inv backup.list")
        try:
            with archive.opened(copy, recovery.identities(project.state)) as inner:
                files = sum(member.isfile() for member in inner)
        except HostLacks as problem:
            what = f"this host's archive in {name} cannot be decrypted"
            raise OpsError(what, problem.why, "inv backup, then this again") from problem
    return f"{files} files of this host"
