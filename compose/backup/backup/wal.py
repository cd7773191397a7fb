"""What of the WAL is not in the repository yet, and what would be lost with the disk now."""

import re
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from . import command, pgbackrest
from .database import PRIMARY, Session
from .errors import JobError
from .paths import POSTGRES, POSTGRES_BIN, SCRATCH
from .repositories import Repository

ARRIVAL_SECONDS = 120
SEARCH_SECONDS = 1200
SAMPLE = """
SELECT json_build_object(
  'next_xid', pg_snapshot_xmax(pg_current_snapshot())::text::bigint,
  'segment', pg_walfile_name(pg_current_wal_insert_lsn()),
  'pending', (SELECT count(*) FROM pg_ls_archive_statusdir() WHERE name LIKE '%.ready'),
  'pending_age', (SELECT coalesce(extract(epoch FROM now() - min(modification)), 0)
                    FROM pg_ls_archive_statusdir() WHERE name LIKE '%.ready'),
  'receiving', EXISTS (SELECT FROM pg_stat_replication WHERE application_name = 'receiver' AND state = 'streaming'));
"""
# A record behind the fingerprint, so that recovery finds where to stop, then a new segment, so that both are archived.
MARK = """
SELECT to_json(pg_walfile_name(pg_create_restore_point('{name}')));
SELECT to_json(pg_switch_wal()::text);
"""


@dataclass(frozen=True)
class Sample:
    """PostgreSQL's side of the archive at one moment."""

    next_xid: int
    segment: str
    pending: int
    pending_age: float
    receiving: bool = False
    """Whether the receiver has all that PostgreSQL has written."""


def sample() -> Sample:
    with Session(PRIMARY, "postgres") as session:
        return Sample(**session.ask(SAMPLE, deadline=20)[0])


def mark(name: str) -> str:
    """Makes a named restore point and waits until its segment lies in the local repository. Returns the segment."""
    with Session(PRIMARY, "postgres") as session:
        segment = session.ask(MARK.format(name=name))[0]
    ends = time.monotonic() + ARRIVAL_SECONDS
    while not pgbackrest.archived(POSTGRES, segment):
        if time.monotonic() > ends:
            raise JobError(f"the WAL segment {segment} did not reach the repository within {ARRIVAL_SECONDS} s")
        time.sleep(0.25)
    return segment


def newest_xid(dumps: Sequence[str]) -> int:
    """The highest transaction number in what pg_waldump printed."""
    return max((int(number) for text in dumps for number in re.findall(r"\btx:\s+(\d+)", text)), default=0)


def loss(next_xid: int, archived_xid: int, archived_at: float, now: float) -> float:
    """Seconds of committed changes that only the disk of PostgreSQL holds. `next_xid`: the number that the next transaction
    would get. Nothing newer than what is archived has been written: nothing would be lost, however old that is."""
    if (next_xid - 1) & 0xFFFFFFFF <= archived_xid:
        return 0.0
    return max(0.0, now - archived_at)


def measure_loss(local: Repository) -> float:
    """Seconds: reads the newest archived segments and asks PostgreSQL what it has given out since."""
    now = sample()
    found = pgbackrest.segments(POSTGRES / "archive" / "main")
    if not found:
        raise JobError("the repository holds no WAL")
    folder = SCRATCH / "wal"
    folder.mkdir(parents=True, exist_ok=True)
    archived, dumps = 0, []
    for segment, _ in reversed(found[-4:]):
        pgbackrest.fetch_wal(local, segment, folder / segment)
        dumps = [command.run([POSTGRES_BIN / "pg_waldump", "--quiet", folder / segment], deadline=300, ok=(0, 1))]
        archived = max(archived, newest_xid(dumps))
        if archived:
            break
    return loss(now.next_xid, archived, found[-1][1], time.time())


def unreadable(repository: Repository) -> list[str]:
    """Names of archived segments that cannot be decrypted or unpacked, found by trying one after the other: pgBackRest only
    counts those whose damage it meets while unpacking. Ends after SEARCH_SECONDS."""
    found = []
    folder = SCRATCH / "wal"
    folder.mkdir(parents=True, exist_ok=True)
    packed = folder / "packed"
    ends = time.monotonic() + SEARCH_SECONDS
    root = Path(repository.postgres)
    for path in sorted(root.glob("archive/main/*/*/*-*.zst")):
        try:
            with packed.open("wb") as stream:
                options = (f"--repo={repository.number}", "--log-level-console=off", str(path.relative_to(root)))
                pgbackrest.run("repo-get", *options, stdout=stream)
            command.run(["zstd", "--test", "--quiet", packed], deadline=60)
        except JobError:
            found.append(path.name[:24])
        if time.monotonic() > ends:
            break
    return found
