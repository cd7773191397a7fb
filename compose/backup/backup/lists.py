"""pgBackRest's lists: what there is, and what belongs to each backup.

It keeps two copies of each, reads the second where the first is no good, and says nothing of that even when it verifies: the
day on which both are damaged would come unannounced.
"""

import hashlib
import json

from . import pgbackrest
from .errors import CommandError
from .paths import SCRATCH
from .repositories import Repository

CHECKSUM = "backrest-checksum"
COPY = ".copy"
MISSING = 1
"""Exit code of `repo-get` for a file that is not there."""


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


def _content(repository: Repository, path: str) -> bytes:
    """Empty where it is not there. In a file on its way: the list of a large database has more lines than are kept."""
    SCRATCH.mkdir(mode=0o700, exist_ok=True)
    out = SCRATCH / "list"
    try:
        with out.open("wb") as stream:
            pgbackrest.run("repo-get", f"--repo={repository.number}", "--log-level-console=off", path, stdout=stream)
        return out.read_bytes()
    except CommandError as error:
        if repository.remote and error.returncode != MISSING and "cipher header" not in str(error):
            raise
        return b""
    finally:
        out.unlink(missing_ok=True)


def sound(content: bytes) -> bool:
    """Whether a list is what its own checksum says: SHA-1 over its sections, keys and values as if they were JSON (pgBackRest,
    src/info/info.c)."""
    said, sections = "", []
    try:
        for line in content.decode().splitlines():
            name, _, value = line.partition("=")
            if line.startswith("[") and line.endswith("]"):
                sections.append((line[1:-1], []))
            elif name == CHECKSUM:
                said = json.loads(value)
            elif line:
                sections[-1][1].append(f'"{name}":{value}')
    except (ValueError, IndexError):
        return False
    text = ",".join(f'"{name}":{{{",".join(pairs)}}}' for name, pairs in sections if pairs)
    return said == hashlib.sha1(f"{{{text}}}".encode(), usedforsecurity=False).hexdigest()
