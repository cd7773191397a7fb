"""Former versions of secrets removed: from the state folder, from Podman, and from what containers mount.

A rollback starts containers with today's secrets, so no release needs a former version. One is needed only until whoever
checks the secret is known to accept today's version alone; a key of the repositories, until each opens with the new one.
"""

from __future__ import annotations

from ops.core import files
from ops.core.errors import OpsError
from ops.core.state import State
from ops.project import Project
from ops.secrets import backup_keys as keys
from ops.secrets import verifiers
from ops.secrets.table import target_named
from ops.stack.render import secret_name
from ops.store import encrypted_copies as mirror
from ops.store import versions
from ops.store.versions import secret_versions


def retire(project: Project) -> list[str]:
    """Remove what nothing needs any more. Returns names of secrets with their versions.

    Raises OpsError or OSError where something cannot be removed; the next command tries again.
    """
    gone = []
    for secret, version in sorted(settled(project.state).items()):
        found = versions.former(project.state, secret)
        if found and (secret != keys.CIPHER or _opens_alone(project, version)):
            for path in found:
                left = versions.public_key(path.read_text().strip()) if secret == versions.SIGNING else ""
                versions.retire(path, left)
                gone.append(f"{secret} {path.name.partition('.')[0]}")
    _forget_copies(project)
    return gone


def settled(state: State) -> dict[str, int]:
    """Secret -> newest version, of those of which the release that runs has it and nobody may still accept another one."""
    release = (files.read_json(state.current / "release.json") or {}).get("secrets", {})
    newest, known = secret_versions(state), versions.all_accepted(state)
    return {
        secret: version for secret, version in newest.items()
        if release.get(secret) == version and (not target_named(secret).can_rotate or known.get(secret) == (version,))
    }  # fmt: skip


def _opens_alone(project: Project, version: int) -> bool:
    """Whether no repository waits for the key of this version."""
    try:
        opens, away = verifiers.opens(project, "backup", versions.value_of(project.state, keys.CIPHER, version))
    except OpsError:
        return False
    return opens and not away


def _forget_copies(project: Project) -> None:
    """Podman's copies, and files that containers mounted, of versions that the state folder has no value of.

    A container that has one keeps its own copy, with which it can be started again.
    """
    state = project.state
    stored = project.engine.secrets()
    for secret in secret_versions(state):
        for number in set(versions.taken(state, secret)) - set(versions.numbers(state, secret)):
            name = secret_name(project.name, secret, number)
            if name in stored and not versions.path_of(state, secret, number).exists():
                project.engine.remove_secret(name)
    _forget_handed(project)


def _forget_handed(project: Project) -> None:
    state = project.state
    if not mirror.is_on(state.root):
        return
    mounted = {path for one in project.engine.containers().values() for path in one.mounts}
    names = secret_versions(state)
    wanted = {secret_name(project.name, name, number) for name in names for number in versions.numbers(state, name)}
    for path in state.handed.glob("*/*"):
        if path.name not in wanted and not mounted & {str(path), str(path.resolve())}:
            path.unlink()
            mirror.removed(path)
