"""The assembled application with every neighbour away: it starts, explains itself and refuses politely."""

import json
import logging
import re

import pytest
from fastapi.testclient import TestClient
from prometheus_client import CollectorRegistry

from app import logs, main, metrics
from app.middleware import RequestContext
from app.settings import Settings, SettingsError

SCRAPED = metrics.REGISTRY


@pytest.fixture
def settings(tmp_path):
    (tmp_path / "postgres-app").write_text("canary-postgres\n")
    (tmp_path / "redis-app").write_text("canary-redis\n")
    nowhere = {"CC03_DATABASE_HOST": "127.0.0.1", "CC03_DATABASE_PORT": "1", "CC03_REDIS_HOST": "127.0.0.1"}
    realm = {"CC03_ISSUER": "https://example.test", "CC03_JWKS_URL": "http://127.0.0.1:1/"}
    return Settings.load({**nowhere, **realm, "CC03_REDIS_PORT": "1"}, tmp_path)


@pytest.fixture
def client(settings, tls, monkeypatch):
    monkeypatch.setattr(metrics, "REGISTRY", CollectorRegistry())
    with TestClient(RequestContext(main.create_app(settings, tls))) as client:
        yield client


def test_secrets_do_not_show(settings):
    assert "canary" not in repr(settings) and "[REDACTED]" in repr(settings)


@pytest.mark.parametrize(
    ("environ", "named"),
    [
        ({}, "CC03_ISSUER"),
        ({"CC03_DATABASE_POOL_MAX": "many"}, "CC03_DATABASE_POOL_MAX"),
        ({"CC03_DATABASE_POOL_MAX": "500"}, "CC03_DATABASE_POOL_MAX"),
        ({"CC03_LOG_LEVEL": "loud"}, "CC03_LOG_LEVEL"),
    ],
)
def test_a_wrong_setting_is_named(tmp_path, environ, named):
    realm = {"CC03_ISSUER": "https://example.test", "CC03_JWKS_URL": "http://127.0.0.1:1/"} if environ else {}
    for name in ("postgres-app", "redis-app"):
        (tmp_path / name).write_text("x")
    with pytest.raises(SettingsError, match=named):
        Settings.load({**realm, **environ}, tmp_path)


def test_alive_but_not_ready_while_the_neighbours_are_away(client):
    assert client.get("/api/v1/health/live").status_code == 200
    answer = client.get("/api/v1/health/ready")
    assert answer.status_code == 503
    assert answer.json()["checks"]["redis"] == "down"


def test_metrics_say_which_dependencies_it_lacks(client):
    assert client.get("/metrics").status_code == 200
    for name in ("postgres", "realm_keys", "redis"):
        assert SCRAPED.get_sample_value("dependency_up", {"dependency": name}) == 0


def test_no_token_is_a_problem_with_a_challenge_and_the_request_id(client):
    answer = client.get("/api/v1/items", headers={"X-Request-ID": "test-request-1"})
    assert answer.status_code == 401
    assert answer.headers["content-type"] == "application/problem+json"
    assert answer.headers["www-authenticate"] == 'Bearer realm="cc03"'
    assert answer.headers["x-request-id"] == answer.json()["request_id"] == "test-request-1"


def test_unknown_paths_and_methods_are_problems_too(client):
    for method, path, status in (("GET", "/api/v1/nothing", 404), ("PATCH", "/api/v1/items", 405)):
        answer = client.request(method, path)
        assert (answer.status_code, answer.json()["status"]) == (status, status)


def test_a_large_body_is_refused_before_it_is_read(client):
    answer = client.post("/api/v1/items", content=b"x" * 70_000)
    assert (answer.status_code, answer.json()["status"]) == (413, 413)


def test_the_document_describes_every_route(client):
    paths = client.get("/api/v1/openapi.json").json()["paths"]
    assert {"/api/v1/items", "/api/v1/items/{item_id}", "/api/v1/me"} <= paths.keys() and "/metrics" not in paths


@pytest.mark.parametrize(
    "message",
    [
        '{"type":"hello"}',
        '{"type":"auth","token":"\\ud800"}',
        '{"type":"auth","token":"a.b.c"}',
        '{"type":"auth","token":7}',
        "[" * 16000,
        "",
        b"\x00\xff",
    ],
    ids=["no token", "surrogate", "no JWT", "number", "nested", "empty", "bytes"],
)
def test_a_websocket_without_a_token_is_closed(client, caplog, message):
    with client.websocket_connect("/api/v1/ws") as socket:
        (socket.send_bytes if isinstance(message, bytes) else socket.send_text)(message)
        assert socket.receive()["code"] == 4401
    assert not [record for record in caplog.records if record.exc_info]


def test_log_lines_are_json_and_drop_forbidden_fields():
    record = logging.LogRecord("app", logging.INFO, "", 0, "m\n%s", ("x",), None)
    record.fields = {"status": 200, "Authorization": "Bearer canary"}
    text = logs.JsonFormatter().format(record)
    assert "canary" not in text and "\n" not in text and json.loads(text)["status"] == 200


def test_line_of_a_request_says_what_was_asked_and_how_it_ended(client, caplog):
    with caplog.at_level("INFO", logger="app.request"):
        client.get("/api/v1/items?q=secret")

    (said,) = [record.getMessage() for record in caplog.records if record.name == "app.request"]
    assert re.fullmatch(r"GET /api/v1/items 401 \d+\.\d ms", said)
