"""Servers that do not answer: real sockets are the subject, and what the tools are told."""

import socket
import threading
from contextlib import contextmanager

import pytest
from backup import away, configuration, jobs, pgbackrest, sets, wal
from backup.errors import JobError
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

    assert "repo2-type=posix" in lines and "repo2-path=/dev/null/away" in lines
    assert not [line for line in lines if line.startswith("repo2-s3")]
    assert "repo3-type=sftp" in lines


@pytest.fixture
def checked(monkeypatch):
    """How the archive was checked; `away` names who does not answer."""
    found = {"by": [], "away": {}}
    monkeypatch.setattr(away, "split", lambda places: ([one for one in places if one.name not in found["away"]], found["away"]))
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
