"""The places where backups are kept. repositories.json lists those besides the local one; without it there is only that."""

import json
from dataclasses import dataclass
from pathlib import Path

from .paths import CONFIG, FILES, POSTGRES
from .settings import SettingsError, same_keys

PATH = CONFIG / "repositories.json"
VERSION = 1
LOCAL = "local"
WHERE = {
    # kind -> (keys of `where` that must be there, keys that may be, secrets)
    "folder": (["path"], (), []),
    "s3": (["endpoint", "bucket"], ("prefix", "region", "path_style", "ca"), ["key", "key-secret"]),
    "sftp": (["host", "user", "path", "host_key"], ("port",), ["key"]),
}


@dataclass(frozen=True)
class Repository:
    """One place. pgBackRest knows it by its number, restic by its URL."""

    name: str
    kind: str
    number: int
    where: dict
    keep: int
    append_only: bool = False
    secrets: dict | None = None
    """Of the credentials: name -> file."""
    given: bool = False
    """Whether these credentials are not this host's own: somebody gave them for one job."""

    @property
    def remote(self) -> bool:
        return self.kind in ("s3", "sftp")

    @property
    def alias(self) -> str:
        """What the files that the tools read of it are called by."""
        return f"{self.name}-given" if self.given else self.name

    @property
    def folder(self) -> Path | None:
        """Its files, where they can be looked at."""
        return Path(self.where["path"]) if self.kind == "folder" else None

    @property
    def postgres(self) -> str:
        """pgBackRest's path within it."""
        if self.name == LOCAL:
            return str(POSTGRES)
        return f"{self.base}/postgres"

    @property
    def base(self) -> str:
        """Path within it, with a slash in front and none at the end."""
        return "/" + str(self.where.get("path", self.where.get("prefix", ""))).strip("/") if self.where else ""


def local(keep: int) -> Repository:
    return Repository(LOCAL, "folder", 1, {"path": str(POSTGRES.parent)}, keep)


def parse(text: str | None, keep: int) -> tuple[Repository, ...]:
    """Parameters: the text of repositories.json, None where there is none; fulls kept in the local repository.

    Raises SettingsError with the place of the first fault.
    """
    found = [local(keep)]
    if text is None:
        return tuple(found)
    try:
        document = json.loads(text)
    except ValueError as error:
        raise SettingsError(f"repositories.json is not JSON: {error}") from None
    same_keys(document, ["version", "repositories"], "")
    if document["version"] != VERSION:
        raise SettingsError(f"repositories.json has version {document['version']!r}, this program reads {VERSION}")
    for number, entry in enumerate(document["repositories"], start=2):
        found.append(_one(entry, number, keep))
    names = [repository.name for repository in found]
    for name in names:
        if names.count(name) > 1:
            raise SettingsError(f"two repositories are called {name}")
    return tuple(found)


def _one(entry: dict, number: int, keep: int) -> Repository:
    place = f"repositories[{number - 2}]."
    same_keys(entry, ["name", "kind", "where"], place, ("append_only", "keep", "secrets"))
    if entry["kind"] not in WHERE:
        raise SettingsError(f"{place}kind: {entry['kind']!r} is none of {', '.join(WHERE)}")
    required, optional, secrets = WHERE[entry["kind"]]
    same_keys(entry["where"], required, f"{place}where.", optional)
    same_keys(entry.get("secrets", {}), secrets, f"{place}secrets.")
    return Repository(
        entry["name"], entry["kind"], number, entry["where"], int(entry.get("keep", keep)),
        bool(entry.get("append_only", False)), entry.get("secrets", {}),
    )  # fmt: skip


def load(keep: int, path: Path = PATH) -> tuple[Repository, ...]:
    return parse(path.read_text() if path.exists() else None, keep)


def restic_url(repository: Repository) -> str:
    where = repository.where
    if repository.name == LOCAL:
        return str(FILES)
    if repository.kind == "s3":
        return f"s3:{where['endpoint'].rstrip('/')}/{where['bucket']}{repository.base.rstrip('/')}/files"
    if repository.kind == "sftp":
        return f"sftp:{where['user']}@{where['host']}:{repository.base}/files"
    return f"{repository.base}/files"
