"""A set is restored, started and compared; any difference fails. Programs stand in at the edge of the process (stack.py)."""

import dataclasses
import json
import os
import shutil
import time
from datetime import UTC, datetime, timedelta
from pathlib import Path
from types import SimpleNamespace

import pytest
from backup import drill, drills, jobs, paths, pgbackrest, wal
from backup.errors import CommandError, JobError
from backup.progress import Progress
from stack import KEY, Stack, made

LOCAL, DISK = 1, 2


@pytest.fixture
def redis(monkeypatch) -> None:
    monkeypatch.setattr(drill.scratch_redis.command, "stop", lambda child, how=15: child.send_signal(how))


@pytest.mark.usefixtures("redis")
def test_a_drill_proves_what_it_restores(container):
    name = made(container)["set"]
    result = jobs.prove("", "local", container.repositories, Progress())

    assert (result.set, result.repository, result.error, result.compared, result.passed) == (name, "local", "", True, True)
    assert result.restored == {"host_members": 1, "redis": "loaded", "databases": 2, "tables": 1, "rows": 2}
    assert result.data_loss == 0.0 and result.seconds >= 0
    assert list(result.seconds_of) == ["files/local", "redis/local", "restore/local", "recovery/local", "compare/local",
                                       "amcheck/local", "data loss"]  # fmt: skip
    assert drills.read() == [result]
    assert not paths.SCRATCH.exists()
    assert container.asked.index("pgbackrest restore 1") < container.asked.index("pg_amcheck")
    assert jobs.prove(name, "disk", container.repositories, Progress()).repository == "disk"
    assert "pgbackrest restore 2" in container.asked


@pytest.mark.usefixtures("redis")
@pytest.mark.parametrize(
    ("spoil", "why"),
    [
        (lambda one: one.restored.update(app={"public.items": {"rows": 1, "sum": "7"}}), "has 1 rows in place of 2"),
        (lambda one: one.restored.update(app={"public.items": {"rows": 2, "sum": "8"}}), "contents of public.items differ"),
        (lambda one: one.restored.pop("app"), "database app is missing"),
        (lambda one: one.fails.update({"pg_amcheck": CommandError("index is corrupt")}), "index is corrupt"),
        (lambda one: one.fails.update({"pgbackrest restore": CommandError("file missing")}), "file missing"),
        (lambda one: setattr(one, "keys", 4), "Redis has 4 keys"),
        (lambda one: _staged(one, "host.tar").write_bytes(b"x"), "host.tar is not the one of the manifest"),
        (lambda one: _staged(one, "redis.rdb").write_bytes(b"x"), "copy of Redis is not the one of the manifest"),
        (lambda one: _staged(one, "manifest.sig").write_bytes(b"x" * 64), "not signed by this stack"),
        (lambda one: _staged(one, "manifest.json").unlink(), "manifest"),
        (lambda one: shutil.rmtree(_staged(one, "logs/20260310/datadb/PART")), "parts of the log store are missing"),
    ],
)  # fmt: skip
def test_a_drill_fails_and_says_so(container, spoil, why):
    name = made(container)["set"]
    container.restored = json.loads(json.dumps(container.tables))
    spoil(container)
    with pytest.raises(JobError, match=f"the set {name} of local did not pass: .*{why}"):
        jobs.prove("", "local", container.repositories, Progress())
    (noted,) = drills.read()
    assert why in noted.error and not noted.passed
    assert not paths.SCRATCH.exists()


def _staged(container: Stack, name: str) -> Path:
    (_, folder) = next(iter(container.held[LOCAL].snapshots.values()))
    return folder / paths.STAGE.relative_to("/") / name


@pytest.mark.usefixtures("redis")
def test_manifest_of_another_set_is_no_proof(container):
    made(container)
    ((name, (tags, folder)),) = container.held[LOCAL].snapshots.items()
    for backup in container.held[LOCAL].backups:
        backup["annotation"]["set"] = "20200101T000000Z"
    container.held[LOCAL].snapshots[name] = (["set=20200101T000000Z", "kind=full"], folder)
    with pytest.raises(JobError, match="the manifest is that of the set 20"):
        jobs.prove("", "local", container.repositories[:1], Progress())
    assert tags


@pytest.mark.usefixtures("redis")
def test_set_without_components_is_proved_as_far_as_it_goes(container):
    (paths.HOST / "host.tar").unlink()
    shutil.rmtree(paths.DATA / "logs")
    container.fails["redis-cli"] = CommandError("refused")
    container.writers = 1
    made(container)
    container.fails, container.restored = {}, {"app": {"public.items": {"rows": 9, "sum": "1"}}, "postgres": {}}
    result = jobs.prove("", "local", container.repositories, Progress())
    assert (result.compared, result.restored) == (False, {"databases": 2, "tables": 1, "rows": 9})


@pytest.mark.usefixtures("redis")
def test_data_loss_that_cannot_be_measured_is_no_fault_of_the_set(container):
    made(container)
    container.fails["pg_amcheck"] = lambda: container.fails.update({"psql postgres": CommandError("down")})
    assert jobs.prove("", "local", container.repositories, Progress()).data_loss is None


@pytest.mark.usefixtures("redis")
def test_data_that_no_archive_has_is_measured(container, monkeypatch):
    made(container)
    container.fails["pg_waldump"] = lambda: setattr(container, "xid", 650)
    # Half a minute after the archive's newest segment; a fast machine measures 0.0 s otherwise.
    later = SimpleNamespace(time=lambda: time.time() + 30, monotonic=time.monotonic, sleep=time.sleep)
    monkeypatch.setattr(wal, "time", later)
    assert 30 <= jobs.prove("", "local", container.repositories, Progress()).data_loss < 60


@pytest.mark.usefixtures("redis")
def test_drill_that_does_not_fit_begins_nothing(container, monkeypatch):
    made(container)
    container.asked.clear()
    monkeypatch.setattr(shutil, "disk_usage", lambda path: SimpleNamespace(free=drill.RESERVE, used=1, total=1))
    with pytest.raises(JobError, match=r"a drill needs .* bytes of disk"):
        jobs.prove("", "local", container.repositories, Progress())
    assert "restic restore 1" not in container.asked
    (noted,) = drills.read()
    assert noted.restored == {} and noted.seconds_of == {} and noted.data_loss is None
    assert abs(noted.ended - datetime.now(UTC)) < timedelta(minutes=1)


@pytest.mark.usefixtures("redis")
@pytest.mark.parametrize(("problem", "told"), [(OSError(), "OSError()"), (OSError("torn"), "torn"), (KeyError("lsn"), "'lsn'")])
def test_drill_that_meets_an_error_without_words_names_it(container, problem, told):
    made(container)
    container.fails["pgbackrest restore"] = problem
    with pytest.raises(JobError, match="did not pass"):
        jobs.prove("", "local", container.repositories, Progress())
    assert drills.read()[0].error == told


@pytest.mark.usefixtures("redis")
def test_what_is_restored_is_for_its_owner_alone(container):
    """Passwords and personal data in the clear."""
    made(container)
    modes = []
    container.fails["restic restore"] = lambda: modes.append(paths.SCRATCH.stat().st_mode & 0o777)
    before = os.umask(0)
    try:
        jobs.prove("", "local", container.repositories, Progress())
    finally:
        os.umask(before)
    assert modes == [0o700]


def test_drill_needs_ten_percent_and_the_reserve_beside_the_set():
    drill.must_fit(1000, 1100 + drill.RESERVE)
    with pytest.raises(JobError):
        drill.must_fit(1000, 1099 + drill.RESERVE)


def test_drill_needs_a_whole_set_in_its_repository(container):
    with pytest.raises(JobError, match="does not exist yet"):
        jobs.prove("", "local", container.repositories, Progress())
    container.held[LOCAL].stanza = True
    with pytest.raises(JobError, match="there is no complete set in local yet"):
        jobs.prove("", "local", container.repositories, Progress())
    container.fails["restic copy 2"] = CommandError("no")
    name = made(container)["set"]
    with pytest.raises(JobError, match=f"disk does not hold all of the set {name}"):
        jobs.prove(name, "disk", container.repositories, Progress())
    with pytest.raises(JobError, match="there is no set X"):
        jobs.prove("X", "local", container.repositories, Progress())


def test_key_of_the_repositories_is_in_no_command_line(container):
    made(container)
    assert KEY not in " ".join(container.asked)
    assert pgbackrest.info(container.repositories[0]).backups


def noted(number: int) -> drills.Drill:
    return drills.Drill(f"set {number}", "local", datetime(2026, 3, number, tzinfo=UTC), 1.5, restored={"rows": number})


def test_newest_drills_are_kept_whatever_a_crash_has_torn(tmp_path, monkeypatch):
    monkeypatch.setattr(drills, "KEPT", 3)
    path = tmp_path / "drills.jsonl"
    assert drills.read(path) == []
    for number in (1, 2):
        drills.append(noted(number), path)
    whole = path.read_text().splitlines()
    path.write_text("\n".join([whole[0], whole[1][:30], "[]", '{"set": "x", "ended": "2026-03-01"}', whole[1], ""]))
    assert drills.read(path) == [noted(1), noted(2)], "a torn line takes none of the others along"

    for number in (3, 4):
        drills.append(noted(number), path)
    assert drills.read(path) == [noted(number) for number in (2, 3, 4)]
    assert len(path.read_text().splitlines()) == 3
    assert drills.read(path)[0].passed and not dataclasses.replace(noted(1), error="no").passed
