"""Records of the log store -> the spans of one request in the order of time, each with its depth. Pure."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

from ops.logs.query import in_utc

TRACE_ID = re.compile(r"[0-9a-f]{32}")
SERVER_ERROR = 500
BAR = 24
"""Columns of the terminal that stand for the whole request."""
Row = Mapping[str, Any]


@dataclass(frozen=True)
class Span:
    """One operation of a service.

    start: seconds since the epoch. duration: milliseconds. detail: what it did, such as a statement.
    """

    id: str
    parent: str
    service: str
    name: str
    start: float
    duration: float
    status: str
    failed: bool
    depth: int = 0
    detail: str = ""


@dataclass(frozen=True)
class Trace:
    id: str
    spans: tuple[Span, ...]
    lines: tuple[Row, ...]
    sampled: bool

    @property
    def start(self) -> float:
        return self.spans[0].start if self.spans else 0.0

    @property
    def duration(self) -> float:
        """Milliseconds from the first start to the last end."""
        return max((one.start - self.start) * 1000 + one.duration for one in self.spans) if self.spans else 0.0


def of_trace(trace_id: str) -> str:
    """LogsQL: all records of a trace. PostgreSQL's lines have the id within their text."""
    return f'trace_id:="{trace_id}" or request_id:="{trace_id}" or "{trace_id}"'


def listed(since: datetime, *, failed: bool, slower: float | None, limit: int) -> str:
    """LogsQL: access log lines of traced requests, the newest first.

    slower: only requests that took more seconds than that.
    """
    parts = [f"_time:>={in_utc(since)}", 'service:="nginx"', 'trace_flags:="01"']
    if failed:
        parts.append(f"status:>={SERVER_ERROR}")
    if slower is not None:
        parts.append(f"request_time:>{slower}")
    return f"{' '.join(parts)} | sort by (_time desc) limit {limit}"


def trace_of(trace_id: str, rows: Iterable[Row]) -> Trace:
    """The trace that records make.

    nginx' span is its access log line. A service without spans, as where the request was not sampled, has its own line about
    the request, if that names a duration.
    """
    spans, lines, measured = [], [], []
    for row in rows:
        if row.get("kind") == "span":
            spans.append(_recorded(row))
        elif row.get("service") == "nginx" and row.get("request_time"):
            spans.append(_edge(trace_id, row))
        else:
            lines.append(row)
            if row.get("duration_ms"):
                measured.append(_logged(trace_id, row))
    sampled = any(one.id != _edge_id(trace_id) for one in spans)
    known = {one.service for one in spans}
    spans += [one for one in measured if one.service not in known]
    return Trace(trace_id, tuple(_ordered(spans)), tuple(sorted(lines, key=lambda row: str(row["_time"]))), sampled)


def _edge_id(trace_id: str) -> str:
    """As config/nginx/tracing.conf makes it."""
    return trace_id[:16]


def _instance(row: Row) -> str:
    return f"{row.get('service', '')}-{row['replica']}" if row.get("replica") else str(row.get("service", ""))


def _recorded(row: Row) -> Span:
    detail = row.get("db.query.text") or row.get("db.statement") or row.get("code.function.name") or row.get("url.path") or ""
    status = str(row.get("http.response.status_code") or row.get("error.type") or row.get("status", ""))
    return Span(
        str(row["span_id"]), str(row.get("parent", "")), _instance(row), str(row.get("name", "")), moment(str(row["start"])),
        float(row.get("duration_ms", 0)), status, row.get("status") == "error", detail=str(detail),
    )  # fmt: skip


def _edge(trace_id: str, row: Row) -> Span:
    seconds, status = float(row["request_time"]), str(row.get("status", ""))
    return Span(
        _edge_id(trace_id), "", "nginx", f"{row.get('method', '')} {row.get('path', '')}",
        moment(str(row.get("time") or row["_time"])) - seconds, seconds * 1000, status,
        status.isdigit() and int(status) >= SERVER_ERROR, detail=f"upstream {row.get('upstream_time') or 'none'} s",
    )  # fmt: skip


def _logged(trace_id: str, row: Row) -> Span:
    duration, status = float(row["duration_ms"]), str(row.get("status", ""))
    return Span(
        "", _edge_id(trace_id), _instance(row), f"{row.get('method', '')} {row.get('path', '')}",
        moment(str(row["_time"])) - duration / 1000, duration, status, status.isdigit() and int(status) >= SERVER_ERROR,
    )  # fmt: skip


def moment(stamp: str) -> float:
    """Seconds since the epoch; of a stamp without a zone, in UTC. Of the nine digits that Go and Java write, six count."""
    found = datetime.fromisoformat(stamp)
    return (found if found.tzinfo else found.replace(tzinfo=UTC)).timestamp()


def _ordered(spans: list[Span]) -> Iterator[Span]:
    """Each span before those that it has called; what has no parent here is at the top."""
    ids = {one.id for one in spans if one.id}
    below: dict[str, list[Span]] = {}
    for one in sorted(spans, key=lambda span: span.start):
        below.setdefault(one.parent if one.parent in ids and one.parent != one.id else "", []).append(one)

    def walk(parent: str, depth: int) -> Iterator[Span]:
        for one in below.pop(parent, ()):
            yield Span(**{**vars(one), "depth": depth})
            if one.id:
                yield from walk(one.id, depth + 1)

    yield from walk("", 0)


def bar(span: Span, trace: Trace) -> str:
    """When a span ran within the whole request, in BAR columns."""
    whole = trace.duration or 1.0
    begin = min(BAR - 1, int((span.start - trace.start) * 1000 / whole * BAR))
    length = max(1, min(BAR - begin, round(span.duration / whole * BAR)))
    return " " * max(0, begin) + "█" * length
