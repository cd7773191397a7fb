"""Liveness: the process. Readiness: can requests be answered. Redis is told but never decides: all works without."""

import asyncio
import logging
import time
from typing import Any

import psycopg
import psycopg_pool
from fastapi import APIRouter, Request
from fastapi.responses import JSONResponse, PlainTextResponse
from prometheus_client import CONTENT_TYPE_LATEST

from app import metrics
from app.database import schema_state

# Public through the proxy: however often it is asked, PostgreSQL is asked once in this time.
REUSE_SECONDS = 1.0

_log = logging.getLogger("app.health")
router = APIRouter()


class Readiness:
    def __init__(self, state: Any) -> None:
        self._state = state
        self._lock = asyncio.Lock()
        self._checked = float("-inf")
        self._postgres = "unknown"
        self._last = ""
        self.draining = False

    async def report(self) -> tuple[int, dict[str, Any]]:
        status, body = await self._judge()
        if body["status"] != self._last:
            self._last = body["status"]
            _log.log(logging.INFO if status == 200 else logging.WARNING, "readiness changed", extra={"fields": body})
        return status, body

    async def measure(self) -> None:
        """Publish the same checks as metrics."""
        _, body = await self._judge()
        for name, found in body["checks"].items():
            metrics.DEPENDENCY_UP.labels(name).set(found == "ok")

    async def _judge(self) -> tuple[int, dict[str, Any]]:
        checks = {
            "postgres": await self._ask_postgres(),
            "realm_keys": "ok" if self._state.keys.available else "not fetched yet",
            "redis": "ok" if self._state.cache.available else "down",
        }
        if self.draining:
            return 503, {"status": "draining", "checks": checks}
        if checks["postgres"] != "ok" or checks["realm_keys"] != "ok":
            return 503, {"status": "unavailable", "checks": checks}
        return 200, {"status": "ok" if checks["redis"] == "ok" else "degraded", "checks": checks}

    async def _ask_postgres(self) -> str:
        async with self._lock:
            if time.monotonic() - self._checked > REUSE_SECONDS:
                try:
                    self._postgres = await schema_state(self._state.pool)
                except (psycopg.Error, psycopg_pool.PoolTimeout) as error:
                    self._postgres = f"down ({type(error).__name__})"
                self._checked = time.monotonic()
        return self._postgres


@router.get("/api/v1/health/live", tags=["health"], summary="The process answers")
async def live() -> JSONResponse:
    return JSONResponse({"status": "ok"}, headers={"Cache-Control": "no-store"})


@router.get("/api/v1/health/ready", tags=["health"], summary="Requests can be answered")
async def ready(request: Request) -> JSONResponse:
    status, body = await request.app.state.readiness.report()
    return JSONResponse(body, status, headers={"Cache-Control": "no-store"})


@router.get("/metrics", include_in_schema=False)
async def scrape(request: Request) -> PlainTextResponse:
    await request.app.state.readiness.measure()
    return PlainTextResponse(metrics.render(), media_type=CONTENT_TYPE_LATEST)
