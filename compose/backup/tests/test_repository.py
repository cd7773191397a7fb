import json
import stat
from datetime import UTC, datetime

import pytest
from backup import jobs, journal, redis_copy, repository

INFO = [
    {
        "name": "main",
        "status": {"code": 0, "message": "ok"},
        "archive": [{"id": "15-1", "min": "000000010000000000000001", "max": "000000010000000000000007"}],
        "backup": [
            {
                "label": "20260310-023000F",
                "type": "full",
                "error": False,
                "timestamp": {"start": 1773109800, "stop": 1773109860},
                "info": {"size": 4000, "repository": {"size": 900, "delta": 800}},
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
    seen = repository.parse_info(json.dumps(INFO))
    assert [backup.label for backup in seen.backups] == ["20260310-023000F"]
    assert seen.last_full == datetime.fromtimestamp(1773109860, UTC)
    assert seen.wal_max.endswith("7") and not seen.error


def test_no_stanza_and_a_bad_status_are_errors():
    assert "does not exist" in repository.parse_info("[]").error
    broken = [{**INFO[0], "status": {"code": 2, "message": "no valid backups"}, "backup": []}]
    assert repository.parse_info(json.dumps(broken)).error == "no valid backups"


def test_a_clean_verify_has_no_faults():
    two_timelines = VALID.format(wal(1), wal(7)) + VALID.format(wal(8, 2), wal(9, 2))
    assert jobs.verify_faults(two_timelines + "P00 INFO: verify command end: completed successfully") == []


def test_missing_files_are_faults_although_the_exit_code_is_0():
    report = "status: error\n backup: 20260310-023000F, status: invalid, total files checked: 9\n missing: 64\n"
    assert jobs.verify_faults(report) == ["missing: 64", "backup: 20260310-023000F, status: invalid"]


def test_a_gap_in_the_wal_is_a_fault():
    assert jobs.verify_faults(VALID.format(wal(1), wal(2)) + VALID.format(wal(4), wal(7))) == [
        f"WAL is missing between {wal(2)} and {wal(4)}"
    ]


def test_the_journal_counts_failures_and_forgets_the_row_on_success(tmp_path):
    path = tmp_path / "journal.json"
    journal.record("full", seconds=1, error="refused", path=path)
    journal.record("full", seconds=1, error="refused", path=path)
    assert journal.read(path)["full"].failures_in_row == 2
    journal.record("full", seconds=2.5, error="", path=path)
    entry = journal.read(path)["full"]
    assert (entry.failures_in_row, entry.failures_total, entry.last_seconds, entry.last_error) == (0, 2, 2.5, "")


def test_a_torn_journal_starts_anew(tmp_path):
    (tmp_path / "journal.json").write_text('{"full": {"last')
    assert journal.read(tmp_path / "journal.json") == {}


@pytest.fixture
def tools(tmp_path, monkeypatch):
    """Real processes in place of redis-cli, openssl and redis-check-rdb, so that pipes and exit codes are the subject."""

    def install(name: str, script: str) -> list[str]:
        path = tmp_path / name
        path.write_text(f"#!/bin/sh\n{script}\n")
        path.chmod(path.stat().st_mode | stat.S_IXUSR)
        return [str(path)]

    root = tmp_path / "copies"
    root.mkdir()
    secret = tmp_path / "password"
    secret.write_text("secret\n")
    monkeypatch.setattr(redis_copy, "SECRET", secret)
    monkeypatch.setattr(redis_copy, "FETCH", install("fetch", "printf data"))
    monkeypatch.setattr(redis_copy, "CIPHER", install("cipher", "cat"))
    monkeypatch.setattr(redis_copy, "CHECK", install("check", "cat >/dev/null"))
    return root, install


def test_redis_copies_are_kept_to_the_number_wanted(tools):
    root, _ = tools
    for day in range(1, 4):
        (root / f"2026030{day}T031500Z.rdb.enc").write_text("old")
    redis_copy.take(keep=2, root=root)
    kept = redis_copy.copies(root)
    assert len(kept) == 2 and kept[0].path.name.startswith("20260303")
    assert kept[1].path.read_text() == "data" and kept[1].path.with_suffix(".sha256").exists()


def test_a_copy_that_cannot_be_read_back_does_not_count(tools, monkeypatch):
    root, install = tools
    monkeypatch.setattr(redis_copy, "CHECK", install("check", "cat >/dev/null; echo bad checksum; exit 1"))
    with pytest.raises(redis_copy.CopyError, match="bad checksum"):
        redis_copy.take(keep=2, root=root)
    assert redis_copy.copies(root) == []
