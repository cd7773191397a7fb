from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path

from backup import metrics, settings
from backup.journal import Entry
from backup.repository import Backup, Repository
from backup.state import State, problems

SETTINGS = settings.parse((Path(__file__).parents[3] / "config/backup/backup.toml").read_text())
NOW = datetime(2026, 3, 10, 12, 0, tzinfo=UTC)
FRESH = NOW - timedelta(minutes=1)
FULL = Backup("20260310-115900F", "full", FRESH, 1000, 100)
GOOD = State(
    started=NOW - timedelta(days=3),
    seen=FRESH,
    repository=Repository(backups=(FULL,), redis_copies=(FRESH,)),
    journal={"check": Entry(last_attempt=FRESH, last_success=FRESH)},
    running=None,
)


def with_journal(job: str, entry: Entry) -> State:
    return replace(GOOD, journal={**GOOD.journal, job: entry})


def test_fresh_and_readable_is_healthy():
    assert problems(GOOD, SETTINGS, NOW) == []


def test_an_old_backup_is_a_problem_even_if_the_job_claims_success():
    old = replace(GOOD.repository, backups=(replace(FULL, stop=NOW - timedelta(hours=27)),))
    state = replace(with_journal("full", Entry(last_success=FRESH)), repository=old)
    assert problems(state, SETTINGS, NOW) == ["backup of PostgreSQL: last 1 day, 3:00:00 ago"]


def test_nothing_yet_is_forgiven_within_the_grace_only():
    empty = replace(GOOD, repository=Repository(error="no valid backups"), journal={})
    assert problems(replace(empty, started=NOW - timedelta(minutes=9)), SETTINGS, NOW) == []
    assert len(problems(replace(empty, started=NOW - timedelta(minutes=11)), SETTINGS, NOW)) == 4


def test_a_failing_wal_check_names_its_reason():
    late = Entry(last_success=NOW - timedelta(hours=1), failures_in_row=3, last_error="no segment arrived")
    assert problems(with_journal("check", late), SETTINGS, NOW) == [
        "check of the WAL archive: last 1:00:00 ago (no segment arrived)"
    ]


def test_damage_found_by_verify_is_a_problem_at_once():
    assert problems(with_journal("verify", Entry(failures_in_row=1, last_error="missing: 64")), SETTINGS, NOW) == [
        "verify: missing: 64"
    ]


def test_a_stale_view_is_not_trusted():
    assert problems(replace(GOOD, seen=NOW - timedelta(minutes=6)), SETTINGS, NOW) == [
        "the repository was last looked at 0:06:00 ago"
    ]


def test_metrics_leave_out_what_never_happened():
    text = metrics.render(GOOD, healthy=True)
    assert f'backup_last_success_timestamp_seconds{{component="postgres"}} {FRESH.timestamp()}' in text
    assert 'component="verify"' not in text
    assert "backup_healthy 1" in text
