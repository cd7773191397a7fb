"""The key of the backup repositories: handed over with the former one, and tried on the repositories themselves."""

from __future__ import annotations

import json
from collections.abc import Sequence

from ops.backup import host_archive as archive
from ops.backup import keys
from ops.core.errors import OpsError
from ops.engines.podman import argv as podman
from ops.project import Project
from ops.stack.render import container_name

SECONDS = 180.0
"""restic takes about a second of CPU to make of a key what opens a repository, of half a CPU, and a server may be slow."""
NONE = 1
"""Exit code of `backup opens` where the key opens nothing."""


SECRET = keys.CIPHER


def tell(project: Project, name: str, values: Sequence[tuple[int, str]]) -> None:
    """The container that starts next finds the former key in host.tar, and has its own alone open the repositories."""
    archive.keep(project)


def tried(project: Project, name: str, value: str) -> tuple[bool, list[str]]:
    """(whether a key opens every repository that answers, names of those that do not answer)

    Raises OpsError where a key opens some repositories and not others, or nothing could be tried.
    """
    argv = podman.exec_with_input(container_name(project.name, name), ("backup", "opens"))
    answer = project.host.run(argv, timeout=SECONDS, stdin=value + "\n", ok=None)
    if answer.returncode not in (0, NONE) or not answer.stdout.strip():
        why = answer.stdout.strip() or answer.last_words(1)
        raise OpsError("the key does not open all repositories, or could not be tried", why, "inv logs backup --since 10m")
    return answer.returncode == 0, list(json.loads(answer.stdout)["away"])


def accepts(project: Project, name: str, version: int, value: str) -> bool:
    """Raises OpsError as `tried` does."""
    opens, away = tried(project, name, value)
    for repository in away:
        print(f"note: repository {repository} does not answer; it takes the new key when it does", flush=True)
    return opens
