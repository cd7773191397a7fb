"""pgBackRest's lists: what there is, and what belongs to each backup.

It keeps two copies of each, reads the second where the first is no good, and says nothing of that even when it verifies: the
day on which both are damaged would come unannounced.
"""

import hashlib
import json

from . import pgbackrest
from .errors import CommandError
from .repositories import Repository

CHECKSUM = "backrest-checksum"
COPY = ".copy"
MISSING = 1
"""Exit code of `repo-get` for a file that is not there."""

MOST_LINES = 10_000_000
"""A list has a line for each file of the database."""


def paths(labels: list[str]) -> list[str]:
    """Within a repository, the first of each two."""
    own = ["archive/main/archive.info", "backup/main/backup.info"]
    return own + [f"backup/main/{label}/backup.manifest" for label in labels]


def faults(repository: Repository) -> list[str]:
    """Names of the lists that cannot be read or are not what their checksum says.

    Raises JobError where a repository beyond this host does not answer: that is no damage.
    """
    info = pgbackrest.info(repository)
    if info.stanza_missing or (repository.remote and info.code == pgbackrest.UNREACHABLE):
        return []
    labels = [one.label for one in info.backups]
    return [
        f"{path}{suffix} is damaged" for path in paths(labels) for suffix in ("", COPY)
        if not sound(_content(repository, path + suffix))
    ]  # fmt: skip


def _content(repository: Repository, path: str) -> str:
    """Empty where it is not there. Not by way of a file: on a full disk every list would look damaged."""
    options = (f"--repo={repository.number}", "--log-level-console=off")
    try:
        return pgbackrest.run("repo-get", *options, path, kept_lines=MOST_LINES)
    except CommandError as error:
        if repository.remote and error.returncode != MISSING and "cipher header" not in str(error):
            raise
        return ""


def sound(content: str) -> bool:
    """Whether a list is what its own checksum says: SHA-1 over its sections, keys and values as if they were JSON (pgBackRest,
    src/info/info.c)."""
    said, sections = "", []
    try:
        for line in content.split("\n"):
            name, _, value = line.partition("=")
            if line.startswith("[") and line.endswith("]"):
                sections.append((line[1:-1], []))
            elif name == CHECKSUM and sections[-1][0] == "backrest":
                said = json.loads(value)
            elif line:
                sections[-1][1].append(f'"{name}":{value}')
    except (ValueError, IndexError):
        return False
    text = ",".join(f'"{name}":{{{",".join(pairs)}}}' for name, pairs in sections if pairs)
    return said == hashlib.sha1(f"{{{text}}}".encode(), usedforsecurity=False).hexdigest()
