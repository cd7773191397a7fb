"""Records of a request become a waterfall: who called whom, when, and what the services did not record."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any

import pytest

from ops.traces.waterfall import BAR, Span, Trace, bar, listed, moment, trace_of

ID = "4bf92f3577b34da6a3ce929d0e0e4736"
EDGE = {
    "_time": "2026-01-31T12:00:00.500Z", "time": "2026-01-31T12:00:00.400+00:00", "service": "nginx", "request_id": ID,
    "request_time": "0.300", "upstream_time": "0.290", "method": "GET", "path": "/api/v1/items", "status": "200",
}  # fmt: skip


def span(number: int, parent: str, start: float, duration: float, **more: Any) -> dict[str, Any]:
    row = {
        "_time": "2026-01-31T12:00:00.500Z", "kind": "span", "service": "backend", "replica": "1", "trace_id": ID,
        "span_id": f"{number:016x}", "parent": parent, "name": f"step {number}", "status": "ok",
        "start": f"2026-01-31T12:00:00.{int(start * 1000):03d}000Z", "duration_ms": str(duration),
    }  # fmt: skip
    return {**row, **more}


def test_each_span_stands_below_the_one_that_called_it() -> None:
    rows = [span(3, f"{1:016x}", 0.3, 20), span(2, f"{1:016x}", 0.2, 50, status="error"), span(1, ID[:16], 0.15, 200), EDGE]
    found = trace_of(ID, rows)
    assert [(one.name, one.depth) for one in found.spans] == [
        ("GET /api/v1/items", 0), ("step 1", 1), ("step 2", 2), ("step 3", 2),
    ]  # fmt: skip
    assert found.sampled and found.duration == pytest.approx(300) and found.spans[2].failed
    assert found.spans[0].start == pytest.approx(moment("2026-01-31T12:00:00.1Z"))


def test_span_whose_parent_is_missing_is_shown() -> None:
    assert [one.depth for one in trace_of(ID, [span(2, "f" * 16, 0.2, 5), EDGE]).spans] == [0, 0]


def test_unsampled_request_has_what_nginx_and_the_backend_wrote_of_it() -> None:
    line = {"_time": "2026-01-31T12:00:00.390Z", "service": "backend", "replica": "2", "request_id": ID, "_msg": "GET",
            "duration_ms": "250", "status": "503", "method": "GET", "path": "/api/v1/items"}  # fmt: skip
    found = trace_of(ID, [line, EDGE])
    assert not found.sampled and [(one.service, one.depth) for one in found.spans] == [("nginx", 0), ("backend-2", 1)]
    assert found.spans[1].failed and len(found.lines) == 1


def test_nothing_found() -> None:
    assert trace_of(ID, []) == Trace(ID, (), (), sampled=False)


@pytest.mark.parametrize(
    ("start", "duration", "expected"),
    [(0.0, 100.0, "█" * BAR), (0.05, 50.0, " " * (BAR // 2) + "█" * (BAR // 2)), (0.1, 0.0, " " * (BAR - 1) + "█")],
)
def test_bar_within_the_request(start: float, duration: float, expected: str) -> None:
    root = Span("a", "", "nginx", "", 0.0, 100.0, "", failed=False)
    one = Span("b", "a", "backend", "", start, duration, "", failed=False)
    assert bar(one, Trace(ID, (root, one), (), sampled=True)) == expected


def test_requests_that_were_traced() -> None:
    found = listed(datetime(2026, 1, 31, 12, tzinfo=UTC), failed=True, slower=0.5, limit=20)
    assert found.startswith('_time:>=2026-01-31T12:00:00Z service:="nginx" trace_flags:="01" status:>=500 request_time:>0.5 |')


def test_times_with_nine_digits() -> None:
    assert moment("2026-01-31T12:00:00.123456789Z") == pytest.approx(1769860800.123456)
