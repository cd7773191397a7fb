"""PostgreSQL's write-ahead log as it is written: a commit is acknowledged once its record lies here as well.

`pg_receivewal` writes it into received/current. What the local repository has got goes again; what it has not is added by a
restore. PostgreSQL begins to wait for this receiver only once it has caught up, and stops before it goes: nobody waits for one
that does not come.
"""

import os
import re
import subprocess
import tarfile
import time
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import BinaryIO

from . import pgbackrest
from .command import stop
from .database import PRIMARY, RECEIVER, Session
from .errors import JobError
from .log import log
from .paths import POSTGRES, POSTGRES_BIN, RECEIVED, RUN

NAME = "receiver"
"""Of the role, of the replication slot, and by which PostgreSQL knows whom to wait for."""
CURRENT = RECEIVED / "current"
CLUSTER = RECEIVED / "cluster"
"""Which cluster the files are of: an empty one that was made in its place must not make them go."""
BEHIND = RECEIVED / "behind"
"""Name of the file behind which the stream begins: it stands for a segment that the archive has, and holds nothing."""
SEGMENT_BYTES = 16 << 20
SEGMENTS_OF_LOG = 256
KEPT_SECONDS = 3 * 86400
"""As long as a safety copy of a restore: what was received before it, or before the receiver was turned off."""
CATCHING_UP, TIDYING = 0.3, 5.0
"""Seconds between two looks before and after PostgreSQL waits for it."""
PAUSE = 1.0
"""Seconds after a failure, besides the supervisor's own."""
STATE = """
SELECT json_build_object(
  'system', (SELECT system_identifier::text FROM pg_control_system()),
  'segment', pg_walfile_name(pg_current_wal_insert_lsn()),
  'unarchived', (SELECT min(left(name, 24)) FROM pg_ls_archive_statusdir() WHERE name ~ '^[0-9A-F]{24}[.]ready$'
                    AND left(name, 8) = left(pg_walfile_name(pg_current_wal_insert_lsn()), 8)),
  'slot', EXISTS (SELECT FROM pg_replication_slots WHERE slot_name = 'receiver'),
  'streams', EXISTS (SELECT FROM pg_stat_replication WHERE application_name = 'receiver' AND state = 'streaming'),
  'waits', current_setting('synchronous_standby_names') <> '');
"""
WAIT = ("ALTER SYSTEM SET synchronous_standby_names = 'receiver';", "SELECT to_json(pg_reload_conf());")
WAIT_NO_MORE = ("ALTER SYSTEM RESET synchronous_standby_names;", "SELECT to_json(pg_reload_conf());")
DROP = "SELECT to_json(pg_drop_replication_slot(slot_name)::text) FROM pg_replication_slots WHERE slot_name = 'receiver';"
# From the last checkpoint on; what is older and not archived, PostgreSQL keeps anyway.
CREATE = "SELECT to_json(pg_create_physical_replication_slot('receiver', true)::text);"


@dataclass(frozen=True)
class Primary:
    """PostgreSQL's side. `unarchived`: its oldest segment that the archive may lack, besides the present one."""

    system: str
    segment: str
    unarchived: str | None
    slot: bool
    streams: bool
    waits: bool

    @property
    def first(self) -> str:
        return self.unarchived or self.segment


def look(session: Session) -> Primary:
    return Primary(**session.ask(STATE, deadline=20)[0])


def predecessor(segment: str) -> str:
    """Name of the segment before one, of the same timeline."""
    number = int(segment[8:16], 16) * SEGMENTS_OF_LOG + int(segment[16:], 16) - 1
    return f"{segment[:8]}{number // SEGMENTS_OF_LOG:08X}{number % SEGMENTS_OF_LOG:08X}"


def continues(names: Iterable[str], cluster: str | None, primary: Primary) -> bool:
    """Whether the stream can go on behind these files. Pure.

    Raises JobError where they are of another cluster: they may be all that is left of it.
    """
    segments = [name for name in names if re.match(r"[0-9A-F]{24}", name)]
    if segments and cluster not in (None, primary.system):
        raise JobError(
            "PostgreSQL is another cluster than the one whose changes are kept here: `inv restore` brings that one back, "
            "`backup stanza-upgrade` in this container gives it up"
        )
    return primary.slot and bool(segments) and max(segments)[:8] == primary.segment[:8]


def receive() -> None:
    """Receives until the connection ends. Raises JobError then: the supervisor begins anew."""
    CURRENT.mkdir(parents=True, exist_ok=True)
    with Session(PRIMARY, "postgres") as session:
        primary = look(session)
        if not continues(_names(CURRENT), _text(CLUSTER), primary):
            _begin_anew(session)
        _remove_unfinished()
        child = subprocess.Popen(_argv(), stdin=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True, env=_environment())
        try:
            _watch(child, session)
        finally:
            stop(child)
    raise JobError(" ".join(child.stderr.read().split())[:400] or f"pg_receivewal ended with {child.returncode}")


def _argv() -> list[str | Path]:
    reach = RECEIVER.replace("application_name=backup", f"application_name={NAME}")
    options = ("--no-loop", "--synchronous", "--status-interval=5", f"--slot={NAME}", f"--directory={CURRENT}")
    # Not gently, as jobs are: everybody who commits waits for it.
    return ["setpriv", "--pdeathsig", "TERM", "--", POSTGRES_BIN / "pg_receivewal", *options, f"--dbname={reach}"]


def _environment() -> dict[str, str]:
    return {**os.environ, "PGPASSFILE": str(RUN / "pgpass"), "HOME": str(RUN)}


def _watch(child: subprocess.Popen, session: Session) -> None:
    waits = False
    while True:
        try:
            child.wait(TIDYING if waits else CATCHING_UP)
        except subprocess.TimeoutExpired:
            primary = look(session)
        else:
            return
        if primary.streams and not primary.waits:
            _tell(WAIT)
        if primary.streams and not waits:
            log("INFO", "every commit waits for the receiver from now on", segment=primary.segment)
        waits = primary.streams
        tidy()


def _begin_anew(session: Session) -> None:
    """A slot of its own, and the stream from the first segment that the archive lacks."""
    set_aside()
    CURRENT.mkdir(parents=True)
    _tell((DROP, CREATE))
    primary = look(session)
    CLUSTER.write_text(primary.system)
    BEHIND.write_text(predecessor(primary.first))
    # Whole or not at all: one of another size would be passed over, and what is older than the slot with it.
    empty = RECEIVED / "empty"
    with empty.open("wb") as stream:
        stream.truncate(SEGMENT_BYTES)
    empty.rename(CURRENT / BEHIND.read_text())
    log("INFO", "receiving begins", segment=primary.first)


def _remove_unfinished() -> None:
    """Its room is reserved before anything is written to a file, and pg_receivewal refuses one of which it is only half."""
    for path in CURRENT.glob("*.partial"):
        if path.stat().st_size != SEGMENT_BYTES:
            path.unlink()


def _tell(statements: Iterable[str]) -> None:
    with Session(RECEIVER, "postgres") as session:
        for statement in statements:
            session.ask(statement)


def release() -> None:
    """Nobody waits any more, PostgreSQL keeps nothing for the receiver. Raises JobError where PostgreSQL does not answer."""
    with Session(PRIMARY, "postgres") as session:
        primary = look(session)
    if primary.waits:
        _tell(WAIT_NO_MORE)
    if primary.slot:
        _tell((DROP,))
    set_aside()


def set_aside() -> None:
    """What was received no longer goes on, but no repository may have it yet."""
    if behind := _text(BEHIND):
        (CURRENT / behind).unlink(missing_ok=True)
    if _names(CURRENT):
        CURRENT.rename(RECEIVED / f"before-{datetime.now(UTC):%Y%m%dT%H%M%S%fZ}")
    elif CURRENT.is_dir():
        CURRENT.rmdir()
    BEHIND.unlink(missing_ok=True)
    CLUSTER.unlink(missing_ok=True)


def tidy() -> None:
    """Removes whole segments that the local repository has."""
    for path in CURRENT.iterdir():
        whole = re.fullmatch(r"[0-9A-F]{24}", path.name)
        begun = path.name == _text(BEHIND) and any(CURRENT.glob("*.partial"))
        if whole and (begun or pgbackrest.archived(POSTGRES, path.name)):
            path.unlink()


def sweep(now: float) -> None:
    """Removes what was set aside long ago. `now`: seconds of the epoch."""
    for folder in RECEIVED.glob("before-*"):
        if now - folder.stat().st_mtime > KEPT_SECONDS:
            for path in folder.iterdir():
                path.unlink()
            folder.rmdir()


def choose(folders: Mapping[Path, Iterable[str]], behind: str | None) -> dict[str, Path]:
    """What a restore needs: name -> file. Pure. A whole segment wins over a part of it, an earlier folder over a later one.

    folders: those that hold received files, newest first, and the names in them.
    """
    found: dict[str, Path] = {}
    for pattern in (r"[0-9A-F]{24}|[0-9A-F]{8}\.history", r"[0-9A-F]{24}\.partial"):
        for folder, names in folders.items():
            for name in sorted(names):
                if re.fullmatch(pattern, name) and name != behind and name.removesuffix(".partial") not in found:
                    found.setdefault(name, folder / name)
    return found


def pack(stream: BinaryIO) -> None:
    """Everything that was received and that the archive may lack, as a tar file."""
    folders = [CURRENT, *sorted(RECEIVED.glob("before-*"), reverse=True)]
    chosen = choose({folder: _names(folder) for folder in folders}, _text(BEHIND))
    with tarfile.open(fileobj=stream, mode="w|") as archive:
        for name, path in chosen.items():
            if path.stat().st_size == SEGMENT_BYTES or path.suffix == ".history":
                archive.add(path, arcname=name)


def _names(folder: Path) -> list[str]:
    return [path.name for path in folder.iterdir()] if folder.is_dir() else []


def _text(path: Path) -> str | None:
    return path.read_text() if path.exists() else None


def serve(*, synchronous: bool) -> int:
    """What the supervisor starts. 0: there is nothing to receive. 1: to be started again."""
    RECEIVED.mkdir(parents=True, exist_ok=True)
    try:
        receive() if synchronous else release()
    except JobError as failure:
        log("WARNING", f"the receiver {'is away' if synchronous else 'is not turned off yet'}", error=str(failure))
        time.sleep(PAUSE)
        return 1
    return 0
