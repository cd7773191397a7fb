"""Pure decisions: which job is due, and when a failed one is tried again."""

from collections.abc import Mapping
from dataclasses import dataclass, replace
from datetime import datetime, time, timedelta
from hashlib import sha256

from .journal import Entry
from .settings import Settings

FIRST_RETRY = timedelta(seconds=5)
LAST_RETRY = timedelta(minutes=15)
HEAVY = ("drill", "verify", "verify-remote")
"""They read everything there is: after a failure they rest for longer, an hour to six."""
HEAVY_FIRST, HEAVY_LAST = timedelta(hours=1), timedelta(hours=6)
UNREACHED_RETRY = timedelta(minutes=1)
"""From a job that met a machine which did not answer until the next one, once it does."""
SLACK = timedelta(hours=12)
"""By which a full backup may come early: one every 7 days at 02:30 is due at that time on the seventh day, whatever the last
one's minute was."""


@dataclass(frozen=True)
class Done:
    """When each thing last succeeded; sets as the local repository itself says."""

    full: datetime | None = None
    diff: datetime | None = None
    """The newest full or differential set."""
    any: datetime | None = None
    check: datetime | None = None
    verify: datetime | None = None
    verify_remote: datetime | None = None
    drill: datetime | None = None


def offset(seed: str, jitter: timedelta) -> timedelta:
    """Somewhere within the jitter, for one stack always the same: many stacks must not meet at one server."""
    seconds = int(jitter.total_seconds())
    return timedelta(seconds=int.from_bytes(sha256(seed.encode()).digest()[:4], "big") % seconds) if seconds else timedelta()


def latest_occurrence(at: time, now: datetime, late: timedelta = timedelta()) -> datetime:
    moment = now - late
    today = moment.replace(hour=at.hour, minute=at.minute, second=0, microsecond=0)
    return (today if today <= moment else today - timedelta(days=1)) + late


def settled(settings: Settings, started: datetime, now: datetime, *, handed_over: bool) -> bool:
    """Whether a new stack is worth its first set. While its first deploy is under way tables are still being made: that set
    would hold half of them, and nothing of the host.

    handed_over: whether the host has given its part, which a deploy does when it has ended. One that never ends is waited for
    half as long as a first set is forgiven.
    """
    return handed_over or now - started >= settings.health.grace / 2


def due(
    settings: Settings, done: Done, now: datetime, late: timedelta = timedelta(), *, remote: bool = False, ready: bool = True
) -> list[str]:  # fmt: skip
    """The jobs to run now, most important first. A schedule that was missed is due at once.

    late: this stack's share of the jitter. remote: whether there are repositories beyond this host. ready: for a first set.
    """
    sets, proof = settings.sets, settings.proof

    def daily(last: datetime | None, at: time) -> bool:
        return last is None or last < latest_occurrence(at, now, late)

    def every(last: datetime | None, interval: timedelta) -> bool:
        return interval > timedelta(0) and (last is None or now - last >= interval)

    old_enough = done.full is None or now - done.full >= sets.full_every - SLACK
    begun = done.full is not None
    wanted = {
        "full": daily(done.full, sets.full_at) and old_enough and (begun or ready),
        "diff": begun and every(done.diff, sets.diff_every),
        "incr": begun and every(done.any, sets.incr_every),
        "check": begun and every(done.check, proof.check_every),
        "drill": done.any is not None and daily(done.drill, proof.drill_at),
        "verify": begun and daily(done.verify, proof.verify_at),
        "verify-remote": begun and remote and every(done.verify_remote, proof.verify_remote_every),
    }
    return [job for job, is_due in wanted.items() if is_due]


def after_absence(done: Done, entry: Entry, *, away: bool) -> Done:
    """What counts as done where a machine beyond this host did not answer. As long as it does not, the others were read at the
    last attempt; once it does, all are to be read.

    entry: of reading them. away: whether one of them still does not answer.
    """
    return replace(done, verify_remote=entry.last_attempt if away else None) if entry.unreached else done


def may_try(job: str, entry: Entry, now: datetime) -> bool:
    """After failures in a row the pause doubles, from seconds (a stack that starts) to a quarter of an hour."""
    if entry.last_attempt is None or entry.last_attempt > now:
        return True
    if entry.unreached:
        return now - entry.last_attempt >= UNREACHED_RETRY
    if entry.failures_in_row == 0:
        return True
    first, last = (HEAVY_FIRST, HEAVY_LAST) if job in HEAVY else (FIRST_RETRY, LAST_RETRY)
    return now - entry.last_attempt >= min(first * 2 ** min(entry.failures_in_row - 1, 16), last)


def next_job(due_now: list[str], journal: Mapping[str, Entry], now: datetime) -> str | None:
    """A failing job pauses and lets the next one go first."""
    return next((job for job in due_now if may_try(job, journal.get(job, Entry()), now)), None)
