"""What pgBackRest, restic and redis-check-rdb say, and what it means."""

import json
from datetime import UTC, datetime

import pytest
from backup import lists, pgbackrest, redis_copy, restic, scratch_postgres, scratch_redis
from backup.errors import CommandError, JobError

INFO = [
    {
        "name": "main",
        "status": {"code": 0, "message": "ok", "lock": {"backup": {"held": True, "size": 4000, "size-cplt": 1000}}},
        "archive": [{"id": "15-1", "min": "000000010000000000000001", "max": "000000010000000000000007"}],
        "backup": [
            {
                "label": "20260310-023000F",
                "type": "full",
                "error": False,
                "annotation": {"set": "20260310T023000Z"},
                "timestamp": {"start": 1773109800, "stop": 1773109860},
                "info": {"size": 4000, "repository": {"size": None, "delta": 800}},
            },
            {
                "label": "20260310-023000F_20260310-083000D",
                "type": "diff",
                "error": True,
                "timestamp": {"start": 1773131400, "stop": 1773131410},
                "info": {"size": 4000, "repository": {"size": 900, "delta": 10}},
            },
        ],
    }
]
VALID = "P00 DETAIL: archiveId: 15-1, wal start: {}, wal stop: {}\n"


def wal(number: int, timeline: int = 1) -> str:
    return f"{timeline:08X}{0:08X}{number:08X}"


def test_a_backup_with_page_errors_does_not_count():
    seen = pgbackrest.parse_info(json.dumps(INFO))
    assert [(backup.label, backup.set) for backup in seen.backups] == [("20260310-023000F", "20260310T023000Z")]
    assert seen.backups[0].stop == datetime.fromtimestamp(1773109860, UTC)
    assert seen.wal_max.endswith("7") and not seen.error and not seen.stanza_missing


def test_no_stanza_and_a_bad_status_are_errors():
    assert "does not exist" in pgbackrest.parse_info("[]").error
    assert pgbackrest.parse_info("[]").stanza_missing
    broken = [{**INFO[0], "status": {"code": 2, "message": "no valid backups"}, "backup": []}]
    assert pgbackrest.parse_info(json.dumps(broken)).error == "no valid backups"


def test_what_pgbackrest_says_of_a_file_under_another_key_is_understood_whatever_it_quotes():
    said = [{**INFO[0], "status": {"code": 99, "message": "invalid start 'x'"}, "repo": []}]
    assert pgbackrest.parse_info(json.dumps(said).replace("'x'", "'\x01\x1b\n'")).code == 99


def test_a_repository_that_cannot_be_asked_says_why():
    said = [{**INFO[0], "status": {"code": 99, "message": "other"}, "backup": [],
             "repo": [{"status": {"code": 99, "message": "[HostConnectError] unable to get address\nRETRY"}}]}]  # fmt: skip
    seen = pgbackrest.parse_info(json.dumps(said))
    assert seen.error == "[HostConnectError] unable to get address" and not seen.stanza_missing


def test_how_far_a_backup_is():
    assert pgbackrest.how_far(json.dumps(INFO)) == (1000, 4000)
    assert pgbackrest.how_far(json.dumps([{**INFO[0], "status": {"code": 0, "message": "ok"}}])) is None


def test_a_clean_verify_has_no_faults():
    two_timelines = VALID.format(wal(1), wal(7)) + VALID.format(wal(8, 2), wal(9, 2))
    assert pgbackrest.verify_faults(two_timelines + "P00 INFO: verify command end: completed successfully") == []


def test_missing_files_are_faults_although_the_exit_code_is_0():
    report = "status: error\n backup: 20260310-023000F, status: invalid, total files checked: 9\n missing: 64\n"
    assert pgbackrest.verify_faults(report) == ["missing: 64", "backup: 20260310-023000F, status: invalid"]


def test_a_backup_upon_one_from_the_future_is_from_the_future():
    said = "new backup label '20261127-185421F' is not later than latest backup label '20261129-190553F_20261127-190557I'"
    told = pgbackrest.told(CommandError(said))
    assert "a backup of 2026-11-29 19:05:53 UTC, which is ahead of the clock" in str(told)
    assert pgbackrest.told(other := CommandError("refused")) is other


def test_half_a_backup_is_one_that_is_not_known():
    there = [
        "20260310-023000F",
        "20260310-023000F_20260310-090000I",
        "20260311-023000F",
        "backup.history",
        "backup.info",
        "latest",
    ]
    assert pgbackrest.halves(there, ["20260310-023000F", "20260310-023000F_20260310-090000I"]) == ["20260311-023000F"]


def test_a_gap_is_named_across_a_log():
    assert pgbackrest.gap("0000000200000001000000FE", "000000020000000200000001") == (
        "0000000200000001000000FF to 000000020000000200000000"
    )


def test_a_gap_in_the_wal_is_a_fault():
    assert pgbackrest.verify_faults(VALID.format(wal(1), wal(2)) + VALID.format(wal(4), wal(7))) == [
        f"WAL is missing: {wal(3)}"
    ]


def test_snapshots_are_sets_by_their_tags():
    said = [
        {"id": "b" * 64, "tags": ["set=20260310T023000Z", "kind=full", "missing=host", "missing=redis"],
         "summary": {"total_bytes_processed": 700, "data_added_packed": 300}},
        {"id": "a" * 64, "tags": None},
        {"id": "c" * 64, "tags": ["set=20260309T023000Z", "kind=full"]},
    ]  # fmt: skip
    old, new = restic.parse_snapshots(json.dumps(said))
    assert (old.set, new.set, new.kind, new.missing) == ("20260309T023000Z", "20260310T023000Z", "full", ("host", "redis"))
    assert (new.total_bytes, new.added_bytes) == (700, 300)
    assert new.made_at == datetime(2026, 3, 10, 2, 30, tzinfo=UTC)
    assert restic.parse_snapshots("null") == []


def test_damage_that_restic_finds_is_named():
    said = '{"message_type":"error","error":{"message":"Pack ID does not match, want 41f3a, got 9c2"}}\nplain words\n'
    assert restic.check_faults(said) == ["Pack ID does not match, want 41f3a, got 9c2", "plain words"]


def test_the_advice_of_restic_is_left_out():
    said = '{"message_type":"error","message":"pack 4e9c contains 2 errors"}\n'
    said += '{"message_type":"error","message":"The repository contains damaged pack files. These must be removed"}\n'
    said += '{"message_type":"exit_error","code":1,"message":"Fatal: repository contains errors"}\n'
    assert restic.check_faults(said) == ["pack 4e9c contains 2 errors"]


def test_a_report_that_is_printed_twice_is_told_once_and_without_its_time():
    report = "2026-11-25 01:36:48.386 P01   INFO: invalid checksum '20261125-013136F/bundle/1'\n"
    report += "2026-11-25 01:36:48.675 P00   INFO: stanza: main\n  checksum invalid: 1\n  checksum invalid: 1\n"
    assert pgbackrest.verify_faults(report) == ["invalid checksum '20261125-013136F/bundle/1'", "checksum invalid: 1"]


LIST = """[backrest]
backrest-format=5
backrest-version="2.55.1"

[db]
db-id=1

[backrest]
backrest-checksum="1dbec0e5f771835d9b8c507ca23ae9666113b136"
"""


def test_a_list_is_compared_with_its_checksum():
    assert lists.sound(LIST)
    assert not lists.sound("")
    assert not lists.sound(LIST.replace("db-id=1", "db-id=2"))
    assert not lists.sound(LIST[:-30])
    for place in range(0, len(LIST), 7):
        assert not lists.sound(LIST[:place] + "\ufffd" + LIST[place + 1 :])


def test_lists_have_a_second_copy_that_is_looked_at():
    assert lists.paths(["20260310-023000F"])[-1] == "backup/main/20260310-023000F/backup.manifest"


def test_keys_are_counted_from_the_report():
    assert redis_copy.parse_check("[info] 5 keys read\n[info] 2 expires\n[info] 0 already expired\n") == {
        "keys": 5,
        "expires": 2,
    }
    with pytest.raises(JobError, match="short read"):
        redis_copy.parse_check("[offset 9] short read")


def test_keys_that_end_by_themselves_may_be_gone():
    expected = {"keys": 5, "expires": 2}
    for keys in (3, 4, 5):
        scratch_redis.must_fit(keys, expected)
    for keys in (2, 6):
        with pytest.raises(JobError, match="not 3 to 5"):
            scratch_redis.must_fit(keys, expected)


def test_a_restored_cluster_gets_what_recovery_insists_on_and_never_archives():
    text = scratch_postgres.configuration(
        "max_connections setting:              106\nmax_worker_processes setting:         8\n"
    )
    assert "max_connections = 106\n" in text and "max_worker_processes = 8\n" in text
    assert "archive_mode = off\n" in text and "listen_addresses = ''\n" in text
    assert "max_wal_senders" not in text


def test_the_reason_is_found_in_the_log_of_postgresql():
    log = "LOG: starting\nFATAL: could not locate required checkpoint record\nLOG: shut down\n"
    assert scratch_postgres.last_words(log) == "FATAL: could not locate required checkpoint record"
