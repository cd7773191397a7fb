"""Every error is an RFC 9457 problem document that carries the request id."""

import logging
from collections.abc import Mapping
from http import HTTPStatus
from typing import Any

import psycopg
import psycopg_pool
from fastapi import FastAPI, Request
from fastapi.exceptions import RequestValidationError
from fastapi.responses import JSONResponse
from pydantic import BaseModel, ConfigDict
from starlette.exceptions import HTTPException

from app import logs

MEDIA_TYPE = "application/problem+json"

# OperationalError covers lost connections, statement_timeout and lock_timeout; UndefinedTable: not migrated yet.
_DATABASE_UNAVAILABLE = (
    psycopg_pool.PoolTimeout,
    psycopg_pool.PoolClosed,
    psycopg.OperationalError,
    psycopg.errors.UndefinedTable,
)
_log = logging.getLogger("app.problems")


class FieldProblem(BaseModel):
    field: str
    message: str


class ProblemDocument(BaseModel):
    """What every error is answered with (RFC 9457)."""

    model_config = ConfigDict(title="Problem", extra="allow")

    type: str
    title: str
    status: int
    detail: str
    instance: str | None = None
    request_id: str | None = None
    errors: list[FieldProblem] | None = None


class Problem(Exception):
    """Raised anywhere below a route; becomes the response."""

    def __init__(
        self,
        status: int,
        detail: str,
        *,
        kind: str = "about:blank",
        headers: Mapping[str, str] | None = None,
        **extensions: Any,
    ) -> None:
        super().__init__(detail)
        self.status = status
        self.detail = detail
        self.kind = kind
        self.headers = dict(headers or {})
        self.extensions = extensions


def answers(*statuses: int) -> dict[int | str, dict[str, Any]]:
    """For the OpenAPI document: the errors of a route. 429 and 502 to 504 come from nginx, in the same form."""
    schema = {MEDIA_TYPE: {"schema": {"$ref": f"#/components/schemas/{ProblemDocument.model_config['title']}"}}}
    everywhere = (429, 500, 502, 503, 504)
    return {
        status: {"description": HTTPStatus(status).phrase, "content": schema}
        for status in sorted({*statuses, *everywhere})
    }


def _describe(app: FastAPI) -> None:
    """Add the form of problem documents to the OpenAPI document, in the place of FastAPI's own form of errors."""
    generate = app.openapi

    def openapi() -> dict[str, Any]:
        described = generate()
        schemas = described.setdefault("components", {}).setdefault("schemas", {})
        if "Problem" not in schemas:
            schema = ProblemDocument.model_json_schema(ref_template="#/components/schemas/{model}")
            schemas |= {**schema.pop("$defs", {}), "Problem": schema}
            for unused in ("HTTPValidationError", "ValidationError"):
                schemas.pop(unused, None)
        return described

    app.openapi = openapi  # type: ignore[method-assign]


def document(path: str, problem: Problem) -> dict[str, Any]:
    return {
        "type": problem.kind,
        "title": HTTPStatus(problem.status).phrase,
        "status": problem.status,
        "detail": problem.detail,
        "instance": path,
        "request_id": logs.request_id.get(),
        **problem.extensions,
    }


def response(request: Request, problem: Problem) -> JSONResponse:
    return JSONResponse(
        document(request.url.path, problem),
        status_code=problem.status,
        headers={"Cache-Control": "no-store", **problem.headers},
        media_type=MEDIA_TYPE,
    )


async def on_problem(request: Request, error: Problem) -> JSONResponse:
    return response(request, error)


async def on_http_exception(request: Request, error: HTTPException) -> JSONResponse:
    return response(request, Problem(error.status_code, str(error.detail), headers=error.headers))


async def on_invalid_request(request: Request, error: RequestValidationError) -> JSONResponse:
    # The rejected input itself is left out: it may be large, and it is the caller's anyway.
    errors = [{"field": ".".join(map(str, item["loc"])), "message": item["msg"]} for item in error.errors()]
    return response(request, Problem(422, "The request is not valid.", errors=errors))


async def on_database_unavailable(request: Request, error: Exception) -> JSONResponse:
    fields = {"error": type(error).__name__, "reason": str(error).strip()[:200]}
    _log.warning("database unavailable", extra={"fields": fields})
    return response(request, Problem(503, "The database does not answer in time.", headers={"Retry-After": "2"}))


async def on_unexpected(request: Request, error: Exception) -> JSONResponse:
    return response(request, Problem(500, "An unexpected error; the log has it under this request id."))


def install(app: FastAPI) -> None:
    _describe(app)
    app.add_exception_handler(Problem, on_problem)  # type: ignore[arg-type]
    app.add_exception_handler(HTTPException, on_http_exception)  # type: ignore[arg-type]
    app.add_exception_handler(RequestValidationError, on_invalid_request)  # type: ignore[arg-type]
    for kind in _DATABASE_UNAVAILABLE:
        app.add_exception_handler(kind, on_database_unavailable)
    app.add_exception_handler(Exception, on_unexpected)
