"""What is meant by a restore, in which order it is done, and how it is taken back."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime, timedelta, timezone
from typing import Any

import pytest

from ops.backup.restore import plan as restore
from ops.backup.restore.plan import Facts, left_by, plan_drop, plan_restore, plan_undo, with_data, writers
from ops.backup.restore.repository import Found
from ops.backup.restore.steps import SET_ASIDE, FetchCluster, FetchFiles, MoveData, progress_of
from ops.backup.restore.target import Chosen, Target, read_parts, read_time, select
from ops.backup.sets import Safety, Status, read_status
from ops.core.errors import HostLacks, UsageProblem
from ops.core.plan import Plan
from ops.deploy.plan import plan_deploy
from ops.secrets.steps import VerifySecret
from ops.stack.model import Account, Seen
from tests.unit.backup.test_plan_backup import NOW, entry, report, three
from tests.unit.builders import before, defects, deployed, keys, stack, step, wanted, with_state

STAMP = "20261125T120000Z"
VERSIONS = {"postgres-keycloak": 2, "postgres-app": 1}


def facts(**changes: Any) -> Facts:
    release = wanted()
    present = {"postgres-keycloak": 4, "postgres-app": 2, "postgres-exporter": 3, "keycloak-ops": 5, "keycloak-probe-user": 6,
               "backup-cipher": 1, "backup-signing": 1}  # fmt: skip
    postgres = replace(stack().services["postgres"], late_secrets=("postgres-keycloak", "postgres-app"))
    own = replace(stack(), services={**stack().services, "postgres": postgres}, secrets=tuple(present))
    base = Facts(own, deployed(release), {"targets": []}, "v1", {"postgres": 5_000_000}, present)
    return replace(base, **changes)


def chosen(target: Target, *only: str, status: Status | None = None) -> Chosen:
    return select(target, only, status or three(), NOW + timedelta(days=1))


def both() -> Status:
    return read_status(report(entry("B", NOW - timedelta(hours=7))))


def test_time_is_that_of_the_host_unless_it_says_otherwise() -> None:
    zone = timezone(timedelta(hours=2))

    assert read_time("2026-11-24 10:31:05", zone) == datetime(2026, 11, 24, 8, 31, 5, tzinfo=UTC)
    assert read_time("2026-11-24T10:31:05+00:00", zone) == datetime(2026, 11, 24, 10, 31, 5, tzinfo=UTC)
    with pytest.raises(UsageProblem, match="not a time"):
        read_time("yesterday", zone)


@pytest.mark.parametrize(
    ("target", "what"),
    [
        (Target(at=NOW + timedelta(days=365)), "is in the future"),
        (Target(at=NOW + timedelta(days=1, seconds=1)), "is in the future"),
        (Target(timeline="newest"), "there is no timeline"),
        (Target(timeline="0"), "there is no timeline"),
    ],
)
def test_what_no_repository_can_have_is_refused_before_anything_stops(target: Target, what: str) -> None:
    with pytest.raises(UsageProblem, match=what):
        chosen(target)


@pytest.mark.parametrize("timeline", ["3", "0x0000000A", "latest", "current"])
def test_timeline_is_followed(timeline: str) -> None:
    assert f"--target-timeline={timeline}" in (chosen(Target(timeline=timeline)).postgres or ())


def test_parts_are_read() -> None:
    assert read_parts("all") == ("postgres", "redis", "prometheus", "logs", "alertmanager")
    assert read_parts("redis, logs") == ("redis", "logs")
    with pytest.raises(UsageProblem, match="reddis"):
        read_parts("reddis")


def test_without_a_target_postgres_alone_goes_to_the_newest_point() -> None:
    found = chosen(Target())

    assert (found.parts, found.postgres) == (("postgres",), ("--type=default",))
    assert found.others == ("CF", "BF")


def test_older_backups_are_tried_where_the_newest_is_of_another_history() -> None:
    assert chosen(Target(at=NOW - timedelta(minutes=90))).others == ("BF",)
    assert chosen(Target(set="B")).others == ()
    assert chosen(Target(xid=812), "postgres").others == ()


def test_set_is_restored_to_its_own_place_on_its_own_timeline() -> None:
    found = chosen(Target(set="B"))

    assert found.parts == ("postgres", "redis")
    assert found.postgres == (
        "--set=BF", "--type=lsn", "--target=@lsn", "--target-exclusive", "--target-timeline=current", "--target-action=promote",
        "--repo=1",
    )  # fmt: skip
    assert found.compare
    assert found.compare.name == "B"


def with_redis() -> Facts:
    """Facts of a stack with a Redis that takes up one of its two secrets by itself."""
    base = facts()
    redis = replace(base.stack.services["postgres"], name="redis", late_secrets=("redis-app",))
    present = {"redis-app": 5, "redis-backup": 2}
    own = replace(base.stack, services={**base.stack.services, "redis": redis}, secrets=tuple(present))
    release = base.seen.containers["postgres"]
    seen = replace(base.seen, containers={**base.seen.containers, "redis": replace(release, slot="redis", name="cc03-redis")})
    return replace(base, stack=own, seen=seen, secrets=present, retired={"redis-app": 4})


def redis_plan(way: str) -> Plan:
    """Redis alone: restored, its restore undone, its failed restore reverted, or an interrupted undo resumed."""
    base, left = with_redis(), {"stamp": STAMP, "parts": ["redis"], "stopped": ["redis"]}
    if way == "restore":
        return plan_restore(chosen(Target(set="B"), "redis"), base, STAMP)
    written = {"undo": None, "revert": left, "resume": {**left, "undo": True}}[way]
    return plan_undo(written or left, replace(base, left=written))


@pytest.mark.parametrize("way", ["restore", "undo", "revert", "resume"])
def test_redis_gets_the_present_passwords_and_they_are_verified(way: str) -> None:
    """Its users lie with its data: those of another time take their place, and its container has older values."""
    plan = redis_plan(way)

    assert step(plan, "redis app").version == 5
    assert "healthy redis" in before(plan, "redis app")
    assert "redis backup" not in keys(plan)
    verify = step(plan, "verify redis-app")
    assert isinstance(verify, VerifySecret)
    assert (verify.version, verify.before, verify.to) == (5, 4, Account("redis", "app"))
    assert "redis app" in before(plan, "verify redis-app")
    assert {"verify redis-app", "verify redis-backup"} <= before(plan, "forget"), "what is not verified yet can be resumed"


def test_moment_takes_redis_from_the_newest_set_before_it() -> None:
    found = chosen(Target(at=NOW - timedelta(minutes=5)))

    assert found.postgres == ("--type=time", "--target=2026-11-25 11:55:00.000000+00", "--target-action=promote")
    assert found.files["redis"].name == "B"
    assert found.compare is None
    assert any("redis is that of B" in note for note in found.notes)


def test_moment_before_the_oldest_is_refused() -> None:
    with pytest.raises(HostLacks, match="too early"):
        chosen(Target(at=NOW - timedelta(days=9)))


def test_transaction_begins_from_the_oldest_set_unless_one_is_named() -> None:
    assert chosen(Target(xid=812), "postgres").postgres == (
        "--set=x", "--type=xid", "--target=812", "--target-exclusive", "--target-action=promote", "--repo=2",
    )  # fmt: skip
    assert "--set=BF" in (chosen(Target(xid=812, set="B"), "postgres").postgres or ())
    assert "--target=release-7" in (chosen(Target(name="release-7", timeline="3"), "postgres").postgres or ())
    assert "--target-timeline=3" in (chosen(Target(name="release-7", timeline="3"), "postgres").postgres or ())


def test_repository_that_is_named_is_the_one_that_is_read() -> None:
    newest, older = chosen(Target(repository="disk2")), chosen(Target(set="A", repository="disk2"))

    assert newest.postgres == ("--type=default", "--repo=2")
    assert "--set=x" in (older.postgres or ())
    assert "--repo=2" in (older.postgres or ())
    assert older.files["redis"].held == ("disk2",)
    with pytest.raises(HostLacks, match="too early"):
        chosen(Target(repository="disk2", at=NOW - timedelta(days=4)))


def test_repository_that_is_none_or_holds_nothing_is_refused() -> None:
    with pytest.raises(UsageProblem, match="no repository disk3") as refused:
        chosen(Target(repository="disk3"))
    assert "disk2" in refused.value.why
    with pytest.raises(HostLacks, match="far holds no set"):
        chosen(Target(repository="far"))


def test_two_moments_and_no_backup_are_refused() -> None:
    with pytest.raises(UsageProblem, match="cannot both"):
        chosen(Target(xid=1, at=NOW))
    with pytest.raises(HostLacks, match="no backup"):
        chosen(Target(), status=read_status(report()))
    with pytest.raises(HostLacks, match="redis cannot be restored"):
        chosen(Target(set="C"), "redis")


def test_who_needs_postgres_stops_with_it_and_nobody_else() -> None:
    assert set(writers(stack(), ["postgres"])) == {"postgres", "keycloak", "backend"}
    assert writers(stack(), ["nginx"]) == ("nginx",)


def test_nothing_is_touched_before_it_is_written_down_and_everybody_has_stopped() -> None:
    plan = plan_restore(chosen(Target(), "postgres"), facts(), STAMP)

    assert defects(plan) == []
    assert keys(plan)[0] == "space"
    assert {"supervise off", "stop backend-1", "stop keycloak", "stop postgres", "remember"} <= before(plan, "aside postgres")
    assert {"stop backend-1", "stop backend-2"} <= before(plan, "stop postgres")
    assert before(plan, "fetch postgres") > {"aside postgres"}
    assert "recover postgres" in before(plan, "start postgres")
    assert "role keycloak" in before(plan, "start keycloak")
    assert "agree" in before(plan, "start backend-1")
    assert {"verify", "supervise"} <= before(plan, "forget")
    assert keys(plan)[-1] == "full"
    assert step(plan, "role keycloak").version == 4
    assert step(plan, "pair app").version == 2
    # What PostgreSQL takes up by itself whenever it starts is left to it.
    assert "role exporter" not in keys(plan)
    verified = ["verify postgres-app", "verify postgres-exporter", "verify keycloak-ops", "verify keycloak-probe-user",
                "verify backup-cipher"]  # fmt: skip
    assert before(plan, "verify") >= {*verified, "agree", "healthy backend-2"}
    assert "verify keycloak-ops" in before(plan, "verify keycloak-probe-user"), "one login in Keycloak after the other"
    assert "verify backup-signing" not in keys(plan), "nobody logs in with it"
    assert any("everything" in loss or "not in the repository" in loss for loss in plan.destroys)


def test_what_the_receiver_holds_is_added_where_the_end_of_the_log_counts() -> None:
    base = facts()
    knows = replace(base, stack=replace(base.stack, secrets=(*base.stack.secrets, "postgres-receiver")))

    plan = plan_restore(chosen(Target(), "postgres"), knows, STAMP)
    assert "fetch postgres" in before(plan, "received")
    assert "received" in before(plan, "recover postgres")
    assert "received" not in keys(plan_restore(chosen(Target(set="B"), "postgres"), knows, STAMP))
    assert "received" not in keys(plan_restore(chosen(Target(), "postgres"), base, STAMP)), "a release of before the receiver"


def test_set_is_compared_with_the_present_secret_of_who_compares() -> None:
    """The data may be from before a rotation: the backup container was refused, and each such restore was reverted."""
    plan = plan_restore(chosen(Target(set="B"), status=both()), facts(), STAMP)

    titles = [one.title for one in plan.steps]
    compared = next(number for number, title in enumerate(titles) if title.startswith("compare with the manifest"))
    later = [title for title in titles[compared:] if title.startswith("set the current PostgreSQL password of role")]
    assert later == []
    assert [title for title in titles[:compared] if title.startswith("set the current PostgreSQL password of")] != []


def test_set_is_compared_before_anybody_writes() -> None:
    plan = plan_restore(chosen(Target(set="B"), "postgres"), facts(), STAMP)
    fetch = step(plan, "fetch postgres")

    assert isinstance(fetch, FetchCluster)
    assert (fetch.set, fetch.repository) == ("B", "local")
    assert "compare" in before(plan, "start keycloak")


def test_part_alone_stops_its_own_service_alone() -> None:
    plan = redis_plan("restore")

    assert defects(plan) == []
    assert {"stop redis", "remember"} <= before(plan, "aside redis")
    assert "aside redis" in before(plan, "start redis")
    assert [key for key in keys(plan) if key.startswith(("stop ", "aside ", "start "))] == [
        "stop redis",
        "aside redis",
        "start redis",
    ]
    assert "full" not in keys(plan), "PostgreSQL goes on in its own history"
    assert all("PostgreSQL" not in loss for loss in plan.destroys) and any("redis" in loss for loss in plan.destroys)


def test_removed_volume_and_container_are_made_again() -> None:
    release = wanted()
    seen = deployed(release)
    without = {slot: one for slot, one in seen.containers.items() if slot != "postgres"}
    plan = plan_restore(chosen(Target()), facts(seen=replace(seen, containers=without, volumes=frozenset())), STAMP)

    assert {"volume cc03-postgres-data", "create"} <= before(plan, "aside postgres")
    assert step(plan, "create").slots == ("postgres",)


def test_restore_that_was_broken_off_is_put_back_before_the_next() -> None:
    left = {"stamp": "20261125T110000Z", "parts": ["postgres"], "stopped": ["postgres", "keycloak", "backend"]}
    stopped = with_state(deployed(wanted()), "exited", "backend-1", "backend-2", "keycloak", "postgres")
    plan = plan_restore(chosen(Target(), "postgres"), facts(left=left, seen=stopped), STAMP)

    assert defects(plan) == []
    assert "back postgres" in before(plan, "aside postgres")
    assert step(plan, "back postgres").stamp == "20261125T110000Z"
    aside = step(plan, "aside postgres")
    assert isinstance(aside, MoveData)
    assert (aside.action, aside.stamp) == (SET_ASIDE, STAMP)


def test_undo_puts_back_and_starts_what_was_stopped() -> None:
    left = left_by([Safety("postgres", STAMP, 1), Safety("redis", STAMP, 1), Safety("redis", "20261124T000000Z", 1)], stack())
    plan = plan_undo(left, facts())

    assert left["parts"] == ["postgres", "redis"]
    assert defects(plan) == []
    assert {"stop postgres", "stop keycloak"} <= before(plan, "back postgres")
    assert {"remember first", "tidy first"} <= before(plan, "start postgres")
    assert {"remember first"} <= before(plan, "back postgres")
    assert step(plan, "role keycloak").version == 4
    assert "role keycloak" in before(plan, "start keycloak")
    assert {"agree", "verify postgres-app", "verify keycloak-ops"} <= before(plan, "forget")
    assert "verify backup-cipher" not in keys(plan), "a restore changes no repository's key, and the backup may be down"
    assert keys(plan)[-1] == "full", "it has a timeline of its own, of which there is no backup yet"
    assert plan.destroys


def test_interrupted_undo_is_resumed_and_asks_as_it_did_before() -> None:
    left = {"stamp": STAMP, "parts": ["postgres"], "stopped": ["postgres", "keycloak"], "undo": True}
    plan = plan_undo(left, facts(left=left))

    assert "remember first" not in keys(plan), "it is written down already"
    assert keys(plan)[-1] == "full"
    assert plan.destroys


def test_failed_restore_is_reverted_with_the_present_secrets_without_asking() -> None:
    left = {"stamp": STAMP, "parts": ["postgres"], "stopped": ["postgres", "keycloak"]}
    plan = plan_undo(left, facts(left=left))

    assert plan.destroys == ()
    assert "agree" in before(plan, "verify keycloak-ops")
    assert step(plan, "pair app").version == 2
    assert keys(plan)[-1] == "forget"


def test_undo_without_a_safety_copy_is_refused() -> None:
    with pytest.raises(HostLacks, match="nothing to undo"):
        left_by([], stack())
    with pytest.raises(HostLacks, match="nothing to undo"):
        left_by([Safety("redis", STAMP, 1)], stack(), "20200101T000000Z")


def test_safety_copies_are_dropped_by_name() -> None:
    assert [one.key for one in plan_drop([Safety("redis", STAMP, 1)])] == [f"drop redis {STAMP}"]


def test_progress_of_pgbackrest() -> None:
    line = "2026-11-25 02:30:00.000 P01 DETAIL: restore file /var/lib/x/base/5/1255 (776KB, 12.34%) checksum abc"

    assert progress_of(line) == "12.34 %, 776KB of 1255"
    assert progress_of("INFO: restore command end") == ""


def found(**changes: Any) -> Found:
    return replace(Found("B", NOW, "abc", (), "cc03", "", 3, {}), **changes)


def test_empty_host_is_filled_between_creating_and_starting(monkeypatch: pytest.MonkeyPatch) -> None:
    # The small stack of these tests has no backup container: another one stands for it.
    monkeypatch.setattr(restore, "BACKUP", "edge")
    plan = with_data(
        plan_deploy(wanted(), Seen(), next_number=1), found(), stack(), {"postgres-keycloak": 2, "postgres-app": 1}
    )

    assert defects(plan) == []
    assert {"healthy edge", "aside postgres", "fetch postgres"} <= before(plan, "recover postgres")
    assert "recover postgres" in before(plan, "start postgres")
    assert "role keycloak" in before(plan, "start keycloak")
    assert {"agree", "verify", "archive", "drop postgres"} <= before(plan, "full")
    assert "agree" in before(plan, "verify postgres-app")
    assert "verify postgres-app" in before(plan, "verify")
    assert "clear postgres" in before(plan, "aside postgres")
    assert not any(isinstance(one, FetchFiles) for one in plan.steps)


def test_empty_host_is_filled_out_of_the_repository_that_it_was_read_from() -> None:
    far = found(repository="offsite", number=3)
    plan = with_data(plan_deploy(wanted(), Seen(), next_number=1), far, stack(), {"postgres-keycloak": 2})

    assert step(plan, "fetch postgres").options == ("--type=default", "--repo=3")


def test_what_runs_already_is_left_alone() -> None:
    plan = with_data(
        plan_deploy(wanted(), deployed(wanted()), next_number=2), found(), stack(), {"postgres-keycloak": 2, "postgres-app": 1}
    )

    assert defects(plan) == []
    assert keys(plan) == ["role keycloak", "agree", "verify postgres-app", "verify", "archive", "full"]
