"""What the prober asks: without a token, bounded, and sent elsewhere when the replica stops."""

import asyncio

import pytest
from fastapi.testclient import TestClient
from prometheus_client import CollectorRegistry

from app import main, metrics, probe
from app.middleware import RequestContext
from app.settings import Settings


class Pool:
    """Stands in for PostgreSQL: remembers what was executed, counts attempts by key."""

    def __init__(self):
        self.executed = []
        self.attempts = {}

    async def open(self, wait):
        pass

    async def close(self, timeout):
        pass

    def connection(self, timeout=None):
        return self

    async def __aenter__(self):
        return self

    async def __aexit__(self, *_):
        pass

    async def execute(self, statement, parameters=None):
        self.executed.append(statement)
        if parameters:
            key = parameters["key"]
            self.attempts[key] = self.last = self.attempts.get(key, 0) + 1
        return self

    async def fetchone(self):
        return {"attempts": self.last}


@pytest.fixture
def app(tmp_path, tls, monkeypatch):
    monkeypatch.setattr(metrics, "REGISTRY", CollectorRegistry())
    for name in ("postgres-app", "redis-app"):
        (tmp_path / name).write_text("x")
    realm = {"CC03_ISSUER": "https://example.test", "CC03_JWKS_URL": "http://127.0.0.1:1/"}
    nowhere = {"CC03_REDIS_HOST": "127.0.0.1", "CC03_REDIS_PORT": "1", "CC03_RELEASE": "r7"}
    made = main.create_app(Settings.load({**realm, **nowhere}, tmp_path), tls)
    made.state.pool = Pool()
    return made


@pytest.fixture
def client(app):
    with TestClient(RequestContext(app)) as client:
        yield client


def test_a_question_makes_one_round_trip_and_tells_the_release(app, client):
    answer = client.get(probe.PATH)
    assert (answer.status_code, answer.json()) == (200, {"release": "r7"})
    assert answer.headers["Cache-Control"] == "no-store"
    assert app.state.pool.executed == ["SELECT 1"]


def test_a_repeated_key_is_counted(client):
    answers = [client.post(probe.PATH, headers={"Idempotency-Key": key}) for key in ("a", "b", "a")]
    assert [answer.status_code for answer in answers] == [201, 201, 201]
    assert [answer.json() for answer in answers] == [
        {"key": "a", "attempts": 1},
        {"key": "b", "attempts": 1},
        {"key": "a", "attempts": 2},
    ]


@pytest.mark.parametrize("headers", [{}, {"Idempotency-Key": "x" * 65}, {"Idempotency-Key": "a b"}])
def test_a_write_without_a_usable_key_is_refused(app, client, headers):
    assert client.post(probe.PATH, headers=headers).status_code == 400
    assert app.state.pool.executed == []


def test_a_download_declares_its_length_and_keeps_it(app, client, monkeypatch):
    monkeypatch.setattr(probe, "PIECES_A_SECOND", 80)
    answer = client.get(f"{probe.PATH}/slow?seconds=1")
    assert (answer.status_code, int(answer.headers["Content-Length"])) == (200, len(answer.content))
    assert len(answer.content) == 80 * len(probe.PIECE)
    assert answer.headers["Connection"] == "close"
    assert app.state.probes.downloads == 0


@pytest.mark.parametrize("seconds", ["0", "61", "x"])
def test_a_download_has_a_longest_time(client, seconds):
    assert client.get(f"{probe.PATH}/slow?seconds={seconds}").status_code == 422


def test_one_download_too_many_is_put_off(app, client):
    app.state.probes.downloads = probe.DOWNLOADS
    assert client.get(f"{probe.PATH}/slow").status_code == 429


def test_a_download_is_not_among_the_latencies(client, monkeypatch):
    monkeypatch.setattr(probe, "PIECES_A_SECOND", 80)
    seen = []
    monkeypatch.setattr(metrics, "observe_request", lambda *of: seen.append(of))
    client.get(f"{probe.PATH}/slow?seconds=1")
    client.get(probe.PATH)
    assert [(route, seconds is None) for _, route, _, seconds in seen] == [
        (f"{probe.PATH}/slow", True),
        (probe.PATH, False),
    ]


def test_a_socket_echoes_and_is_told_to_go_elsewhere(app, client):
    with client.websocket_connect(f"{probe.PATH}/ws") as socket:
        socket.send_text("1")
        assert socket.receive_text() == "1"
        client.portal.call(app.state.probes.drain)
        assert socket.receive()["code"] == 1012
    with client.websocket_connect(f"{probe.PATH}/ws") as late:
        assert late.receive()["code"] == 1012


def test_a_socket_is_closed_to_be_opened_again(app, client):
    with client.websocket_connect(f"{probe.PATH}/ws") as socket:
        client.portal.call(app.state.probes.reconnect)
        assert socket.receive()["code"] == 1012
    with client.websocket_connect(f"{probe.PATH}/ws") as again:
        again.send_text("1")
        assert again.receive_text() == "1"


def test_sockets_are_few():
    async def fill():
        probes = probe.Probes()
        admitted = [probes.admit() for _ in range(probe.SOCKETS + 1)]
        probes.leave(admitted[0])
        return admitted[-1], probes.admit()

    refused, admitted = asyncio.run(fill())
    assert refused == 1013 and not isinstance(admitted, int)


def test_it_is_not_part_of_the_described_api(client):
    assert not [path for path in client.get("/api/v1/openapi.json").json()["paths"] if "probe" in path]
