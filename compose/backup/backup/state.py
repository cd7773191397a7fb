"""What is known now, and what is wrong with it."""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta

from .journal import Entry
from .repository import Repository
from .schedule import Done
from .settings import Settings

# The repository is looked at once a minute; a view much older than that is no knowledge.
STALE_VIEW = timedelta(minutes=5)


@dataclass(frozen=True)
class State:
    started: datetime
    seen: datetime
    repository: Repository
    journal: Mapping[str, Entry]
    running: str | None

    def last_success(self, job: str) -> datetime | None:
        return self.journal.get(job, Entry()).last_success

    @property
    def done(self) -> Done:
        return Done(
            full=self.repository.last_full,
            any_backup=self.repository.last_backup,
            redis=self.repository.last_redis,
            check=self.last_success("check"),
            verify=self.last_success("verify"),
        )


def problems(state: State, settings: Settings, now: datetime) -> list[str]:
    """Empty when healthy. What has never happened yet is forgiven for a while after the start."""
    health = settings.health
    in_grace = now - state.started < health.grace
    found = []
    if now - state.seen > STALE_VIEW:
        found.append(f"the repository was last looked at {_ago(state.seen, now)}")
    if state.repository.error and not in_grace:
        found.append(f"repository: {state.repository.error}")

    def fresh(what: str, last: datetime | None, limit: timedelta, job: str) -> None:
        if last is not None and now - last <= limit:
            return
        # A start after a long absence gets the same time to catch up as a first start.
        if in_grace and not state.journal.get(job, Entry()).failures_in_row:
            return
        if last is None and in_grace:
            return
        reason = state.journal.get(job, Entry()).last_error
        found.append(f"{what}: last {_ago(last, now)}" + (f" ({reason})" if reason else ""))

    fresh("backup of PostgreSQL", state.done.any_backup, health.max_backup_age, "full")
    fresh("copy of Redis", state.done.redis, health.max_backup_age, "redis")
    fresh("check of the WAL archive", state.done.check, health.max_check_age, "check")
    verify = state.journal.get("verify", Entry())
    if verify.failures_in_row:
        found.append(f"verify: {verify.last_error}")
    return found


def _ago(moment: datetime | None, now: datetime) -> str:
    return "never" if moment is None else f"{str(now - moment).split('.')[0]} ago"
