from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path

from backup import settings
from backup.journal import Entry
from backup.schedule import Done, due, may_try, next_job

SETTINGS = settings.parse((Path(__file__).parents[3] / "config/backup/backup.toml").read_text())
NOON = datetime(2026, 3, 10, 12, 0, tzinfo=UTC)
MINUTE_AGO = NOON - timedelta(minutes=1)
ALL_DONE = Done(full=MINUTE_AGO, any_backup=MINUTE_AGO, redis=MINUTE_AGO, check=MINUTE_AGO, verify=MINUTE_AGO)
NOTHING = Done(full=None, any_backup=None, redis=None, check=None, verify=None)


def test_the_first_start_takes_a_full_backup_before_anything_else():
    assert due(SETTINGS, NOTHING, NOON) == ["full", "redis"]


def test_nothing_is_due_when_all_is_fresh():
    assert due(SETTINGS, ALL_DONE, NOON) == []


def test_a_schedule_missed_while_down_is_due_at_once():
    before_half_past_two = NOON.replace(hour=2, minute=29)
    assert due(SETTINGS, replace(ALL_DONE, full=before_half_past_two), NOON) == ["full"]


def test_a_full_after_the_time_of_day_counts_for_the_day():
    assert "full" not in due(SETTINGS, replace(ALL_DONE, full=NOON.replace(hour=2, minute=31)), NOON)


def test_a_differential_follows_any_backup_by_its_interval():
    assert due(SETTINGS, replace(ALL_DONE, any_backup=NOON - timedelta(hours=6)), NOON) == ["diff"]


def test_differentials_can_be_turned_off():
    off = replace(SETTINGS, postgres=replace(SETTINGS.postgres, diff_every=timedelta(0)))
    assert due(off, replace(ALL_DONE, any_backup=NOON - timedelta(days=1)), NOON) == []


def test_the_pause_after_failures_grows_to_a_quarter_of_an_hour():
    def waits(failures: int, seconds: int) -> bool:
        return not may_try(Entry(last_attempt=NOON - timedelta(seconds=seconds), failures_in_row=failures), NOON)

    assert waits(1, 4) and not waits(1, 5)
    assert waits(3, 19) and not waits(3, 20)
    assert waits(500, 899) and not waits(500, 900)


def test_a_failing_job_does_not_hold_up_the_next():
    failed = {"full": Entry(last_attempt=NOON, failures_in_row=4)}
    assert next_job(SETTINGS, NOTHING, failed, NOON) == "redis"
