"""Traces: what a sampled request did in each service is found by its id, in a terminal and on the page's API."""

from __future__ import annotations

import json

import pytest

from tests.smoke.accounts import Account
from tests.smoke.live import Live, eventually

REQUESTS = 100
"""With the default share of 10 %, one run in 38,000 has no sampled one among them."""
ARRIVES = 30.0


def sampled(live: Live, path: str, headers: dict[str, str]) -> str:
    """Id of a sampled request among some that are made now."""
    if not live.project.settings.traces.sample:
        pytest.fail("traces.sample is 0: nothing is traced here")
    ids = {live.site.get(path, headers=headers).headers["X-Request-ID"] for _ in range(REQUESTS)}
    found: list[str] = []

    def missing() -> str:
        rows = live.log_lines(f'_time:10m service:="nginx" trace_flags:="01" path:="{path}"', limit=1000)
        found[:] = [row["request_id"] for row in rows if row["request_id"] in ids]
        return "" if found else "no sampled request was found"

    eventually(missing, ARRIVES)
    return found[0]


def spans(live: Live, request: str, service: str) -> list[dict[str, str]]:
    rows: list[dict[str, str]] = []

    def missing() -> str:
        rows[:] = live.log_lines(f'_time:10m kind:="span" trace_id:="{request}" service:="{service}"', limit=1000)
        return "" if any(row["parent"] == request[:16] for row in rows) else f"no span of {service} below that of nginx: {rows}"

    eventually(missing, ARRIVES)
    return rows


def test_way_of_a_request_through_the_backend_to_postgresql(live: Live, viewer: Account) -> None:
    request = sampled(live, "/api/v1/items", viewer.headers)
    found = spans(live, request, "backend")

    top = next(row for row in found if row["parent"] == request[:16])
    queries = [row for row in found if row.get("db.system.name") == "postgresql"]
    assert top["name"] == "GET /api/v1/items" and any(row["name"] == "SELECT items" for row in queries)
    assert {row["parent"] for row in found} - {request[:16]} <= {row["span_id"] for row in found}

    rows = [json.loads(line) for line in live.inv("trace", request, "--json").stdout.splitlines()]
    assert {row["service"].split("-")[0] for row in rows if row.get("kind") == "span"} == {"nginx", "backend"}
    shown = live.inv("trace", request).stdout
    assert "SELECT items" in shown and "GET /api/v1/items" in shown


def test_way_of_a_login_through_keycloak(live: Live) -> None:
    request = sampled(live, "/auth/realms/cc03/.well-known/openid-configuration", {})
    assert all(row["duration_ms"] for row in spans(live, request, "keycloak"))


def test_context_of_a_client_is_not_taken_over(live: Live, viewer: Account) -> None:
    claimed = "deadbeef" * 4
    live.site.get("/api/v1/items", headers={**viewer.headers, "traceparent": f"00-{claimed}-{'1' * 16}-01"})
    other = sampled(live, "/api/v1/items", viewer.headers)
    spans(live, other, "backend")
    assert live.log_lines(f'_time:10m trace_id:="{claimed}"') == []


def test_page_and_the_page_of_the_store_are_served(live: Live) -> None:
    assert "traces.js" in live.ops.get("/traces/").text
    assert live.ops.get("/logs/select/vmui/").status_code == 200
