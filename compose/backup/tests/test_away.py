"""Servers that do not answer: real sockets are the subject, and what the tools are told."""

import socket
import threading
from contextlib import contextmanager

import pytest
from backup import away, configuration, jobs, pgbackrest, sets, wal
from backup.errors import JobError, Unreached
from backup.progress import Progress
from backup.repositories import parse
from test_configuration import PLACES, READ, TEMPLATE
from test_settings import SFTP, document


@contextmanager
def server(greeting: bytes):
    """Takes connections; says this and nothing more."""
    with socket.create_server(("127.0.0.1", 0)) as listening:

        def serve():
            try:
                connection, _ = listening.accept()
                connection.sendall(greeting)
                ended.wait(10)
                connection.close()
            except OSError:
                pass

        ended = threading.Event()
        threading.Thread(target=serve, daemon=True).start()
        yield listening.getsockname()[1]
        ended.set()


def nas(port: int):
    return parse(document({**SFTP, "where": {**SFTP["where"], "host": "127.0.0.1", "port": port}}), keep=3)[1]


def test_server_that_greets_is_there():
    with server(b"SSH-2.0-OpenSSH_9.2\r\n") as port:
        assert away.greeting(nas(port)) == ""


def test_server_that_is_another_silent_or_not_there_is_away(monkeypatch):
    monkeypatch.setattr(away, "SECONDS", 0.3)
    with server(b"HTTP/1.0 400\r\n") as port:
        assert "no SSH server" in away.greeting(nas(port))
    with server(b"") as port:
        assert "timed out" in away.greeting(nas(port))
    assert "refused" in away.greeting(nas(port))


def test_failure_without_a_text_is_named_by_its_kind(monkeypatch):
    def fail(_):
        raise ConnectionAbortedError

    monkeypatch.setattr(away, "_ssh", fail)
    assert away.greeting(nas(22)) == "nas does not answer: ConnectionAbortedError"


def test_tools_are_told_once_when_one_goes_and_once_when_it_comes(monkeypatch):
    said, answers = [], {"nas": "nas does not answer", "offsite": ""}
    monkeypatch.setattr(configuration, "told_away", lambda: sorted(said[-1]) if said else [])
    monkeypatch.setattr(away, "greeting", lambda one: answers[one.name])
    monkeypatch.setattr(configuration, "write", lambda places, gone: said.append(gone))

    here, gone = away.split(PLACES)
    away.split(PLACES)
    assert [one.name for one in here] == ["local", "offsite", "disk"]
    assert gone == {"nas": "nas does not answer"}
    answers["nas"] = ""
    assert away.split(PLACES) == (list(PLACES), {})
    assert said == [frozenset({"nas"}), frozenset()]


def test_one_that_is_away_keeps_its_number_and_is_asked_nothing():
    lines = configuration.pgbackrest(TEMPLATE, PLACES, READ, frozenset({"offsite"})).splitlines()

    assert "repo2-type=posix" in lines and "repo2-path=/dev/null/offsite" in lines
    assert not [line for line in lines if line.startswith("repo2-s3")]
    assert "repo3-type=sftp" in lines


def test_two_that_are_away_have_two_places():
    """pgBackRest takes no two repositories in one place: with such a file even the local archive ends."""
    lines = configuration.pgbackrest(TEMPLATE, PLACES, READ, frozenset({"offsite", "nas"})).splitlines()
    paths = [line.partition("=")[2] for line in lines if "-path=" in line and line.startswith("repo")]
    assert len(paths) == len(set(paths)) == len(PLACES)


@pytest.fixture
def checked(monkeypatch):
    """How the archive was checked; `away` names who does not answer."""
    found = {"by": [], "away": {}}
    monkeypatch.setattr(away, "split", lambda places: ([one for one in places if one.name not in found["away"]], found["away"]))
    monkeypatch.setattr(jobs.keys, "settle", lambda places: None)
    monkeypatch.setattr(sets, "stanzas", lambda places: found["by"].append([one.name for one in places]))
    monkeypatch.setattr(pgbackrest, "run", lambda name: found["by"].append("pgbackrest"))
    monkeypatch.setattr(wal, "mark", lambda name: found["by"].append("mark"))
    return found


def test_check_asks_all_where_all_answer(checked):
    jobs.check(PLACES)
    assert checked["by"] == [["local", "offsite", "nas", "disk"], "pgbackrest"]


def test_check_proves_the_local_archive_while_another_repository_is_away(checked, monkeypatch):
    checked["away"] = {"nas": "nas does not answer"}
    jobs.check(PLACES)
    assert checked["by"] == [["local", "offsite", "disk"], "mark"]

    def late(name):
        raise JobError("the WAL segment did not reach the repository")

    monkeypatch.setattr(wal, "mark", late)
    with pytest.raises(JobError, match="did not reach"):
        jobs.check(PLACES)


@pytest.fixture
def reading(monkeypatch):
    """Repositories are read without a fault, unless `faults` has one of them; `away` names who does not answer."""
    found = {"read": [], "faults": {}, "away": {}, "goes": {}}

    def tool(one):
        found["read"].append(one.name)
        found["away"] |= found["goes"]
        if one.name in found["faults"]:
            raise JobError(found["faults"][one.name])

    monkeypatch.setattr(
        away, "split", lambda places: ([one for one in places if one.name not in found["away"]], dict(found["away"]))
    )
    monkeypatch.setattr(away, "greeting", lambda one: found["away"].get(one.name, ""))
    monkeypatch.setattr(jobs, "_check_postgres", tool)
    monkeypatch.setattr(jobs, "_check_files", tool)
    return found


def test_one_that_is_away_is_put_off_and_the_others_are_read(reading):
    reading["away"] = {"nas": "nas does not answer"}
    with pytest.raises(Unreached, match="nas does not answer"):
        jobs.verify(PLACES[1:], Progress())
    assert set(reading["read"]) == {"offsite", "disk"}


def test_what_the_tools_say_of_one_that_goes_away_meanwhile_is_no_damage(reading):
    reading["goes"], reading["faults"] = {"nas": "nas does not answer"}, {"nas": "timeout after 60000ms"}
    with pytest.raises(Unreached, match=r"^nas does not answer$"):
        jobs.verify([PLACES[2]], Progress())


def test_damage_is_told_whoever_else_is_away(reading):
    reading["away"], reading["faults"] = {"nas": "nas does not answer"}, {"offsite": "missing: 64"}
    with pytest.raises(JobError, match="missing: 64; missing: 64; nas does not answer") as told:
        jobs.verify(PLACES[1:], Progress())
    assert not isinstance(told.value, Unreached)


@pytest.mark.parametrize(("failure", "kept"), [(Unreached("nas"), {"unreached": "nas"}), (JobError("torn"), {"error": "torn"})])
def test_a_job_by_hand_says_why_not_and_the_journal_which_of_the_two(monkeypatch, tmp_path, failure, kept):
    said = {}

    def do():
        raise failure

    monkeypatch.setattr(jobs, "LOCK", tmp_path / "lock")
    monkeypatch.setattr(jobs, "VOLUME", tmp_path)
    monkeypatch.setattr(jobs, "clean", lambda: None)
    monkeypatch.setattr(jobs.journal, "record", lambda job, *, seconds, **how: said.update(how))
    assert jobs.run("verify-remote", do) == (str(failure), None)
    assert {key: text for key, text in said.items() if text} == kept
