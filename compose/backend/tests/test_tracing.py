"""Spans of a sampled request: their form, their order, and that an unsampled one has none."""

import json

import psycopg
import pytest
from fastapi import FastAPI
from fastapi.testclient import TestClient

from app import tracing

TRACE, PARENT = "0af7651916cd43dd8448eb211c80319c", "b7ad6b7169203331"


@pytest.fixture
def client():
    telemetry = {"tracer_provider": tracing.PROVIDER, "exclude": tracing.excluded, "metrics": False, "logs": False}
    app = FastAPI(telemetry={**telemetry, "operation_spans": False})

    @app.get("/items/{number}")
    async def item(number: int) -> int:
        with tracing._client_span("postgresql", "SELECT items", f"SELECT {'x' * 1000}"):
            if number == 0:
                raise psycopg.errors.UniqueViolation("(sku)=(secret)")
            return number

    return TestClient(app, raise_server_exceptions=False)


def spans(client, capfd, path, flags="01"):
    client.get(path, headers={"traceparent": f"00-{TRACE}-{PARENT}-{flags}"})
    return [json.loads(one) for one in capfd.readouterr().out.splitlines() if one.startswith("{")]


def test_a_sampled_request_has_a_span_and_each_query_one_below_it(client, capfd):
    query, request = spans(client, capfd, "/items/7?token=secret")
    assert request["name"] == "GET /items/{number}" and request["trace_id"] == TRACE and request["parent"] == PARENT
    assert (
        query["trace_id"] == TRACE and query["parent"] == request["span_id"] and query["db.system.name"] == "postgresql"
    )
    assert 0 <= query["duration_ms"] <= request["duration_ms"] and request["start"] <= query["start"]
    assert {query["status"], request["status"]} == {"ok"} and query["kind"] == "span"
    assert len(query["db.query.text"]) == tracing.LONGEST
    assert "secret" not in json.dumps(request), "query strings may carry tokens"


def test_a_failed_query_is_an_error_without_the_values(client, capfd):
    query = spans(client, capfd, "/items/0")[0]
    assert (query["status"], query["level"], query["error.type"]) == ("error", "error", "UniqueViolation")
    assert "secret" not in json.dumps(query)


@pytest.mark.parametrize("flags", ["00", "zz", ""])
def test_an_unsampled_request_has_none(client, capfd, flags):
    assert spans(client, capfd, "/items/7", flags) == []
