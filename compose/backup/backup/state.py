"""What is known now, and what is wrong with it."""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta

from . import catalog
from .journal import Entry
from .observe import Seen
from .repositories import LOCAL
from .schedule import Done
from .settings import Settings

# The repository is looked at once a minute; a view much older than that is no knowledge.
STALE_VIEW = timedelta(minutes=5)
MARGIN = timedelta(minutes=5)
"""A success from further in the future than this was noted while the clock was wrong: it counts for nothing."""


@dataclass(frozen=True)
class State:
    started: datetime
    seen_at: datetime
    seen: Seen
    journal: Mapping[str, Entry]
    running: str | None

    @property
    def entries(self) -> dict[str, Entry]:
        """The journal, without what was noted of further repositories that are no longer declared."""
        further = self.seen.places.keys() - {LOCAL}
        return {job: entry for job, entry in self.journal.items() if further or job != "verify-remote"}

    def last_success(self, job: str, now: datetime) -> datetime | None:
        moment = self.entries.get(job, Entry()).last_success
        return moment if moment and moment <= now + MARGIN else None

    def last_drill(self, now: datetime) -> datetime | None:
        return max((one.ended for one in self.seen.drills if one.passed and one.ended <= now + MARGIN), default=None)

    def _checked_since_start(self, now: datetime) -> datetime | None:
        """Each start is followed by a check: repositories may have come or gone, and WAL waits until they are known."""
        moment = self.last_success("check", now)
        return moment if moment and moment >= self.started else None

    def done(self, now: datetime) -> Done:
        """A set is made when its files are in as well: one that was killed half way is made again."""
        whole = [one for one in self.seen.sets if one.within(LOCAL)]
        return Done(
            full=catalog.last(whole, now, LOCAL, "postgres", ("full",)),
            diff=catalog.last(whole, now, LOCAL, "postgres", ("full", "diff")),
            any=catalog.last(whole, now, LOCAL, "postgres"),
            check=self._checked_since_start(now),
            verify=self.last_success("verify", now),
            verify_remote=self.last_success("verify-remote", now),
            drill=self.last_drill(now),
        )


def problems(state: State, settings: Settings, now: datetime) -> list[str]:
    """What is wrong, empty when all is well: with the service, and with what it has made."""
    checked = state.last_success("check", now)
    wal = _late(state, settings, now, "check of the WAL archive", checked, settings.health.max_check_age, ("check",))
    received = _receiver(state, settings, now)
    room = [f"the disk of the repository {one.name} is full" for one in state.seen.places.values() if one.full]
    return [
        *room, *_view(state, settings, now), *received, *_sets(state, settings, now), *wal, *_proofs(state, settings, now),
    ]  # fmt: skip


def faults(state: State, settings: Settings, now: datetime) -> list[str]:
    """The part of it that turns /health red, upon which this container is restarted: what a restart may mend.

    Damage is not, nor a full disk, nor WAL that one of the repositories does not take, nor a late set while a job runs: killing
    it would make it later.
    """
    return [*_view(state, settings, now), *([] if state.running else _sets(state, settings, now))]


def _view(state: State, settings: Settings, now: datetime) -> list[str]:
    found = []
    if now - state.seen_at > STALE_VIEW:
        found.append(f"the repository was last looked at {_ago(state.seen_at, now)}")
    place = state.seen.places.get(LOCAL)
    if place and place.error and not _in_grace(state, settings, now):
        found.append(f"repository: {place.error}")
    return found


def _receiver(state: State, settings: Settings, now: datetime) -> list[str]:
    sample = state.seen.sample
    if not settings.receiver.synchronous or sample is None or sample.receiving or _in_grace(state, settings, now):
        return []
    return ["the receiver is away: every commit waits for it"]


def _in_grace(state: State, settings: Settings, now: datetime) -> bool:
    return now - state.started < settings.health.grace


def _sets(state: State, settings: Settings, now: datetime) -> list[str]:
    last, limit = state.done(now).any, settings.health.max_backup_age
    return _late(state, settings, now, "backup", last, limit, ("full", "diff", "incr"))


def _late(
    state: State, settings: Settings, now: datetime, what: str, last: datetime | None, limit: timedelta, jobs: tuple[str, ...]
) -> list[str]:  # fmt: skip
    """What has never happened yet is forgiven for a while after the start."""
    if last is not None and now - last <= limit:
        return []
    entries = [state.journal.get(job, Entry()) for job in jobs]
    # A start after a long absence gets the same time to catch up as a first start.
    if _in_grace(state, settings, now) and (last is None or not any(entry.failures_in_row for entry in entries)):
        return []
    reason = next((entry.last_error for entry in entries if entry.last_error), "")
    return [f"{what}: last {_ago(last, now)}" + (f" ({reason})" if reason else "")]


def _proofs(state: State, settings: Settings, now: datetime) -> list[str]:
    found = []
    for job in ("verify", "verify-remote"):
        entry = state.entries.get(job, Entry())
        if entry.failures_in_row:
            found.append(f"{job}: {entry.last_error}")
    last = state.last_drill(now)
    if state.seen.drills and not state.seen.drills[-1].passed:
        found.append(f"drill: {state.seen.drills[-1].error}")
    elif last is not None:
        found += _late(state, settings, now, "drill", last, settings.health.max_drill_age, ("drill",))
    return found


def warnings(state: State, now: datetime) -> list[str]:
    """What a person should know; the service itself is not at fault."""
    found = [
        f"repository {place.name}: {place.error}" for place in state.seen.places.values() if place.error and place.name != LOCAL
    ]
    found += [f"{job} is put off: {entry.unreached}" for job, entry in state.entries.items() if entry.unreached]
    found += [f"set {name} is from the future: was the clock wrong?" for name in catalog.from_future(state.seen.sets, now)]
    if state.seen.sets:
        newest = state.seen.sets[0]
        if newest.missing:
            found.append(f"the newest set lacks {', '.join(newest.missing)}")
        if not newest.proved_at:
            found.append("the newest set is not proved yet")
    if not state.seen.escrowed:
        found.append("the keys of the backups were never exported: losing this host loses every backup (inv backup.key)")
    return found


def _ago(moment: datetime | None, now: datetime) -> str:
    return "never" if moment is None else f"{str(now - moment).split('.')[0]} ago"
