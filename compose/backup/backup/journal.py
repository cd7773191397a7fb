"""What each job last did. Kept on the repository's volume, so that restarts lose no failure count.

On a full disk it is kept in memory meanwhile: a job that failed by that would be begun again at once, and nobody told.
"""

import json
from dataclasses import asdict, dataclass, replace
from datetime import UTC, datetime
from pathlib import Path

from . import disk
from .log import log
from .paths import RUN, VOLUME

PATH = VOLUME / "journal.json"
ASIDE = RUN / "journal.json"
"""On a tmpfs; newer than the other wherever it is there."""


@dataclass(frozen=True)
class Entry:
    last_attempt: datetime | None = None
    last_success: datetime | None = None
    last_seconds: float | None = None
    failures_total: int = 0
    failures_in_row: int = 0
    last_error: str = ""
    unreached: str = ""
    """Who did not answer at the last attempt, which is then neither a success nor a failure."""

    def after(self, *, ended: datetime, seconds: float, error: str, unreached: str) -> "Entry":
        now = replace(self, last_attempt=ended, unreached=unreached)
        if error:
            failures = {"failures_total": self.failures_total + 1, "failures_in_row": self.failures_in_row + 1}
            return replace(now, last_error=error, **failures)
        if unreached:
            return now
        return replace(now, last_success=ended, last_seconds=seconds, failures_in_row=0, last_error="")


def read(path: Path = PATH, aside: Path = ASIDE) -> dict[str, Entry]:
    """Empty where there is none, or where it cannot be read: only counts of failures are lost with it."""
    try:
        text = (aside if aside.exists() else path).read_text()
        return {job: _entry(values) for job, values in json.loads(text).items()}
    except (FileNotFoundError, ValueError, TypeError, AttributeError, KeyError):
        return {}


def record(
    job: str, *, seconds: float, error: str = "", unreached: str = "", path: Path = PATH, aside: Path = ASIDE
) -> Entry:  # fmt: skip
    """Callers hold the job lock, hence no two writers."""
    entries = read(path, aside)
    entries[job] = entries.get(job, Entry()).after(ended=datetime.now(UTC), seconds=seconds, error=error, unreached=unreached)
    try:
        _write(entries, path)
        aside.unlink(missing_ok=True)
    except OSError as problem:
        log("ERROR", "the journal is kept in memory", error=str(problem))
        _write(entries, aside)
    return entries[job]


def _write(entries: dict[str, Entry], path: Path) -> None:
    disk.write(path, json.dumps({name: asdict(entry) for name, entry in entries.items()}, default=datetime.isoformat))


def _entry(values: dict) -> Entry:
    for key in ("last_attempt", "last_success"):
        if values[key] is not None:
            values[key] = datetime.fromisoformat(values[key])
    return Entry(**values)
