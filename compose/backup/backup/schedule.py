"""Pure decisions: which job is due, and when a failed one is tried again."""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime, time, timedelta

from .journal import Entry
from .settings import Settings

FIRST_RETRY = timedelta(seconds=5)
LAST_RETRY = timedelta(minutes=15)


@dataclass(frozen=True)
class Done:
    """When each thing last succeeded; backups as the repository itself says."""

    full: datetime | None
    any_backup: datetime | None
    redis: datetime | None
    check: datetime | None
    verify: datetime | None


def latest_occurrence(at: time, now: datetime) -> datetime:
    today = now.replace(hour=at.hour, minute=at.minute, second=0, microsecond=0)
    return today if today <= now else today - timedelta(days=1)


def due(settings: Settings, done: Done, now: datetime) -> list[str]:
    """The jobs to run now, most important first. A schedule that was missed is due at once."""

    def daily(last: datetime | None, at: time) -> bool:
        return last is None or last < latest_occurrence(at, now)

    def every(last: datetime | None, interval: timedelta) -> bool:
        return interval > timedelta(0) and (last is None or now - last >= interval)

    full = daily(done.full, settings.postgres.full_at)
    wanted = {
        "full": full,
        "diff": not full and every(done.any_backup, settings.postgres.diff_every),
        "redis": daily(done.redis, settings.redis.copy_at),
        "check": done.full is not None and every(done.check, settings.postgres.check_every),
        "verify": done.full is not None and daily(done.verify, settings.postgres.verify_at),
    }
    return [job for job, is_due in wanted.items() if is_due]


def may_try(entry: Entry, now: datetime) -> bool:
    """After failures in a row the pause doubles, from seconds (a stack that starts) to a quarter of an hour."""
    if entry.failures_in_row == 0 or entry.last_attempt is None:
        return True
    pause = min(FIRST_RETRY * 2 ** min(entry.failures_in_row - 1, 16), LAST_RETRY)
    return now - entry.last_attempt >= pause


def next_job(settings: Settings, done: Done, journal: Mapping[str, Entry], now: datetime) -> str | None:
    return next((job for job in due(settings, done, now) if may_try(journal.get(job, Entry()), now)), None)
