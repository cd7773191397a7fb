from dataclasses import replace
from datetime import UTC, datetime, timedelta

from backup import catalog
from backup.drills import Drill, append, read
from backup.pgbackrest import Backup
from backup.restic import Snapshot

NOW = datetime(2026, 3, 10, 12, 0, tzinfo=UTC)


def backup(day: int, kind: str = "full", hour: int = 2) -> Backup:
    at = NOW.replace(day=day, hour=hour, minute=0)
    return Backup(
        f"{day}{kind[0].upper()}{hour}", kind, at, at + timedelta(minutes=1), 1000, 100, at.strftime("%Y%m%dT%H%M%SZ")
    )


def snapshot(of: Backup, *missing: str) -> Snapshot:
    return Snapshot(f"{of.label}-snapshot", of.set, of.kind, of.start, missing, 500, 50)


def drill(of: Backup, error: str = "") -> Drill:
    return Drill(of.set, "local", of.stop + timedelta(hours=1), 9.0, error=error, compared=True)


OLD, NEW = backup(8), backup(9)


def test_a_set_is_what_both_tools_hold_of_one_name():
    newest, oldest = catalog.sets({"local": [OLD, NEW]}, {"local": [snapshot(OLD), snapshot(NEW, "host")]}, [drill(OLD)])
    assert (newest.name, newest.kind, newest.bytes, newest.added_bytes) == (NEW.set, "full", 1500, 150)
    assert newest.missing == ("host",) and not newest.complete and newest.proved_at is None
    assert oldest.complete and oldest.proved_at == drill(OLD).ended and oldest.within("local")


def test_a_backup_without_files_is_not_whole():
    (one,) = catalog.sets({"local": [OLD]}, {"local": []}, [])
    assert one.missing == ("redis", "prometheus", "logs", "alertmanager", "host")
    assert not one.within("local") and catalog.to_drill([one], "local") is None


def test_a_failed_drill_proves_nothing_and_takes_nothing_back():
    (one,) = catalog.sets({"local": [OLD]}, {"local": [snapshot(OLD)]}, [drill(OLD), drill(OLD, "torn")])
    assert one.proved_at is not None and one.drill.error == "torn"
    (one,) = catalog.sets({"local": [OLD]}, {"local": [snapshot(OLD)]}, [drill(OLD, "torn")])
    assert one.proved_at is None


def test_ages_are_of_each_component_and_repository():
    found = catalog.sets(
        {"local": [OLD, NEW], "offsite": [OLD]},
        {"local": [snapshot(OLD), snapshot(NEW, "redis")], "offsite": [snapshot(OLD)]},
        [],
    )
    assert catalog.last(found, NOW, "local", "postgres") == NEW.start
    assert catalog.last(found, NOW, "local", "redis") == OLD.start
    assert catalog.last(found, NOW, "offsite", "postgres") == OLD.start
    assert catalog.last(found, NOW, "nowhere", "postgres") is None


def test_a_set_from_the_future_counts_for_nothing_and_is_told():
    ahead = backup(11)
    found = catalog.sets({"local": [OLD, ahead]}, {"local": [snapshot(OLD), snapshot(ahead)]}, [])
    assert catalog.last(found, NOW, "local", "postgres") == OLD.start
    assert catalog.from_future(found, NOW) == [ahead.set]


def test_files_go_once_nothing_of_their_time_can_be_restored():
    taken = [snapshot(OLD), snapshot(NEW)]
    assert catalog.forgettable(taken, [NEW]) == [snapshot(OLD).id]
    assert catalog.forgettable(taken, [OLD, NEW]) == []


def test_files_stay_where_no_backup_is_seen():
    assert catalog.forgettable([snapshot(OLD)], []) == []


def test_the_last_proved_set_is_not_expired():
    days = [backup(day) for day in (5, 6, 7)]
    taken = {"local": [snapshot(one) for one in days]}

    def may(*drills: Drill) -> bool:
        return catalog.may_expire(catalog.sets({"local": days}, taken, drills), "local", keep=2)

    assert not may(drill(days[0]), drill(days[1], "damaged"), drill(days[2], "damaged"))
    assert may(drill(days[0]), drill(days[1]))
    assert may()  # nothing proved yet, so nothing proved is lost


def test_expiring_is_free_while_no_more_than_wanted_are_kept():
    found = catalog.sets({"local": [OLD]}, {"local": [snapshot(OLD)]}, [drill(OLD)])
    assert catalog.may_expire(found, "local", keep=1)


def test_drills_are_kept_over_restarts_and_a_torn_line_is_left_out(tmp_path):
    path = tmp_path / "drills.jsonl"
    append(drill(OLD), path)
    append(replace(drill(NEW), data_loss=4.5), path)
    with path.open("a") as stream:
        stream.write('{"set": "torn')
    assert [(one.set, one.data_loss) for one in read(path)] == [(OLD.set, None), (NEW.set, 4.5)]
