"""What a job makes of a repository that is away. The tools are the subject elsewhere; here their answers are."""

import pytest
from backup import jobs, pgbackrest, sets, wal
from backup.errors import JobError
from backup.repositories import parse
from test_settings import S3, document

PLACES = parse(document(S3), keep=3)


@pytest.fixture
def told(monkeypatch):
    """Code of `info` by repository; whether `check` fails, and what it was then proved by."""
    answers = {"local": 0, "offsite": 0, "marked": []}

    def fails(name, *options, **more):
        raise JobError("check: exit 82")

    monkeypatch.setattr(sets, "stanzas", lambda places: None)
    monkeypatch.setattr(pgbackrest, "run", fails)
    monkeypatch.setattr(pgbackrest, "info", lambda one, *rest: pgbackrest.Info(code=answers[one.name]))
    monkeypatch.setattr(wal, "mark", answers["marked"].append)
    return answers


def test_check_fails_where_no_repository_is_away(told):
    with pytest.raises(JobError, match="82"):
        jobs.check(PLACES)
    assert told["marked"] == []


def test_check_proves_the_local_archive_while_another_repository_is_away(told):
    told["offsite"] = pgbackrest.UNREACHABLE
    jobs.check(PLACES)
    assert told["marked"] == ["check"]


def test_check_fails_where_the_local_archive_is_what_fails(told, monkeypatch):
    told["offsite"] = pgbackrest.UNREACHABLE

    def late(name):
        raise JobError("the WAL segment did not reach the repository")

    monkeypatch.setattr(wal, "mark", late)
    with pytest.raises(JobError, match="did not reach"):
        jobs.check(PLACES)
