"""There is a backup to go back to: fresh, complete as far as the host has done its part, read, and proved by a restore."""

from __future__ import annotations

import json
from datetime import UTC, datetime, timedelta
from typing import Any

from tests.smoke.live import Live, eventually

FIRST_SECONDS = 300
"""From the start of a new stack until its first set is made and proved."""


def status(live: Live) -> dict[str, Any]:
    report: dict[str, Any] = live.inside("backup", 9101, "/status").json()
    return report


def age(moment: str) -> timedelta:
    return datetime.now(UTC) - datetime.fromisoformat(moment)


def test_first_set_is_made_and_proved_soon_after_the_first_start(live: Live) -> None:
    def missing() -> str:
        report = status(live)
        absent = [what for what, when in report["last_success"].items() if when is None and what != "verify_remote"]
        return "; ".join(report["problems"]) or (f"there has been no {', '.join(absent)} yet" if absent else "")

    eventually(missing, FIRST_SECONDS)
    assert live.inside("backup", 9101, "/health").json() == {"healthy": True, "problems": []}


def test_sets_are_fresh_checked_and_proved(live: Live) -> None:
    report = status(live)
    done = report["last_success"]

    assert age(report["seen"]) < timedelta(minutes=5)
    assert age(done["any"]) < timedelta(hours=26)
    assert age(done["check"]) < timedelta(hours=2)
    assert age(done["drill"]) < timedelta(hours=26)
    assert [job for job, entry in report["jobs"].items() if entry["failures_in_row"]] == []


def test_newest_set_holds_everything_the_containers_have(live: Live) -> None:
    newest = status(live)["sets"][0]

    # The host's part is there once a command of the host has written it.
    assert set(newest["missing"]) <= {"host"}
    assert newest["repositories"]["local"]["label"]
    assert newest["repositories"]["local"]["snapshot"]


def test_last_drill_compared_every_table_and_measured_what_would_be_lost(live: Live) -> None:
    drill = status(live)["last_drill"]

    assert drill["passed"], drill["error"]
    assert drill["restored"]["databases"] >= 4
    assert drill["restored"]["tables"] > 50
    assert drill["data_loss"] is None or drill["data_loss"] < 300


def test_repository_can_be_read_and_any_moment_restored(live: Live) -> None:
    report = status(live)
    local = next(place for place in report["repositories"] if place["name"] == "local")

    assert local["error"] == ""
    assert local["wal_min"] < local["wal_max"]
    assert local["free_bytes"] > 0
    assert report["restorable"]["from"] < report["restorable"]["until"]


def test_repositories_are_encrypted(live: Live) -> None:
    said = live.exec("backup", "pgbackrest", "--stanza=main", "info").stdout

    assert "status: ok" in said
    assert "cipher: aes-256-cbc" in said
    config = json.loads(
        live.exec(
            "backup", "restic", "--repo", "/var/lib/pgbackrest/files", "--password-file", "/run/secrets/backup-cipher",
            "--no-cache", "--no-lock", "cat", "config",
        ).stdout
    )  # fmt: skip
    assert config["version"] == 2


def test_its_page_tells_and_takes_no_orders(live: Live) -> None:
    assert live.inside("backup", 9101, "/run").status_code == 404


def test_data_of_other_services_cannot_be_written(live: Live) -> None:
    for folder in ("cc03-data/prometheus", "cc03-data/logs", "cc03-data/alertmanager", "cc03-host"):
        said = live.exec("backup", "bash", "-c", f"touch /var/lib/{folder}/x 2>&1; true").stdout
        assert "Read-only file system" in said


def test_is_measured(live: Live) -> None:
    live.measures("backup_healthy")
    live.measures('time() - backup_last_success_timestamp_seconds{component="postgres",repository="local"} < bool 26 * 3600')
    live.measures("backup_drill_last_passed")
    live.measures("backup_wal_pending_segments >= bool 0")
