"""The outermost layer, plain ASGI (BaseHTTPMiddleware would cost a task per request): request id, log line, metrics."""

import asyncio
import logging
import re
import time
import uuid

from starlette.requests import Request
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from app import logs, metrics, problems

_log = logging.getLogger("app.request")
_VALID_ID = re.compile(rb"[A-Za-z0-9._-]{8,64}")
# Asked every few seconds by machines; health.py logs readiness when it changes.
_QUIET = frozenset({"/metrics", "/api/v1/health/live", "/api/v1/health/ready"})
# Asked twenty times a second during a deploy: only what went wrong is worth a line.
_QUIET_WHEN_WELL = frozenset({"/api/v1/probe", "/api/v1/probe/slow"})
# Takes as long as its caller asks for: among the latencies it would look like a fault.
_SLOW_ON_PURPOSE = "/api/v1/probe/slow"
# Nothing past this point was sent: the client went away first (nginx's convention).
CLIENT_CLOSED = 499
MAX_BODY = 64 * 1024

_METHODS = frozenset({"GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS"})
_TOO_LARGE = problems.Problem(413, f"The body is larger than {MAX_BODY} bytes.", headers={"Connection": "close"})


def accept_request_id(value: bytes) -> str:
    """The caller's id if it is harmless in logs and headers, else a new one."""
    return value.decode() if _VALID_ID.fullmatch(value) else uuid.uuid4().hex


class RequestContext:
    def __init__(self, app: ASGIApp) -> None:
        self.app = app
        # While draining every response closes its connection, so that the proxy's idle ones are gone before we are.
        self.draining = False

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] == "lifespan":
            await self.app(scope, receive, send)
            return
        supplied = next((value for name, value in scope["headers"] if name == b"x-request-id"), b"")
        request_id = accept_request_id(supplied)
        logs.request_id.set(request_id)
        if scope["type"] == "http":
            await self._http(scope, receive, send, request_id)
        else:
            await self.app(scope, receive, send)

    async def _http(self, scope: Scope, receive: Receive, send: Send, request_id: str) -> None:
        status = CLIENT_CLOSED
        started = time.perf_counter()

        async def send_with_id(message: Message) -> None:
            nonlocal status
            if message["type"] == "http.response.start":
                status = message["status"]
                headers = message.setdefault("headers", [])
                headers.append((b"x-request-id", request_id.encode()))
                if self.draining:
                    headers.append((b"connection", b"close"))
            await send(message)

        metrics.IN_FLIGHT.inc()
        try:
            if _declared_length(scope) > MAX_BODY:
                await problems.response(Request(scope), _TOO_LARGE)(scope, receive, send_with_id)
            else:
                await self.app(scope, receive, send_with_id)
        except asyncio.CancelledError:
            raise
        except Exception:
            # The 500 has been sent by the exception handler; this line is the only trace of the cause.
            _log.exception("unhandled error")
        finally:
            metrics.IN_FLIGHT.dec()
            self._record(scope, status, time.perf_counter() - started)

    @staticmethod
    def _record(scope: Scope, status: int, seconds: float) -> None:
        # By template, never by path: ids in labels would make a series for each item. Unmatched paths share one.
        route = getattr(scope.get("route"), "path_format", "unmatched")
        method = scope["method"] if scope["method"] in _METHODS else "OTHER"
        metrics.observe_request(method, route, status, None if route == _SLOW_ON_PURPOSE else seconds)
        if scope["path"] in _QUIET or (scope["path"] in _QUIET_WHEN_WELL and status < 400):
            return
        milliseconds = round(seconds * 1000, 2)
        fields = {
            "method": scope["method"],
            "path": scope["path"],
            "status": status,
            "duration_ms": milliseconds,
            "user": scope.get("cc03.subject"),
        }
        said = f"{scope['method']} {scope['path']} {status} {milliseconds:.1f} ms"
        _log.log(logging.WARNING if status >= 500 else logging.INFO, said, extra={"fields": fields})


def _declared_length(scope: Scope) -> int:
    value = next((value for name, value in scope["headers"] if name == b"content-length"), b"0")
    return int(value) if value.isdigit() else 0
