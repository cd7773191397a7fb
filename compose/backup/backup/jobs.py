"""The jobs. Each runs under one lock, is written to the journal, and counts only when its tool says success."""

import contextlib
import fcntl
import re
import signal
import socket
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path

from . import journal, redis_copy, repository
from .log import log
from .settings import Settings

LOCK = Path("/run/backup/job.lock")
JOBS = ("full", "diff", "redis", "check", "verify")
# A backup that takes longer than this hangs: the next one must not wait for it for ever.
DEADLINES = {"full": 6 * 3600, "diff": 3 * 3600, "check": 180, "verify": 6 * 3600}


class JobError(Exception):
    pass


@contextlib.contextmanager
def job_lock() -> Iterator[None]:
    with LOCK.open("w") as stream:
        fcntl.flock(stream, fcntl.LOCK_EX)
        yield


def reachable(job: str) -> bool:
    """Whether the other side is there at all; a stack that is still starting is not a failed backup."""
    ports = [("redis", 6379)] if job == "redis" else [("postgres", 8432), ("postgres", 5432)]
    for address in ports:
        try:
            socket.create_connection(address, timeout=2).close()
        except OSError:
            return False
    return True


def run(job: str, settings: Settings) -> str:
    """Returns the error, empty on success."""
    with job_lock():
        log("INFO", "job started", job=job)
        started = time.monotonic()
        error = ""
        try:
            _do(job, settings)
        except (JobError, redis_copy.CopyError, OSError, subprocess.SubprocessError) as failure:
            error = str(failure)
        seconds = round(time.monotonic() - started, 3)
        journal.record(job, seconds=seconds, error=error)
        if error:
            log("ERROR", "job failed", job=job, seconds=seconds, error=error)
        else:
            log("INFO", "job done", job=job, seconds=seconds)
        return error


def _do(job: str, settings: Settings) -> None:
    if job == "redis":
        redis_copy.take(settings.redis.keep)
    elif job == "check":
        pgbackrest("check", deadline=DEADLINES[job])
    elif job == "verify":
        faults = verify_faults(pgbackrest("verify", "--log-level-console=detail", deadline=DEADLINES[job]))
        if faults:
            raise JobError(f"the repository is damaged: {'; '.join(faults)}")
    else:
        # Only where there is none: `backup` itself refuses when PostgreSQL was created anew, and the old cluster's
        # backups are then safe until somebody decides (`backup stanza-upgrade`).
        if repository.stanza_missing():
            create_stanza()
        keep = f"--repo1-retention-full={settings.postgres.keep_full}"
        pgbackrest("backup", f"--type={job}", keep, deadline=DEADLINES[job])


def create_stanza() -> None:
    """An archive-push that arrives at the same time holds the lock that this needs, for moments."""
    for attempt in range(1, 6):
        try:
            pgbackrest("stanza-create", deadline=DEADLINES["check"])
        except JobError as error:
            if attempt == 5 or "unable to acquire lock" not in str(error):
                raise
            time.sleep(2)
        else:
            return


def verify_faults(output: str) -> list[str]:
    """`pgbackrest verify` 2.45 ends with exit code 0 when files are missing, and tells of a gap in the WAL only by
    listing two ranges for one timeline: its report has to be read."""
    faults = [line.strip() for line in output.splitlines() if re.search(r"\b(ERROR|WARN)\b", line)]
    for name, number in re.findall(r"(missing|checksum invalid|size invalid|other): (\d+)", output):
        if int(number):
            faults.append(f"{name}: {number}")
    faults += re.findall(r"backup: \S+, status: (?!valid)\w+", output)
    last_of_timeline: dict[tuple[str, str], str] = {}
    for archive, first, last in re.findall(r"archiveId: (\S+), wal start: (\w{24}), wal stop: (\w{24})", output):
        timeline = (archive, first[:8])
        if timeline in last_of_timeline:
            faults.append(f"WAL is missing between {last_of_timeline[timeline]} and {first}")
        last_of_timeline[timeline] = last
    return faults


def pgbackrest(command: str, *options: str, deadline: float) -> str:
    child = subprocess.Popen(
        ["pgbackrest", "--stanza=main", *options, command],
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    )
    try:
        output, _ = child.communicate(timeout=deadline)
    except BaseException as stopped:
        # SIGTERM lets it end the backup in PostgreSQL and release its locks.
        child.send_signal(signal.SIGTERM)
        child.communicate()
        if isinstance(stopped, subprocess.TimeoutExpired):
            raise JobError(f"pgbackrest {command}: not done within {deadline:.0f} s") from None
        raise
    for line in output.splitlines():
        if re.search(r"\b(WARN|ERROR)\b", line):
            log("WARNING", line.strip(), job=command)
    if child.returncode != 0:
        # The first warning often tells the cause of the error. pgBackRest redacts its key by itself.
        first = re.search(r"\b(WARN|ERROR)\b", output)
        errors = " ".join(output[first.start() if first else 0 :].split())
        raise JobError(f"pgbackrest {command}: exit {child.returncode}: {errors[:600]}")
    return output
