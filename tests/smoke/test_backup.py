"""There is a backup to go back to, it is fresh, and it has been read."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any

from tests.smoke.live import Live, eventually


def status(live: Live) -> dict[str, Any]:
    report: dict[str, Any] = live.inside("backup", 9101, "/status").json()
    return report


def age(moment: str) -> timedelta:
    return datetime.now(UTC) - datetime.fromisoformat(moment)


def test_first_backups_are_made_soon_after_the_first_start(live: Live) -> None:
    def missing() -> str:
        report = status(live)
        absent = [what for what, when in report["last_success"].items() if when is None]
        return "; ".join(report["problems"]) or (f"there has been no {', '.join(absent)} yet" if absent else "")

    eventually(missing, 60)
    assert live.inside("backup", 9101, "/health").json() == {"healthy": True, "problems": []}


def test_backups_are_fresh_and_checked(live: Live) -> None:
    report = status(live)
    done = report["last_success"]

    assert age(report["seen"]) < timedelta(minutes=5)
    assert age(done["any_backup"]) < timedelta(hours=26)
    assert age(done["redis"]) < timedelta(hours=26)
    assert age(done["check"]) < timedelta(hours=2)
    assert [job for job, entry in report["jobs"].items() if entry["failures_in_row"]] == []


def test_repository_can_be_read_and_holds_what_a_restore_needs(live: Live) -> None:
    repository = status(live)["repository"]

    assert repository["error"] == ""
    assert any(backup["kind"] == "full" for backup in repository["backups"])
    assert repository["wal_min"] < repository["wal_max"]
    assert repository["redis_copies"]


def test_repository_is_encrypted(live: Live) -> None:
    said = live.exec("backup", "pgbackrest", "--stanza=main", "info").stdout

    assert "status: ok" in said
    assert "cipher: aes-256-cbc" in said


def test_neighbours_may_look_and_nothing_else(live: Live) -> None:
    assert live.inside("backup", 9101, "/run").status_code == 404


def test_is_measured(live: Live) -> None:
    live.measures("backup_healthy")
    live.measures('time() - backup_last_success_timestamp_seconds{component="postgres"} < bool 26 * 3600')
