from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from backup import settings
from backup.journal import Entry
from backup.schedule import Done, after_absence, due, latest_occurrence, may_try, next_job, offset, settled

SETTINGS = settings.parse((Path(__file__).parents[3] / "config/backup/backup.toml").read_text())
NOON = datetime(2026, 3, 10, 12, 0, tzinfo=UTC)
MINUTE_AGO = NOON - timedelta(minutes=1)
ALL_DONE = Done(*[MINUTE_AGO] * 7)


def with_sets(**changes: object) -> settings.Settings:
    return replace(SETTINGS, sets=replace(SETTINGS.sets, **changes))


def test_the_first_start_makes_a_full_set_and_proves_nothing_before():
    assert due(SETTINGS, Done(), NOON) == ["full"]


def test_the_first_set_waits_until_the_first_deploy_has_ended():
    started = NOON - timedelta(minutes=1)
    assert not settled(SETTINGS, started, NOON, handed_over=False)
    assert due(SETTINGS, Done(), NOON, ready=False) == []
    assert settled(SETTINGS, started, NOON, handed_over=True)
    assert settled(SETTINGS, NOON - SETTINGS.health.grace / 2, NOON, handed_over=False), "a deploy that never ends"


def test_later_sets_wait_for_nobody():
    assert "full" in due(SETTINGS, replace(ALL_DONE, full=NOON - timedelta(days=2)), NOON, ready=False)


def test_after_the_first_set_it_is_checked_drilled_and_verified():
    assert due(SETTINGS, Done(full=MINUTE_AGO, diff=MINUTE_AGO, any=MINUTE_AGO), NOON) == ["check", "drill", "verify"]


def test_nothing_is_due_when_all_is_fresh():
    assert due(SETTINGS, ALL_DONE, NOON, remote=True) == []


@pytest.mark.parametrize(
    ("field", "at", "job"),
    [("full", "02:29", "full"), ("drill", "03:59", "drill"), ("verify", "04:59", "verify")],
)
def test_a_schedule_missed_while_down_is_due_at_once(field, at, job):
    hour, minute = at.split(":")
    before = NOON.replace(hour=int(hour), minute=int(minute)) - (timedelta(days=1) if job == "full" else timedelta())
    assert due(SETTINGS, replace(ALL_DONE, **{field: before}), NOON) == [job]


def test_a_full_after_the_time_of_day_counts_for_the_day():
    assert "full" not in due(SETTINGS, replace(ALL_DONE, full=NOON.replace(hour=2, minute=31)), NOON)


def test_a_weekly_full_waits_for_its_day_and_comes_at_its_time():
    weekly = with_sets(full_every=timedelta(days=7))
    last = NOON.replace(hour=2, minute=40)
    assert "full" not in due(weekly, replace(ALL_DONE, full=last), NOON + timedelta(days=6))
    assert "full" in due(weekly, replace(ALL_DONE, full=last), NOON.replace(hour=2, minute=31) + timedelta(days=7))


def test_smaller_sets_follow_by_their_interval():
    assert due(SETTINGS, replace(ALL_DONE, any=NOON - timedelta(hours=1)), NOON) == ["incr"]
    assert due(SETTINGS, replace(ALL_DONE, diff=NOON - timedelta(hours=6)), NOON) == ["diff"]


def test_smaller_sets_can_be_turned_off():
    off = with_sets(diff_every=timedelta(0), incr_every=timedelta(0))
    long_ago = NOON - timedelta(days=1)
    assert due(off, replace(ALL_DONE, diff=long_ago, any=long_ago), NOON) == []


def test_other_repositories_are_verified_where_there_are_any():
    late = replace(ALL_DONE, verify_remote=NOON - timedelta(days=7))
    assert due(SETTINGS, late, NOON) == []
    assert due(SETTINGS, late, NOON, remote=True) == ["verify-remote"]


def test_one_that_did_not_answer_is_waited_for_and_made_up_for_as_soon_as_it_does():
    unreached = Entry(last_attempt=MINUTE_AGO, last_success=NOON - timedelta(days=8), unreached="nas does not answer")
    late = replace(ALL_DONE, verify_remote=unreached.last_success)
    waiting = after_absence(late, unreached, away=True)
    assert due(SETTINGS, waiting, NOON, remote=True) == [], "the others were read a minute ago"
    assert due(SETTINGS, waiting, NOON + timedelta(days=7), remote=True)[-1] == "verify-remote", "they are read each week"
    back = after_absence(ALL_DONE, unreached, away=False)
    assert next_job(due(SETTINGS, back, NOON, remote=True), {"verify-remote": unreached}, NOON) == "verify-remote"
    assert after_absence(ALL_DONE, Entry(last_attempt=MINUTE_AGO, failures_in_row=1), away=True) == ALL_DONE


def test_the_share_of_the_jitter_is_the_same_for_one_stack_and_within_bounds():
    shares = {offset(seed, timedelta(minutes=10)) for seed in map(str, range(200))}
    assert offset("1", timedelta(minutes=10)) == offset("1", timedelta(minutes=10))
    assert timedelta(0) <= min(shares) and max(shares) < timedelta(minutes=10) and len(shares) > 100
    assert offset("1", timedelta(0)) == timedelta(0)


def test_a_stack_that_is_late_by_its_share_is_not_due_before():
    at, late = SETTINGS.sets.full_at, timedelta(minutes=10)
    assert latest_occurrence(at, NOON.replace(hour=2, minute=39), late) == NOON.replace(hour=2, minute=40) - timedelta(days=1)
    assert latest_occurrence(at, NOON.replace(hour=2, minute=40), late) == NOON.replace(hour=2, minute=40)


def waits(job: str, failures: int, seconds: int) -> bool:
    return not may_try(job, Entry(last_attempt=NOON - timedelta(seconds=seconds), failures_in_row=failures), NOON)


def test_the_pause_after_failures_grows_to_a_quarter_of_an_hour():
    assert waits("incr", 1, 4) and not waits("incr", 1, 5)
    assert waits("incr", 3, 19) and not waits("incr", 3, 20)
    assert waits("incr", 500, 899) and not waits("incr", 500, 900)


def test_what_reads_everything_rests_for_an_hour_to_six():
    assert waits("drill", 1, 3599) and not waits("drill", 1, 3600)
    assert waits("verify", 500, 6 * 3600 - 1) and not waits("verify", 500, 6 * 3600)


def test_a_server_that_was_away_has_its_job_rest_for_a_minute_whatever_failed_before():
    unreached = Entry(last_attempt=NOON, failures_in_row=3, unreached="nas does not answer")
    assert not may_try("verify-remote", unreached, NOON + timedelta(seconds=59))
    assert may_try("verify-remote", unreached, NOON + timedelta(seconds=60))


def test_an_attempt_in_the_future_of_a_wrong_clock_holds_nothing_up():
    assert may_try("incr", Entry(last_attempt=NOON + timedelta(days=1), failures_in_row=9), NOON)


def test_a_failing_job_does_not_hold_up_the_next():
    failed = {"full": Entry(last_attempt=NOON, failures_in_row=4)}
    assert next_job(["full", "incr"], failed, NOON) == "incr"
    assert next_job(["full"], failed, NOON) is None
