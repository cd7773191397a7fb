from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from backup import catalog, journal, metrics, report, settings
from backup.journal import Entry
from backup.observe import Place, Seen
from backup.pgbackrest import Backup
from backup.state import State, faults, problems, warnings
from backup.wal import Sample
from test_catalog import drill, snapshot

SETTINGS = settings.parse((Path(__file__).parents[3] / "config/backup/backup.toml").read_text())
NOW = datetime(2026, 3, 10, 12, 0, tzinfo=UTC)
FRESH = NOW - timedelta(minutes=1)


def made(at: datetime) -> Backup:
    return Backup("F", "full", at, at, 1000, 100, at.strftime("%Y%m%dT%H%M%SZ"))


def seen(at: datetime, *missing: str, drills: tuple = (), **place: object) -> Seen:
    one = made(at)
    held = Place("local", "folder", False, FRESH, backups=(one,), snapshots=(snapshot(one, *missing),), **place)
    return Seen(
        {"local": held}, drills, catalog.sets({"local": held.backups}, {"local": held.snapshots}, drills), FRESH,
        Sample(701, "0" * 24, 0, 0.0), True,
    )  # fmt: skip


PROVED = (replace(drill(made(FRESH)), ended=FRESH),)
GOOD = State(
    started=NOW - timedelta(days=3),
    seen_at=FRESH,
    seen=seen(FRESH, drills=PROVED),
    journal={"check": Entry(last_attempt=FRESH, last_success=FRESH)},
    running=None,
)


def with_journal(job: str, entry: Entry) -> State:
    return replace(GOOD, journal={**GOOD.journal, job: entry})


def test_fresh_readable_and_proved_is_healthy():
    assert problems(GOOD, SETTINGS, NOW) == []
    assert warnings(GOOD, NOW) == []


def test_an_old_set_is_a_problem_even_if_the_job_claims_success():
    state = replace(with_journal("full", Entry(last_success=FRESH)), seen=seen(NOW - timedelta(hours=27), drills=PROVED))
    assert problems(state, SETTINGS, NOW) == ["backup: last 1 day, 3:00:00 ago"]


def test_a_receiver_that_is_away_is_a_problem_only_where_commits_wait_for_it():
    synchronous = replace(SETTINGS, receiver=settings.Receiver(synchronous=True))
    assert problems(GOOD, synchronous, NOW) == ["the receiver is away: every commit waits for it"]
    assert faults(GOOD, synchronous, NOW) == []
    assert problems(replace(GOOD, started=FRESH), synchronous, NOW) == []
    receiving = replace(GOOD, seen=replace(GOOD.seen, sample=replace(GOOD.seen.sample, receiving=True)))
    assert problems(receiving, synchronous, NOW) == []


def test_nothing_yet_is_forgiven_within_the_grace_only():
    empty = replace(GOOD, seen=Seen({"local": Place("local", "folder", False, NOW, error="no valid backups")}), journal={})
    assert problems(replace(empty, started=NOW - timedelta(minutes=9)), SETTINGS, NOW) == []
    assert problems(replace(empty, started=NOW - timedelta(minutes=11)), SETTINGS, NOW) == [
        "repository: no valid backups", "backup: last never", "check of the WAL archive: last never",
    ]  # fmt: skip


def test_a_failing_wal_check_names_its_reason():
    late = Entry(last_success=NOW - timedelta(hours=1), failures_in_row=3, last_error="no segment arrived")
    assert problems(with_journal("check", late), SETTINGS, NOW) == [
        "check of the WAL archive: last 1:00:00 ago (no segment arrived)"
    ]


def test_damage_found_by_verify_or_by_a_drill_is_a_problem_at_once():
    assert problems(with_journal("verify", Entry(failures_in_row=1, last_error="missing: 64")), SETTINGS, NOW) == [
        "verify: missing: 64"
    ]
    failed = replace(GOOD, seen=seen(FRESH, drills=(*PROVED, drill(made(FRESH), "torn page"))))
    assert problems(failed, SETTINGS, NOW) == ["drill: torn page"]


def test_damage_does_not_have_the_container_restarted_and_neither_does_lateness_while_a_job_runs():
    assert faults(with_journal("verify", Entry(failures_in_row=1, last_error="missing: 64")), SETTINGS, NOW) == []
    late = replace(GOOD, seen=seen(NOW - timedelta(hours=27), drills=PROVED))
    assert faults(late, SETTINGS, NOW) == ["backup: last 1 day, 3:00:00 ago"]
    assert faults(replace(late, running="full"), SETTINGS, NOW) == []
    assert faults(replace(late, running="full", seen_at=NOW - timedelta(minutes=6)), SETTINGS, NOW) != []


def test_a_repository_that_is_no_longer_declared_is_forgotten():
    state = with_journal("verify-remote", Entry(failures_in_row=1, last_error="gone", last_success=FRESH))
    assert problems(state, SETTINGS, NOW) == []
    assert "verify-remote" not in metrics.render(state, True, NOW)


def test_a_server_that_does_not_answer_is_no_damage():
    silent = Entry(last_attempt=FRESH, last_success=FRESH, unreached="nas does not answer")
    place = replace(GOOD.seen.places["local"], name="nas", error="nas does not answer", away=True)
    state = with_journal("verify-remote", silent)
    state = replace(state, seen=replace(state.seen, places={**state.seen.places, "nas": place}))
    assert problems(state, SETTINGS, NOW) == []
    assert "verify-remote is put off: nas does not answer" in warnings(state, NOW)
    assert 'backup_failures_in_row{job_name="verify-remote"} 0' in metrics.render(state, True, NOW)


def test_a_drill_long_ago_is_a_problem():
    old = (replace(PROVED[0], ended=NOW - timedelta(hours=27)),)
    assert problems(replace(GOOD, seen=seen(FRESH, drills=old)), SETTINGS, NOW) == ["drill: last 1 day, 3:00:00 ago"]


def test_a_success_from_the_future_does_not_count():
    ahead = replace(GOOD, journal={"check": Entry(last_success=NOW + timedelta(days=1))})
    assert problems(ahead, SETTINGS, NOW) == ["check of the WAL archive: last never"]


def test_a_stale_view_is_not_trusted():
    assert problems(replace(GOOD, seen_at=NOW - timedelta(minutes=6)), SETTINGS, NOW) == [
        "the repository was last looked at 0:06:00 ago"
    ]


def test_what_a_set_lacks_its_proof_and_the_key_are_warnings():
    state = replace(GOOD, seen=replace(seen(FRESH, "host"), escrowed=False))
    assert problems(state, SETTINGS, NOW) == []
    said = warnings(state, NOW)
    assert said[0] == "the newest set lacks host" and "not proved" in said[1] and "inv backup.key" in said[2]


def test_metrics_leave_out_what_never_happened():
    text = metrics.render(GOOD, True, NOW)
    assert f'backup_last_success_timestamp_seconds{{component="postgres",repository="local"}} {FRESH.timestamp()}' in text
    assert 'component="verify"' not in text
    for line in ("backup_healthy 1", "backup_unproved_sets 0", "backup_drill_last_passed 1", "backup_key_escrowed 1",
                 'backup_repository_up{repository="local"} 1', "backup_wal_pending_segments 0"):  # fmt: skip
        assert line in text.splitlines()


def test_a_further_repository_without_a_set_is_as_old_as_its_declaration():
    empty = replace(GOOD.seen.places["local"], name="offsite", backups=(), snapshots=())
    state = replace(GOOD, seen=replace(GOOD.seen, places={**GOOD.seen.places, "offsite": empty}, declared=FRESH))
    text = metrics.render(state, True, NOW)
    assert f'timestamp_seconds{{component="postgres",repository="offsite"}} {FRESH.timestamp()}' in text


def test_each_start_is_followed_by_a_check_of_the_archive():
    assert GOOD.done(NOW).check == FRESH
    assert replace(GOOD, started=NOW).done(NOW).check is None
    assert problems(replace(GOOD, started=NOW), SETTINGS, NOW) == []


def test_metrics_of_postgresql_are_absent_while_it_does_not_answer():
    assert "\nbackup_wal_pending_segments" not in metrics.render(replace(GOOD, seen=replace(GOOD.seen, sample=None)), True, NOW)


def test_the_report_says_what_can_be_restored():
    said = report.status(GOOD, SETTINGS, NOW)
    assert said["healthy"] and said["restorable"] == {"from": FRESH, "until": FRESH}
    (one,) = said["sets"]
    assert one["age_seconds"] == 60 and one["proved_at"] == FRESH and one["compared"] and one["complete"]


def test_a_full_disk_is_a_problem_that_no_restart_mends():
    full = replace(GOOD, seen=replace(GOOD.seen, places={"local": replace(GOOD.seen.places["local"], free_bytes=1 << 20)}))
    assert "the disk of the repository local is full" in problems(full, SETTINGS, NOW)
    assert faults(full, SETTINGS, NOW) == []


def test_the_journal_counts_failures_and_forgets_the_row_on_success(tmp_path):
    places = {"path": tmp_path / "journal.json", "aside": tmp_path / "aside.json"}
    journal.record("full", seconds=1, error="refused", **places)
    journal.record("full", seconds=1, error="refused", **places)
    assert journal.read(**places)["full"].failures_in_row == 2
    journal.record("full", seconds=2.5, error="", **places)
    entry = journal.read(**places)["full"]
    assert (entry.failures_in_row, entry.failures_total, entry.last_seconds, entry.last_error) == (0, 2, 2.5, "")


def test_damage_that_was_found_stays_told_while_nobody_answers(tmp_path):
    places = {"path": tmp_path / "journal.json", "aside": tmp_path / "aside.json"}
    journal.record("verify-remote", seconds=1, error="missing: 64", **places)
    journal.record("verify-remote", seconds=1, unreached="nas does not answer", **places)
    entry = journal.read(**places)["verify-remote"]
    assert (entry.failures_in_row, entry.last_error, entry.unreached) == (1, "missing: 64", "nas does not answer")
    journal.record("verify-remote", seconds=1, **places)
    entry = journal.read(**places)["verify-remote"]
    assert (entry.failures_in_row, entry.last_error, entry.unreached) == (0, "", "")


def test_the_journal_of_a_full_disk_is_kept_in_memory_until_there_is_room(tmp_path):
    places = {"path": tmp_path / "disk" / "journal.json", "aside": tmp_path / "aside.json"}
    places["path"].parent.mkdir()
    journal.record("full", seconds=1, error="", **places)
    places["path"].with_suffix(".new").mkdir()  # it cannot be written
    journal.record("full", seconds=1, error="No space left on device", **places)
    journal.record("full", seconds=1, error="No space left on device", **places)
    assert journal.read(**places)["full"].failures_in_row == 2
    places["path"].with_suffix(".new").rmdir()
    journal.record("full", seconds=1, error="", **places)
    assert journal.read(**places)["full"].failures_in_row == 0
    assert not places["aside"].exists()


@pytest.mark.parametrize("torn", ['{"full": {"last', "[]", '{"full": 3}'])
def test_a_torn_journal_starts_anew(tmp_path, torn):
    (tmp_path / "journal.json").write_text(torn)
    assert journal.read(tmp_path / "journal.json") == {}
