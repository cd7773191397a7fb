"""The application, put together."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from fastapi import FastAPI

from app import browser_errors, events, health, metrics, probe, problems, tracing, web_vitals
from app.auth import dependencies as auth
from app.auth.jwks import RealmKeys, fetcher
from app.auth.tokens import TokenVerifier
from app.cache import Breaker, ItemCache, create_client
from app.database import create_pool
from app.items import routes as items
from app.items.storage import ItemStore
from app.items.totals import Totals
from app.middleware import MAX_BODY
from app.reports import Reports
from app.settings import Settings
from app.tls import Tls

TITLE = "CC03 inventory"
ROUTERS = (
    items.router,
    auth.router,
    health.router,
    events.router,
    probe.router,
    browser_errors.router,
    web_vitals.router,
)


@asynccontextmanager
async def lifespan(app: FastAPI) -> AsyncIterator[None]:
    """Nothing here waits for a neighbour: the process starts without them and readiness tells who is missing."""
    state = app.state
    await state.pool.open(wait=False)
    background = [asyncio.create_task(run()) for run in (state.keys.run, state.cache.run, state.events.run)]
    yield
    for task in background:
        task.cancel()
    await asyncio.gather(*background, return_exceptions=True)
    await state.redis.aclose()
    await state.pool.close(timeout=5)


def create_app(settings: Settings, tls: Tls) -> FastAPI:
    app = FastAPI(
        title=TITLE,
        version=settings.release,
        lifespan=lifespan,
        openapi_url="/api/v1/openapi.json",
        # Their pages load scripts from a CDN, which the content security policy refuses.
        docs_url=None,
        redoc_url=None,
        redirect_slashes=False,
        # For bodies of undeclared length; declared ones are refused in middleware.py.
        max_body_size=MAX_BODY,
        # Request metrics and logs are our own (middleware.py); unused hooks cost on every request.
        telemetry={
            "tracing": True,
            "tracer_provider": tracing.PROVIDER,
            "exclude": tracing.excluded,
            "operation_spans": True,
            "metrics": False,
            "logs": False,
            "auto_configure": False,
        },
    )
    problems.install(app)
    for router in ROUTERS:
        app.include_router(router)
    attach_state(app, settings, tls)
    return app


def attach_state(app: FastAPI, settings: Settings, tls: Tls) -> None:
    state = app.state
    breaker = Breaker()
    state.pool = create_pool(settings)
    state.redis = create_client(settings, tls)
    # A second over the longest read: see the order described in cache.py.
    barrier = settings.statement_timeout_ms // 1000 + 1
    state.cache = ItemCache(state.redis, breaker, settings.cache_ttl_seconds, barrier)
    state.probes = probe.Probes()
    state.browser_errors = Reports(metrics.BROWSER_ERRORS.labels("dropped"))
    state.web_vitals = Reports()
    state.items = ItemStore(state.pool)
    state.totals = Totals(state.items.count)
    state.events = events.Events(state.redis, breaker, settings.websocket_limit, state.totals.changed)
    state.tokens = TokenVerifier(settings.issuer, settings.audience)
    state.keys = RealmKeys(settings.jwks_url, state.tokens.forget, fetcher(tls))
    state.readiness = health.Readiness(state)
    metrics.REGISTRY.register(metrics.PoolCollector(state.pool))
    metrics.BUILD.labels(settings.release).set(1)
