"""Whether the secrets that a project's data was made with are gone: then new ones would be generated over old data."""

from __future__ import annotations

from pathlib import Path

from ops.core.errors import HostLacks
from ops.stack.model import Seen, Stack
from ops.stack.render import volume_name

REPOSITORY_KEY = "backup-cipher"
"""The one of which there is a copy elsewhere."""


def lost_secrets(stack: Stack, seen: Seen) -> tuple[str, ...]:
    """Secrets that the project had and that its state folder no longer holds; none where there is no data yet.

    A deploy makes volumes after every secret that is missing. So volumes without a single secret mean that the folder was
    lost, and not that the first deploy was killed half way. Where some are there, one that is missing was lost if Podman
    has a copy of it; otherwise it is new in the stack.
    """
    if not seen.volumes.intersection(volume_name(stack.project, volume) for volume in stack.volumes):
        return ()
    missing = sorted(name for name in stack.secrets if name not in seen.secret_versions)
    if not seen.secret_versions:
        return tuple(missing)
    copies = {name.rpartition("-")[0] for name in seen.given}
    return tuple(name for name in missing if f"{stack.project}-{name}" in copies)


def refuse_lost_secrets(stack: Stack, seen: Seen, state: Path) -> None:
    """Raises HostLacks where the next deploy would generate secrets that do not fit the data.

    Parameters
    ----------
    state: the project's state folder, for the message.
    """
    lost = lost_secrets(stack, seen)
    if not lost:
        return
    back = f"bring {state} back from a copy, then inv deploy"
    if lost == (REPOSITORY_KEY,):
        back = "inv backup.key --import FILE takes it out of the safe, then inv deploy"
    if all(any(copy.startswith(f"{stack.project}-{name}-") for copy in seen.handed) for name in lost):
        back = "inv secrets.unlock brings back what the encrypted copies have, then inv deploy"
    holds = f"does not hold {', '.join(lost)}" if seen.secret_versions else "holds no secrets"
    raise HostLacks(
        f"volumes of project {stack.project} exist, but {state} {holds}",
        "new secrets would not fit this data: no service could log in to its database, and no backup could be read again",
        f"{back}; or, to start from scratch without the data: inv destroy --no-keep-data, then inv deploy",
    )
