"""Spans of requests that nginx has sampled: each one JSON line on standard output, where the log collector takes it up.

FastAPI makes the spans of requests by its own telemetry (main.py); those of PostgreSQL and Redis are made here. A request that is
not sampled costs one look at a header.
"""

import json
import re
import sys
from collections.abc import Iterator, MutableMapping, Sequence
from contextlib import contextmanager
from datetime import UTC, datetime
from typing import Any

import psycopg
import redis.asyncio as redis
from opentelemetry import trace
from opentelemetry.sdk.resources import Resource
from opentelemetry.sdk.trace import ReadableSpan, SpanLimits, TracerProvider
from opentelemetry.sdk.trace.export import SimpleSpanProcessor, SpanExporter, SpanExportResult
from opentelemetry.sdk.trace.sampling import ALWAYS_OFF, ParentBased
from opentelemetry.trace import SpanKind, StatusCode
from psycopg import sql

# Nothing else: query strings may carry tokens.
ATTRIBUTES = (
    "http.request.method",
    "http.route",
    "url.path",
    "http.response.status_code",
    "code.function.name",
    "db.system.name",
    "db.query.text",
    "error.type",
)
LONGEST = 500
_SAMPLED = re.compile(rb"00-[0-9a-f]{32}-[0-9a-f]{16}-01")
_TABLE = re.compile(r"\b(?:FROM|INTO|UPDATE)\s+([a-z_]+)")


class Lines(SpanExporter):
    def export(self, spans: Sequence[ReadableSpan]) -> SpanExportResult:
        sys.stdout.write("".join(json.dumps(line(span), ensure_ascii=False) + "\n" for span in spans))
        sys.stdout.flush()
        return SpanExportResult.SUCCESS


def line(span: ReadableSpan) -> dict[str, Any]:
    """A span in the form in which all services write it (compose/keycloak/spans/SpanLines.java)."""
    context, start, end = span.get_span_context(), span.start_time or 0, span.end_time or 0
    assert context is not None
    failed = span.status.status_code is StatusCode.ERROR
    attributes = span.attributes or {}
    return {
        **{name: attributes[name] for name in ATTRIBUTES if name in attributes},
        "kind": "span",
        "level": "error" if failed else "info",
        "message": span.name,
        "name": span.name,
        "trace_id": f"{context.trace_id:032x}",
        "span_id": f"{context.span_id:016x}",
        "parent": f"{span.parent.span_id:016x}" if span.parent else "",
        "start": datetime.fromtimestamp(start / 1e9, UTC).isoformat(timespec="microseconds").replace("+00:00", "Z"),
        "duration_ms": round((end - start) / 1e6, 3),
        "status": "error" if failed else "ok",
    }


def _provider(exporter: SpanExporter) -> TracerProvider:
    limits = SpanLimits(max_span_attributes=24, max_span_attribute_length=LONGEST, max_events=1, max_links=1)
    provider = TracerProvider(
        # Nobody begins a trace here.
        sampler=ParentBased(ALWAYS_OFF),
        resource=Resource.get_empty(),
        shutdown_on_exit=False,
        span_limits=limits,
    )
    provider.add_span_processor(SimpleSpanProcessor(exporter))
    return provider


PROVIDER = _provider(Lines())
_tracer = PROVIDER.get_tracer("app")


def excluded(scope: MutableMapping[str, Any]) -> bool:
    """Whether a request is not sampled. A WebSocket is no request that ends."""
    if scope["type"] != "http":
        return True
    return not any(name == b"traceparent" and _SAMPLED.fullmatch(value) for name, value in scope["headers"])


@contextmanager
def _client_span(system: str, name: str, text: str = "") -> Iterator[trace.Span]:
    attributes = {"db.system.name": system, **({"db.query.text": text} if text else {})}
    with _tracer.start_as_current_span(
        name, kind=SpanKind.CLIENT, attributes=attributes, record_exception=False
    ) as span:
        try:
            yield span
        except Exception as error:
            span.set_attribute("error.type", type(error).__name__)
            raise


def _recording() -> bool:
    return trace.get_current_span().is_recording()


class Cursor(psycopg.AsyncCursor[Any]):
    """Makes a span of each statement, and tells PostgreSQL the trace (https://google.github.io/sqlcommenter): its log lines have it."""

    async def execute(self, query: Any, params: Any = None, **options: Any) -> "Cursor":  # type: ignore[override]
        if not _recording():
            return await super().execute(query, params, **options)
        text = " ".join((query.as_string(self) if isinstance(query, sql.Composable) else query).split())
        table = _TABLE.search(text)
        # The pool tries a connection by an empty statement before it is used.
        name = " ".join((text.split(" ", 1)[0], table[1] if table else "")).strip() or "connection check"
        with _client_span("postgresql", name, text) as span:
            context = span.get_span_context()
            told = f" /*traceparent='00-{context.trace_id:032x}-{context.span_id:016x}-01'*/" if text else ""
            return await super().execute(text + told, params, **options)


class Redis(redis.Redis):
    async def execute_command(self, *args: Any, **options: Any) -> Any:
        if not _recording():
            return await super().execute_command(*args, **options)
        with _client_span("redis", str(args[0])):
            return await super().execute_command(*args, **options)
