"""What the backup container is told and says, which set is meant, and the key on paper."""

from __future__ import annotations

import json
import tomllib
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from ops.backup.sets import (
    ELSE,
    Safety,
    Status,
    advice,
    choose,
    expendable,
    newest_first,
    newest_with,
    place_of,
    places,
    progress_of_job,
    read_status,
    rows,
)
from ops.core.amounts import age, size
from ops.core.errors import HostLacks, OpsError, UsageProblem
from ops.core.plan import STAMP
from ops.secrets import backup_keys as keys
from ops.stack import applied_settings
from tests.unit.builders import REPOSITORY, settings, stack

NOW = datetime(2026, 11, 25, 12, 0, tzinfo=UTC)
SHIPPED = (REPOSITORY / "config" / "backup" / "backup.toml").read_text()
PGBACKREST = (REPOSITORY / "config" / "postgres" / "pgbackrest.conf").read_text()
TWO = "backup: {repositories: [{name: disk2, path: /mnt/disk2}, {name: safe, path: /mnt/safe, keep: 30, append_only: true}]}"
KEY = "abcdefghijklmnopqrstuvwxyz0123456789-_ABCDE"


def entry(name: str, made: datetime, **more: Any) -> dict[str, Any]:
    return {
        "set": name, "kind": "full", "made_at": made.isoformat(), "bytes": 5_000_000, "added_bytes": 900_000, "missing": [],
        "repositories": {"local": {"label": f"{name}F", "snapshot": "abc"}}, "proved_at": None, "drill_error": "", **more,
    }  # fmt: skip


def report(*sets: dict[str, Any], **more: Any) -> dict[str, Any]:
    span = {"from": "2026-11-24T02:30:00+00:00", "until": "2026-11-25T11:59:00+00:00"}
    return {"version": 1, "sets": list(sets), "restorable": span, "problems": [], "key_escrowed": True, **more}


def three() -> Status:
    return read_status(report(
        entry("C", NOW - timedelta(hours=1), missing=["redis"], drill_error="torn"),
        entry("B", NOW - timedelta(hours=7), proved_at=(NOW - timedelta(hours=6)).isoformat(), kind="diff"),
        entry("A", NOW - timedelta(days=3), repositories={"disk2": {"label": "x", "snapshot": "y"}}),
        repositories=[{"name": "local", "kind": "folder"}, {"name": "disk2", "kind": "folder"}, {"name": "far", "kind": "s3"}],
    ))  # fmt: skip


def test_default_schedule_is_the_one_of_the_shipped_file() -> None:
    assert applied_settings.backup_toml(SHIPPED, settings()) == SHIPPED


def test_settings_take_the_place_of_the_schedule() -> None:
    found = tomllib.loads(applied_settings.backup_toml(SHIPPED, settings("backup: {full_at: 10:30, incr_every: 15m, keep: 3}")))

    assert (found["sets"]["full_at"], found["sets"]["incr_every"], found["sets"]["keep"]) == ("10:30", "15m", 3)
    assert found["proof"] == tomllib.loads(SHIPPED)["proof"]


def test_the_receiver_is_switched_by_the_setting() -> None:
    assert tomllib.loads(SHIPPED)["receiver"] == {"synchronous": False}
    found = tomllib.loads(applied_settings.backup_toml(SHIPPED, settings("backup: {synchronous: true}")))
    assert found["receiver"] == {"synchronous": True}


def test_replacing_the_container_is_announced_where_commits_wait_for_it() -> None:
    assert applied_settings.interruption(settings()) == {}
    assert applied_settings.interruption(settings("backup: {synchronous: true}"))["downtime"]["seconds"] > 0


def test_a_file_without_the_key_is_a_defect() -> None:
    with pytest.raises(ValueError, match="drill_at"):
        applied_settings.backup_toml(SHIPPED.replace("drill_at", "drilled"), settings())


@pytest.mark.parametrize("text", [
    "{name: local, path: /mnt}", "{name: disk2}", "{name: disk2, path: mnt}", "{name: disk2, path: '/a:b'}",
    "{name: disk2, path: /mnt, keep: 0}", "{name: disk2, path: /mnt, where: x}", "{name: disk2, path: /mnt, append_only: 1}",
    "{name: a, path: /mnt}, {name: a, path: /mnt2}", "7",
])  # fmt: skip
def test_repository_that_cannot_be_meant_is_refused(text: str) -> None:
    with pytest.raises(UsageProblem, match=r"backup\.repositories"):
        settings(f"backup: {{repositories: [{text}]}}")


def test_repositories_reach_both_containers_and_are_mounted() -> None:
    own = settings(TWO)
    there = applied_settings.with_settings("backup", {"backup.toml": SHIPPED}, own)
    listed = json.loads(there["repositories.json"])["repositories"]
    other = applied_settings.with_settings("postgres", {"pgbackrest.conf": PGBACKREST}, own)["pgbackrest.d/repositories.conf"]

    assert [(one["name"], one["keep"], one["append_only"]) for one in listed] == [("disk2", 7, False), ("safe", 30, True)]
    assert listed[0]["where"] == {"path": "/var/lib/cc03-repositories/disk2"}
    assert "repo2-host=backup\n" in other
    assert other.count("repo3-host") == PGBACKREST.count("repo1-host") == 6
    assert applied_settings.mounts(own)[1] == "/mnt/safe:/var/lib/cc03-repositories/safe"


def test_without_further_repositories_nothing_is_added() -> None:
    assert applied_settings.with_settings("postgres", {"pgbackrest.conf": PGBACKREST}, settings()) == {
        "pgbackrest.conf": PGBACKREST
    }
    assert list(applied_settings.with_settings("backup", {"backup.toml": SHIPPED}, settings())) == ["backup.toml"]
    assert applied_settings.mounts(settings()) == []
    assert stack().project == "cc03"


def test_status_is_read() -> None:
    found = three()

    assert [one.name for one in found.sets] == ["C", "B", "A"]
    assert found.sets[0].inside == ("postgres", "prometheus", "logs", "alertmanager", "host")
    assert found.sets[1].proved == NOW - timedelta(hours=6)
    assert (found.since, found.escrowed) == (datetime(2026, 11, 24, 2, 30, tzinfo=UTC), True)


def test_repositories_are_told_with_their_newest_set_and_what_is_wrong() -> None:
    listed: list[dict[str, Any]] = [
        {"name": "local", "kind": "folder", "used_bytes": 5_000_000, "free_bytes": 2e9, "error": ""},
        {"name": "far", "kind": "s3", "append_only": True, "used_bytes": None, "free_bytes": None, "error": ""},
        {"name": "nas", "kind": "sftp", "error": "unable to connect"},
    ]
    everywhere = {name: {"label": "x", "snapshot": "y"} for name in ("local", "far")}
    held = entry("A", NOW - timedelta(hours=3), repositories=everywhere)
    found = read_status(report(entry("B", NOW - timedelta(hours=1)), held, repositories=listed))

    assert places(found, NOW) == [
        ("local", "folder", "2", "60 min", "5 MB", "2.0 GB", ""),
        ("far", "s3", "1", "3 h", "-", "-", "append-only"),
        ("nas", "sftp", "0", "-", "-", "-", "unable to connect"),
    ]


def test_half_a_set_is_not_held() -> None:
    half = {"local": {"label": "AF", "snapshot": ""}, "disk2": {"label": "", "snapshot": "abc"}}
    found = read_status(report(entry("A", NOW, repositories=half))).sets[0]

    assert (found.held, dict(found.labels)) == ((), {"local": "AF"})


def test_repositories_are_the_same_when_read_from_a_release() -> None:
    kept = settings(TWO).given()["backup.repositories"]

    assert json.loads(json.dumps(kept)) == kept


def test_report_of_another_version_is_refused() -> None:
    with pytest.raises(ValueError, match="version 2"):
        read_status(report(version=2))


def test_set_is_chosen_by_name_or_by_moment() -> None:
    found = three()

    assert choose(found, "B").kind == "diff"
    assert newest_with(found, "redis") == found.sets[1]
    assert newest_with(found, "postgres", NOW - timedelta(hours=5)) == found.sets[1]
    assert newest_with(found, "redis", NOW - timedelta(days=9)) is None
    with pytest.raises(UsageProblem, match="there is no set D"):
        choose(found, "D")
    with pytest.raises(HostLacks, match="no backup"):
        choose(read_status(report()), "A")


def test_local_repository_is_read_where_it_can_be() -> None:
    assert [place_of(one, "postgres") for one in three().sets] == ["local", "local", "disk2"]


def test_rows_tell_what_is_proved_and_what_is_lacking() -> None:
    shown = rows(three(), NOW)

    assert shown[0][:4] == ("C", "60 min", "full", "5 MB")
    assert shown[0][6] == "failed"
    assert "redis" not in shown[0][5]
    assert (shown[1][5], shown[1][6]) == ("all", "6 h ago")
    assert shown[2][6] == "unproved"


@pytest.mark.parametrize(("event", "words"), [
    ({"event": "phase", "phase": "files", "repository": "local"}, "files"),
    ({"event": "phase", "phase": "files", "repository": "disk2"}, "files (disk2)"),
    ({"event": "progress", "phase": "postgres", "done": 2e6, "total": 8e6, "rate": 5e5},
     "postgres: 2 MB of 8 MB, 500 kB/s, 12 s left"),
    ({"event": "progress", "phase": "postgres", "done": 0, "total": 8e6, "rate": 0}, "postgres: 0 B of 8 MB, 0 B/s"),
    ({"event": "start"}, ""),
])  # fmt: skip
def test_progress_is_told(event: dict[str, Any], words: str) -> None:
    assert progress_of_job(event) == words


@pytest.mark.parametrize(("amount", "text"), [(999, "999 B"), (1500, "2 kB"), (2_500_000, "2 MB"), (7.25e9, "7.2 GB")])
def test_size(amount: float, text: str) -> None:
    assert size(amount) == text


@pytest.mark.parametrize(("seconds", "text"), [(-5, "0 s"), (119, "119 s"), (120, "2 min"), (7300, "2 h"), (9e5, "10 d")])
def test_age(seconds: float, text: str) -> None:
    assert age(seconds) == text


def test_safety_copies_go_when_they_are_old_enough() -> None:
    old, new = ((NOW - timedelta(days=days)).strftime(STAMP) for days in (4, 2))
    kept = [Safety("postgres", old, 1), Safety("redis", new, 1), Safety("postgres", new, 1)]

    assert expendable(kept, NOW, 3) == (kept[0],)
    assert [one.stamp for one in newest_first(kept)] == [new, new, old]


def test_exported_key_is_read_again_however_it_was_typed() -> None:
    identities = ("AGE-SECRET-KEY-1QQQQQQ", "AGE-SECRET-KEY-1PPPPPP")
    text = keys.on_paper(KEY, identities, "shop", "2026-11-25")

    assert keys.parse(text, "f") == KEY
    assert keys.parse_recovery(text) == keys.parse_recovery(text.replace("1QQQQQQ", "1 qqq qqq")) == identities
    assert keys.parse_recovery(KEY + "\n") == ()
    assert keys.parse(KEY + "\n", "f") == KEY
    assert keys.parse(text.replace("key: abcdef ghijkl", "key:abcdefghij  kl"), "f") == KEY
    assert KEY not in text, "in groups, so that it can be compared with a copy on paper"


def test_mistyped_key_is_found_and_no_key_as_well() -> None:
    text = keys.on_paper(KEY, (), "shop", "2026-11-25")
    with pytest.raises(OpsError, match="mistyped"):
        keys.parse(text.replace("abcdef", "abcdeF"), "f")
    with pytest.raises(OpsError, match="no key"):
        keys.parse("nothing of the kind", "f")


@pytest.mark.parametrize(
    ("present", "copies", "number"),
    [
        ((), ("cc03-backup-cipher-2", "cc03-redis-app-7", "cc03-two-backup-cipher-9"), 2),
        ((), (), 1),
        ((1, 3), ("cc03-backup-cipher-1",), 4),
    ],
)
def test_a_key_brought_back_is_the_version_that_containers_have(
    present: tuple[int, ...], copies: tuple[str, ...], number: int
) -> None:  # fmt: skip
    assert keys.version_for(present, copies, "cc03-backup-cipher") == number


@pytest.mark.parametrize(
    ("error", "why", "step"),
    [
        ("the repository's disk is full: no such file", "the repository's disk is full", "inv backup.prune"),
        ("Fatal: wrong password or no key found", "the key is not the one of this repository", "inv backup.key --import"),
        (
            "expected value '2.55.1' for greeting key 'version' but got '2.45'",
            "pgBackRest has another version in postgres than in backup", "inv deploy",
        ),
        ("repository local is damaged: keys/0a1b2c3d is damaged", "repository local is damaged", "BackupDamaged"),
        ("something new", "something new", ELSE),
    ],
)  # fmt: skip
def test_a_failed_job_says_what_mends_it(error: str, why: str, step: str) -> None:
    said, cure = advice(error)
    assert said.startswith(why)
    assert error in said
    assert step in cure
