"""What the repository really holds, as pgBackRest and the files say, whatever any job reported."""

import json
import subprocess
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

from . import redis_copy

ROOT = Path("/var/lib/pgbackrest/postgres")
INFO = ["pgbackrest", "--stanza=main", "--log-level-console=error", "--output=json", "info"]
INFO_DEADLINE = 60


@dataclass(frozen=True)
class Backup:
    label: str
    kind: str
    stop: datetime
    database_bytes: int
    repository_bytes: int


@dataclass(frozen=True)
class Repository:
    error: str = ""
    backups: tuple[Backup, ...] = ()
    wal_min: str | None = None
    wal_max: str | None = None
    wal_archived: datetime | None = None
    redis_copies: tuple[datetime, ...] = ()
    postgres_bytes: int = 0
    redis_bytes: int = 0

    @property
    def last_backup(self) -> datetime | None:
        return max((backup.stop for backup in self.backups), default=None)

    @property
    def last_full(self) -> datetime | None:
        return max((backup.stop for backup in self.backups if backup.kind == "full"), default=None)

    @property
    def last_redis(self) -> datetime | None:
        return max(self.redis_copies, default=None)


def parse_info(text: str) -> Repository:
    """From `pgbackrest info --output=json`. A backup with page errors does not count as one."""
    stanza = next((item for item in json.loads(text) if item["name"] == "main"), None)
    if stanza is None:
        return Repository(error="the stanza main does not exist yet")
    backups = tuple(
        Backup(
            label=item["label"],
            kind=item["type"],
            stop=datetime.fromtimestamp(item["timestamp"]["stop"], UTC),
            database_bytes=item["info"]["size"],
            repository_bytes=item["info"]["repository"]["delta"],
        )
        for item in stanza.get("backup", [])
        if not item.get("error")
    )
    newest = stanza["archive"][-1] if stanza.get("archive") else {}
    status = stanza["status"]
    return Repository(
        error="" if status["code"] == 0 else status["message"],
        backups=backups,
        wal_min=newest.get("min"),
        wal_max=newest.get("max"),
    )


def stanza_missing() -> bool:
    """Codes of `info`: 1 and 3 say that the stanza's path or its data is missing."""
    answer = subprocess.run(INFO, capture_output=True, text=True, timeout=INFO_DEADLINE, check=True)
    stanza = next((item for item in json.loads(answer.stdout) if item["name"] == "main"), None)
    return stanza is None or stanza["status"]["code"] in (1, 3)


def observe() -> Repository:
    try:
        answer = subprocess.run(INFO, capture_output=True, text=True, timeout=INFO_DEADLINE, check=False)
    except subprocess.TimeoutExpired:
        seen = Repository(error=f"pgbackrest info did not answer within {INFO_DEADLINE} s")
    else:
        if answer.returncode == 0:
            seen = parse_info(answer.stdout)
        else:
            seen = Repository(error=" ".join((answer.stdout + answer.stderr).split()))
    copies = redis_copy.copies()
    return Repository(
        error=seen.error,
        backups=seen.backups,
        wal_min=seen.wal_min,
        wal_max=seen.wal_max,
        wal_archived=_newest_wal(ROOT / "archive" / "main"),
        redis_copies=tuple(copy.taken for copy in copies),
        postgres_bytes=_bytes_below(ROOT),
        redis_bytes=sum(copy.path.stat().st_size for copy in copies),
    )


def _newest_wal(archive: Path) -> datetime | None:
    """Segments lie in archive/main/15-1/<timeline and log>/: the names sort as the WAL does."""
    for folder in sorted(archive.glob("*/????????????????"), reverse=True):
        times = [path.stat().st_mtime for path in folder.iterdir() if not path.name.endswith(".tmp")]
        if times:
            return datetime.fromtimestamp(max(times), UTC)
    return None


def _bytes_below(root: Path) -> int:
    total = 0
    for path in root.rglob("*"):
        try:
            if path.is_file():
                total += path.stat().st_size
        except FileNotFoundError:
            continue  # expired while we looked
    return total
