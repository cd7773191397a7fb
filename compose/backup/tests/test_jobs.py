"""Each job from its beginning to its entry in the journal. The programs stand in at the edge of the process (stack.py)."""

import shutil
import threading
from types import SimpleNamespace

import pytest
from backup import jobs, journal, lists, observe, paths, sets
from backup.errors import CommandError, JobError, Unreached
from backup.progress import Progress
from backup.repositories import Repository
from stack import SEGMENTS, again, made

LOCAL, DISK = 1, 2


def test_old_sets_are_removed_after_a_full_one_alone_and_their_failure_is_none_of_the_set(container):
    made(container, "incr")
    assert "pgbackrest expire 1" not in container.asked
    again(container, "full")
    assert {"pgbackrest expire 1", "pgbackrest expire 2"} <= set(container.asked)
    container.fails["pgbackrest expire 1"] = CommandError("no")
    assert again(container, "full")["failed"] == {}


def test_a_job_is_noted_with_its_outcome(container):
    assert jobs.run("verify", lambda: {"a": 1}) == ("", {"a": 1})
    assert journal.read()["verify"].last_success is not None

    def fails() -> None:
        raise JobError("torn")

    assert jobs.run("verify", fails) == ("torn", None)
    assert (journal.read()["verify"].last_error, journal.read()["verify"].failures_in_row) == ("torn", 1)

    def silent() -> None:
        raise Unreached("offsite does not answer")

    assert jobs.run("verify", silent) == ("offsite does not answer", None)
    entry = journal.read()["verify"]
    assert (entry.unreached, entry.failures_in_row, entry.last_error) == ("offsite does not answer", 1, "torn")
    assert entry.last_seconds is not None and entry.last_seconds >= 0


def test_what_is_no_fault_of_a_job_is_not_swallowed(container):
    with pytest.raises(ZeroDivisionError):
        jobs.run("verify", lambda: 1 / 0)


def test_a_full_disk_is_told_as_one(container, monkeypatch):
    def fails() -> None:
        raise OSError("no such file or directory")

    free = {"bytes": observe.FULL_BYTES}
    monkeypatch.setattr(shutil, "disk_usage", lambda path: SimpleNamespace(free=free["bytes"], used=0, total=1))
    assert jobs.run("verify", fails)[0] == "no such file or directory"
    free["bytes"] -= 1
    assert jobs.run("verify", fails)[0] == "the repository's disk is full: no such file or directory"


def test_what_a_killed_job_has_left_goes_before_the_next_begins(container):
    left = [paths.STAGE / "secret", paths.SCRATCH / "files"]
    for folder in left:
        folder.mkdir(parents=True)
    jobs.run("verify", lambda: [folder.exists() for folder in left])
    assert jobs.run("verify", lambda: [folder.exists() for folder in left]) == ("", [False, False])


def test_one_job_at_a_time(container):
    began, may_end = threading.Event(), threading.Event()

    def long() -> None:
        began.set()
        may_end.wait(30)

    thread = threading.Thread(target=jobs.run, args=("verify", long))
    thread.start()
    assert began.wait(30)
    assert jobs.busy()
    with pytest.raises(JobError, match="another job still runs after 1 s"), jobs.job_lock(1):
        pytest.fail("two jobs at once")
    may_end.set()
    thread.join()
    assert not jobs.busy()


def test_stack_that_is_still_starting_is_not_a_failed_backup(container, monkeypatch):
    asked: list[int] = []
    refused: set[int] = set()

    def connect(address: tuple[str, int], timeout: float) -> SimpleNamespace:
        asked.append(address[1])
        if address[1] in refused:
            raise ConnectionRefusedError
        return SimpleNamespace(close=lambda: None)

    monkeypatch.setattr(jobs.socket, "create_connection", connect)
    assert jobs.reachable("verify") and jobs.reachable("drill") and asked == []
    assert all(jobs.reachable(job) for job in ("full", "diff", "incr", "check")) and set(asked) == {8432, 5432}
    for port in (8432, 5432):
        refused = {port}
        assert not jobs.reachable("incr") and not jobs.reachable("check")


def test_each_scheduled_job_does_its_own(container):
    for job, begins in {
        **dict.fromkeys(sets.KINDS, "pgbackrest backup 1"), "check": "pgbackrest check",
        "verify": "pgbackrest verify 1", "expire": "pgbackrest expire 1", "verify-remote": "pgbackrest verify 2",
        "drill": "pgbackrest restore 1",
    }.items():  # fmt: skip
        container.asked.clear()
        result = jobs.scheduled(job, container.repositories)()
        assert begins in container.asked, job
        if job in sets.KINDS:
            assert result["kind"] == job
            assert container.held[LOCAL].backups[-1]["type"] == job
        if job.startswith("verify"):
            other = {"verify": 2, "verify-remote": 1}[job]
            assert f"pgbackrest verify {other}" not in container.asked


def test_names_that_are_not_there_are_told_with_those_that_are(container):
    assert jobs.named("disk", container.repositories).number == DISK
    with pytest.raises(JobError, match="there is no repository tape; there are local, disk"):
        jobs.named("tape", container.repositories)
    with pytest.raises(JobError, match="there is no set X; the newest are none"):
        jobs.named_set("X", [])
    name = made(container)["set"]
    found = observe.look(container.repositories).sets
    assert jobs.named_set(name, found).name == name
    with pytest.raises(JobError, match=f"there is no set X; the newest are {name}"):
        jobs.named_set("X", found)


def test_check_goes_all_the_way_into_every_repository(container):
    jobs.check(container.repositories)
    assert container.asked[-1] == "pgbackrest check"
    assert "pgbackrest stanza-create" in container.asked
    container.fails["pgbackrest check"] = CommandError("WAL segment did not reach the archive")
    with pytest.raises(JobError, match="did not reach"):
        jobs.check(container.repositories)


@pytest.fixture
def away(container, monkeypatch) -> dict[str, str]:
    """A further repository on another machine, which does not answer while its name is in here."""
    gone: dict[str, str] = {}
    where = {"endpoint": "https://s3.test", "bucket": "b"}
    container.repositories[1] = Repository("disk", "s3", 2, where, 2, secrets={"key": "k", "key-secret": "s"})
    monkeypatch.setattr(jobs.away, "greeting", lambda one: gone.get(one.name, ""))
    monkeypatch.setattr(jobs.away, "_tell", lambda repositories, told: None)
    return gone


def test_check_of_a_repository_that_is_away_still_proves_the_local_archive(container, away):
    away["disk"] = "disk does not answer"
    jobs.check(container.repositories)
    assert "pgbackrest check" not in container.asked
    assert any("create_restore_point('check')" in sql for _, sql in container.said)
    container.archives = False
    shutil.rmtree(paths.POSTGRES)
    with pytest.raises(JobError, match="did not reach the repository"):
        jobs.check(container.repositories)


def test_verify_reads_both_parts_of_every_repository(container):
    made(container)
    container.asked.clear()
    jobs.verify(container.repositories, Progress())
    assert [what for what in container.asked if "verify" in what or "check" in what] == [
        "pgbackrest verify 1", "restic check 1", "pgbackrest verify 2", "restic check 2",
    ]  # fmt: skip
    assert "restic unlock 1" in container.asked


@pytest.fixture
def sound(monkeypatch) -> list[str]:
    """Lists that are damaged; none at first."""
    damaged: list[str] = []
    monkeypatch.setattr(lists, "faults", lambda repository: damaged)
    return damaged


def test_faults_of_every_part_are_told_together(container, sound):
    made(container)
    container.fails = {"pgbackrest verify 1": CommandError("pg 1"), "restic check 2": CommandError("files 2", 1, "torn pack")}
    with pytest.raises(JobError) as raised:
        jobs.verify(container.repositories, Progress())
    assert str(raised.value) == "pg 1; repository disk is damaged: torn pack"
    sound.append("backup.info is damaged")
    container.fails = {}
    with pytest.raises(JobError, match=r"^repository local is damaged: backup\.info is damaged; repository disk is"):
        jobs.verify(container.repositories, Progress())


def test_what_pgbackrest_only_counts_is_named(container, sound):
    made(container)
    container.fails = {
        "pgbackrest verify 1": CommandError("other: 1"), "pgbackrest repo-get 1": CommandError("cannot be decrypted")
    }  # fmt: skip
    with pytest.raises(JobError, match=f"other: 1; unreadable WAL: {SEGMENTS[0]}"):
        jobs.verify(container.repositories[:1], Progress())
    assert not paths.SCRATCH.exists()


def test_repository_without_files_yet_has_nothing_to_verify(container, sound):
    jobs.verify(container.repositories, Progress())
    assert "restic check 1" not in container.asked
    container.held[LOCAL].created = True
    container.fails["restic unlock 1"] = CommandError("wrong key", 12)
    with pytest.raises(JobError, match="wrong key"):
        jobs.verify(container.repositories, Progress())


def test_repository_that_is_away_is_put_off_and_hides_no_damage(container, away, sound):
    made(container)
    away["disk"] = "disk does not answer"
    with pytest.raises(Unreached, match="disk does not answer"):
        jobs.verify(container.repositories, Progress())
    container.fails["restic check 1"] = CommandError("x", 1, "torn pack")
    with pytest.raises(JobError, match=r"^repository local is damaged: torn pack; disk does not answer$") as raised:
        jobs.verify(container.repositories, Progress())
    assert not isinstance(raised.value, Unreached)


def test_repository_that_goes_away_meanwhile_is_not_damaged(container, away, sound):
    made(container)

    def goes() -> None:
        away["disk"] = "disk does not answer"
        raise CommandError("broken pipe")

    container.fails["pgbackrest verify 2"] = goes
    with pytest.raises(Unreached, match=r"^disk does not answer$"):
        jobs.verify(container.repositories, Progress())
    away.clear()
    container.fails["pgbackrest verify 2"] = CommandError("broken pipe")
    with pytest.raises(JobError, match=r"^broken pipe$") as raised:
        jobs.verify(container.repositories, Progress())
    assert not isinstance(raised.value, Unreached)


class Phases(Progress):
    """Keeps what it is told of."""

    def __init__(self) -> None:
        super().__init__()
        self.told: list[tuple[str, str]] = []

    def phase(self, name: str, repository: str = "") -> None:
        self.told.append((name, repository))
        super().phase(name, repository)


def test_what_is_read_at_the_moment_is_told(container, sound):
    made(container)
    phases = Phases()
    jobs.verify(container.repositories, phases)
    assert phases.told == [
        ("verify postgres", "local"), ("verify files", "local"),
        ("verify postgres", "disk"), ("verify files", "disk"), ("", ""),
    ]  # fmt: skip
    jobs.make_set("full", container.repositories, phases)
    assert phases.told[-1] == ("expire", "")


def test_set_is_made_without_a_repository_that_is_away(container, away):
    away["disk"] = "disk does not answer"
    assert made(container)["failed"] == {"disk": "disk does not answer"}
    assert "pgbackrest backup 2" not in container.asked


def test_drill_of_a_set_by_its_name_knows_only_those_that_are_there(container):
    made(container)
    with pytest.raises(JobError, match="there is no set 20200101T000000Z; the newest are 2"):
        jobs.prove("20200101T000000Z", "local", container.repositories, Progress())


@pytest.fixture
def closed(container, away, monkeypatch) -> Repository:
    """An append-only repository on another machine. The owner of it may remove what this host may not."""
    where = {"endpoint": "https://s3.test", "bucket": "b"}
    secrets = {"key": "/run/key", "key-secret": "/run/key-secret"}
    made(container)
    container.repositories[1] = Repository("disk", "s3", 2, where, 2, secrets=secrets, append_only=True)
    monkeypatch.setattr(jobs.configuration, "_reached", lambda repositories, *_: " ".join(one.name for one in repositories))

    container.held[DISK].expires = 1
    return container.repositories[1]


OWNER = {"key": "OWNER", "key-secret": "HERS"}


def test_owner_of_an_append_only_repository_makes_it_smaller(container, closed):
    container.asked.clear()
    container.configs.clear()
    done = jobs.expire_elsewhere("disk", OWNER, container.repositories)
    assert list(done) == ["disk"] and done["disk"].startswith("1 backups and ")
    assert "pgbackrest expire 2" in container.asked and "pgbackrest expire 1" not in container.asked
    assert container.configs["expire"] == {str(jobs.configuration.GIVEN_CONF)}
    with pytest.raises(JobError, match="there is no repository tape"):
        jobs.expire_elsewhere("tape", OWNER, container.repositories)


@pytest.mark.parametrize("force", [False, True])
def test_owner_too_removes_the_last_proved_set_by_force_alone(container, closed, monkeypatch, force):
    monkeypatch.setattr(jobs.expiry.catalog, "may_expire", lambda *_: False)
    done = jobs.expire_elsewhere("disk", OWNER, container.repositories, **({"force": True} if force else {}))
    assert done["disk"].endswith("removed") is force
