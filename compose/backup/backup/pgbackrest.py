"""pgBackRest: its commands, and what its answers mean."""

import json
import re
import threading
import time
from collections.abc import Iterable
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

from . import command
from .errors import CommandError, JobError
from .log import log
from .paths import DRILL_CONF, PGBACKREST_CONF
from .progress import Progress
from .repositories import Repository

# A backup that takes longer than this hangs: the next one must not wait for it for ever. Seconds.
DEADLINES = {"backup": 6 * 3600, "verify": 6 * 3600, "restore": 6 * 3600, "expire": 3600, "info": 60}
DEADLINE = 180
UNREACHABLE = 99
"""`info`'s code for a repository that could not be asked."""
LOCK_ATTEMPTS = 30
POLL = 2.0
"""Seconds between two questions how far a backup is, and between two attempts to get a lock."""
LABEL = re.compile(r"\d{8}-\d{6}F(_\d{8}-\d{6}[DI])?")
HISTORY = "backup/main/backup.history"
NOT_LATER = re.compile(r"not later than latest backup label '([^']+)'")
_PREFIX = re.compile(r"^\S+ \S+ P\d+ +(INFO|DETAIL): ")


@dataclass(frozen=True)
class Backup:
    """One backup of PostgreSQL in one repository. Sizes in bytes; `repository_bytes` is what it added there."""

    label: str
    kind: str
    start: datetime
    stop: datetime
    database_bytes: int
    repository_bytes: int
    set: str = ""
    prior: str = ""


@dataclass(frozen=True)
class Info:
    """What one repository holds. `code` as pgBackRest's: 0 is good, 1 and 3 say that the stanza is missing."""

    error: str = ""
    code: int = 0
    backups: tuple[Backup, ...] = ()
    wal_min: str | None = None
    wal_max: str | None = None

    @property
    def stanza_missing(self) -> bool:
        return self.code in (1, 3)


def run(name: str, *options: str, conf: Path = PGBACKREST_CONF, deadline: float | None = None, **more: object) -> str:
    """Raises CommandError. pgBackRest redacts its keys by itself."""
    words = [option for option in options if not option.startswith("-")]
    argv = [
        "pgbackrest",
        f"--config={conf}",
        "--stanza=main",
        *[option for option in options if option not in words],
        name,
        *words,
    ]
    output = command.run(argv, deadline=deadline or DEADLINES.get(name, DEADLINE), **more)
    for line in output.splitlines():
        if re.search(r"\b(WARN|ERROR)\b", line) and not command.harmless(line):
            log("WARNING", line.strip(), job=name)
    return output


def info(repository: Repository, conf: Path = PGBACKREST_CONF) -> Info:
    options = [f"--repo={repository.number}", "--log-level-console=error", "--output=json"]
    if repository.remote:
        # It tries three times; a server that does not answer must not keep the others from being looked at.
        options.append("--io-timeout=10")
    try:
        return parse_info(run("info", *options, conf=conf))
    except JobError as error:
        return Info(error=str(error), code=UNREACHABLE)


def _read(text: str) -> list[dict]:
    """It quotes what it found where a file should begin, as it is: with another key, any byte."""
    return json.loads(text, strict=False)


def parse_info(text: str) -> Info:
    """From `pgbackrest info --output=json`. A backup with page errors does not count as one."""
    stanza = next((item for item in _read(text) if item["name"] == "main"), None)
    if stanza is None:
        return Info(error="the stanza main does not exist yet", code=1)
    newest = stanza["archive"][-1] if stanza.get("archive") else {}
    status = stanza["status"]
    said = status["message"]
    if status["code"] == UNREACHABLE:  # "other": the repository's own status says what
        said = "; ".join(one["status"]["message"].splitlines()[0] for one in stanza.get("repo", [])) or said
    return Info(
        error="" if status["code"] == 0 else said,
        code=status["code"],
        backups=tuple(_backup(item) for item in stanza.get("backup", []) if not item.get("error")),
        wal_min=newest.get("min"),
        wal_max=newest.get("max"),
    )


def _backup(item: dict) -> Backup:
    return Backup(
        label=item["label"],
        kind=item["type"],
        start=datetime.fromtimestamp(item["timestamp"]["start"], UTC),
        stop=datetime.fromtimestamp(item["timestamp"]["stop"], UTC),
        database_bytes=item["info"]["size"],
        repository_bytes=item["info"]["repository"].get("delta") or 0,
        set=(item.get("annotation") or {}).get("set", ""),
        prior=item.get("prior") or "",
    )


def backup(repository: Repository, kind: str, name: str, progress: Progress) -> str:
    """The label of a new backup of the set `name`. Nothing is expired: see expiry.py."""
    options = (f"--repo={repository.number}", f"--type={kind}", f"--annotation=set={name}", "--no-expire-auto")
    ended = threading.Event()
    watcher = threading.Thread(target=_watch, args=(repository, progress, ended), daemon=True)
    if progress.wanted:
        watcher.start()
    try:
        _patiently("backup", *options)
    except CommandError as error:
        raise told(error) from None
    finally:
        ended.set()
    made = [one for one in info(repository).backups if one.set == name]
    if not made:
        raise JobError(f"pgbackrest backup ended, but {repository.name} holds no backup of the set {name}")
    return made[-1].label


def halves(folders: Iterable[str], known: Iterable[str]) -> list[str]:
    """Names of folders that look like backups and that pgBackRest does not know as such."""
    return sorted(name for name in set(folders) - set(known) if LABEL.fullmatch(name))


def remove_halves(repository: Repository) -> None:
    """Removes what a killed backup has left. pgBackRest itself does that with the newest one only where its list of files was
    written already, and calls any other one damaged when it verifies. Callers hold the job lock: none is being made."""
    folder = "backup/main"
    for label in halves(listed(repository, folder), (one.label for one in info(repository).backups)):
        if "backup.manifest" not in listed(repository, f"{folder}/{label}"):
            log("INFO", "removing half a backup", repository=repository.name, label=label)
            run("repo-rm", f"--repo={repository.number}", "--recurse", f"{folder}/{label}")


def listed(repository: Repository, folder: str, *options: str) -> dict[str, dict]:
    """Name -> what it is, of all in a folder of a repository; empty where there is no such folder."""
    return json.loads(run(
        "repo-ls", f"--repo={repository.number}", "--output=json", "--log-level-console=off", *options, folder
    ))  # fmt: skip


def told(error: CommandError) -> JobError:
    """In an operator's terms, where the tool's own are not."""
    match = NOT_LATER.search(str(error))
    if not match:
        return error
    moment = f"{label_time(match[1]):%Y-%m-%d %H:%M:%S} UTC"
    return JobError(
        f"the repository holds a backup of {moment}, which is ahead of the clock; pgBackRest makes none beside it"
    )  # fmt: skip


def label_time(label: str) -> datetime:
    """The later of the two moments in `20260310-023000F_20260310-090000I`: pgBackRest goes by the order of the texts."""
    return max(datetime.strptime(part[:15], "%Y%m%d-%H%M%S").replace(tzinfo=UTC) for part in label.split("_"))


def forget_history(repository: Repository, limit: datetime) -> None:
    """Removes the manifests of expired backups, which pgBackRest keeps, from after a moment: it takes them for the latest."""
    for path, about in listed(repository, HISTORY, "--recurse").items():
        if about["type"] == "file" and label_time(path.rpartition("/")[2].partition(".")[0]) > limit:
            run("repo-rm", f"--repo={repository.number}", f"{HISTORY}/{path}")


def _watch(repository: Repository, progress: Progress, ended: threading.Event) -> None:
    options = (f"--repo={repository.number}", "--log-level-console=error", "--output=json")
    while not ended.wait(POLL):
        try:
            found = how_far(run("info", *options))
        except CommandError:
            continue
        if found and not ended.is_set():
            progress.bytes(*found)


def how_far(text: str) -> tuple[int, int] | None:
    """(bytes done, bytes in all) of the backup that runs, from `info --output=json`."""
    for stanza in _read(text):
        running = stanza["status"].get("lock", {}).get("backup", {})
        if running.get("held") and running.get("size"):
            return int(running.get("size-cplt") or 0), int(running["size"])
    return None


def create_stanza() -> None:
    _patiently("stanza-create")


def _patiently(name: str, *options: str) -> None:
    """An archive-push that arrives at the same time holds the lock that a new stanza needs: for moments, or for as long as it
    takes to give up on a repository that does not answer. That of a backup is held by one whose job was killed, until it
    has ended in PostgreSQL as well."""
    for attempt in range(1, LOCK_ATTEMPTS + 1):
        try:
            run(name, *options)
        except CommandError as error:
            if attempt == LOCK_ATTEMPTS or "unable to acquire lock" not in str(error):
                raise
            time.sleep(POLL)
        else:
            return


def restore(repository: Repository, label: str, lsn: str, target: Path) -> None:
    """Restores into the scratch space, prepared to be started and to end recovery right before `lsn`."""
    fetch = f'pgbackrest --config={DRILL_CONF} --stanza=main --repo={repository.number} archive-get %f "%p"'
    run(
        "restore", f"--repo={repository.number}", f"--set={label}", "--type=lsn", f"--target={lsn}", "--target-exclusive",
        "--target-action=promote", "--archive-mode=off", f"--pg1-path={target}", f"--recovery-option=restore_command={fetch}",
        conf=DRILL_CONF,
    )  # fmt: skip


def fetch_wal(repository: Repository, segment: str, target: Path) -> None:
    run("archive-get", f"--repo={repository.number}", segment, str(target), conf=DRILL_CONF)


def verify(repository: Repository) -> None:
    """Raises JobError that names what is missing or damaged."""
    options = (f"--repo={repository.number}", "--output=text", "--verbose", "--log-level-console=detail")
    try:
        output = run("verify", *options)
    except CommandError as error:
        faults = verify_faults(error.output)
        if not faults:
            raise
    else:
        faults = verify_faults(output)
    if faults:
        raise JobError(f"repository {repository.name} is damaged: {'; '.join(faults[:20])}")


def verify_faults(output: str) -> list[str]:
    """A report may end with exit code 0 when files are damaged or missing, and tells of a gap in the WAL only by listing two
    ranges for one timeline: it has to be read. It is printed twice, as a log and as text."""
    bad = re.compile(r"\b(ERROR|WARN)\b|\binvalid (checksum|size|file)|\bfile missing\b")
    faults = [_PREFIX.sub("", line).strip() for line in output.splitlines() if bad.search(line)]
    for name, number in re.findall(r"(missing|checksum invalid|size invalid|other): (\d+)", output):
        if int(number):
            faults.append(f"{name}: {number}")
    faults += re.findall(r"backup: \S+, status: (?!valid)\w+", output)
    last_of_timeline: dict[tuple[str, str], str] = {}
    ranges = dict.fromkeys(re.findall(r"archiveId: (\S+), wal start: (\w{24}), wal stop: (\w{24})", output))
    for archive, first, last in ranges:
        timeline = (archive, first[:8])
        if timeline in last_of_timeline:
            faults.append(f"WAL is missing: {gap(last_of_timeline[timeline], first)}")
        last_of_timeline[timeline] = last
    return list(dict.fromkeys(faults))


def gap(before: str, after: str) -> str:
    """The segments between two of one timeline, by name: the first, and the last where there are several."""
    first, last = _position(before) + 1, _position(after) - 1
    names = [f"{before[:8]}{at // 256:08X}{at % 256:08X}" for at in (first, last)]
    return names[0] if first == last else f"{names[0]} to {names[1]}"


def _position(segment: str) -> int:
    """Among all segments of 16 MB: 256 of them have one log number."""
    return int(segment[8:16], 16) * 256 + int(segment[16:24], 16)


def segments(archive: Path) -> list[tuple[str, float]]:
    """(name, when it arrived) of the newest WAL segments below archive/main of a repository that is a folder, oldest first.

    They lie in 15-1/<timeline and log>/: the names sort as the WAL does.
    """
    for folder in sorted(archive.glob("*/????????????????"), reverse=True):
        found = sorted(path for path in folder.iterdir() if re.match(r"[0-9A-F]{24}-", path.name) and path.suffix != ".tmp")
        if found:
            return [(path.name[:24], path.stat().st_mtime) for path in found]
    return []


def archived(repository_path: Path, segment: str) -> bool:
    found = (repository_path / "archive" / "main").glob(f"*/{segment[:16]}/{segment}-*")
    return any(path.suffix != ".tmp" for path in found)
