"""Read-through cache of single items in Redis, behind a circuit breaker: a dead Redis costs neither time nor errors.

Order without locks or scripts: a reader stores only where nothing is (SET NX); a writer, after its commit, puts a short
barrier over the key. A reader that fetched the row before that commit then finds the barrier and cannot store old data.
"""

import asyncio
import logging
from collections.abc import Awaitable, Callable
from typing import Any, TypeVar

import redis.asyncio as redis
from redis.asyncio.retry import Retry
from redis.backoff import NoBackoff
from redis.exceptions import RedisError

from app import metrics, tracing
from app.settings import Settings
from app.tls import Tls

_log = logging.getLogger("app.cache")
T = TypeVar("T")

PREFIX = "app:item:"
BARRIER = b"-"
FAILURES_TO_OPEN = 3
CHECK_SECONDS = 5.0
CHECK_SECONDS_FAILING = 1.0


class CacheUnavailable(Exception):
    """Redis did not answer in time, or is known not to."""


class Breaker:
    """Opens after consecutive failures; closed again by the background check alone, so no request pays for a trial."""

    def __init__(self) -> None:
        self.open = True
        self._failures = 0
        self._reason = ""

    @property
    def failing(self) -> bool:
        return self.open or self._failures > 0

    async def call(self, operation: Callable[[], Awaitable[T]]) -> T:
        if self.open:
            raise CacheUnavailable
        try:
            result = await operation()
        except (TimeoutError, RedisError, OSError) as error:
            self.failed(error)
            raise CacheUnavailable from error
        self._failures = 0
        return result

    def failed(self, error: Exception) -> None:
        self._failures += 1
        # Exactly at the threshold: one line an outage, also when Redis was never there since the start. One more for each other
        # reason: a refused password often follows a connection that was reset.
        if self._failures == FAILURES_TO_OPEN:
            self.open = True
            metrics.CACHE_UP.set(0)
            self._warn(error)
        elif self._failures > FAILURES_TO_OPEN and type(error).__name__ != self._reason:
            self._warn(error)

    def _warn(self, error: Exception) -> None:
        self._reason = type(error).__name__
        reason = f"{self._reason}: {error}"[:200]
        _log.warning("redis does not answer: going on without it", extra={"fields": {"reason": reason}})

    def succeeded(self) -> None:
        self._failures = 0
        if self.open:
            self.open = False
            metrics.CACHE_UP.set(1)
            _log.info("redis answers")


class TlsConnection(redis.Connection):
    """By one context for all, whose certificate can be renewed: the library's own keeps what it has read with each connection."""

    def __init__(self, *, tls: Tls, **options: Any) -> None:
        super().__init__(**options)
        self._tls = tls

    def _connection_arguments(self) -> dict[str, Any]:
        return {**super()._connection_arguments(), "ssl": self._tls.client}


def create_client(settings: Settings, tls: Tls) -> redis.Redis:
    timeout = settings.redis_timeout_ms / 1000
    pool = redis.BlockingConnectionPool(
        connection_class=TlsConnection,
        tls=tls,
        host=settings.redis_host,
        port=settings.redis_port,
        username=settings.redis_user,
        password=settings.redis_password.reveal(),
        socket_timeout=timeout,
        socket_connect_timeout=timeout,
        timeout=timeout,
        max_connections=32,
        # The breaker decides about trying again; the library's default would multiply the time-out.
        retry=Retry(NoBackoff(), 0),
        client_name="cc03-backend",
    )
    return tracing.Redis(connection_pool=pool)


class ItemCache:
    def __init__(self, client: Any, breaker: Breaker, ttl_seconds: int, barrier_seconds: int) -> None:
        self._client = client
        self._breaker = breaker
        self._ttl = ttl_seconds
        # Longer than any read may take (statement_timeout), so that no older read outlives it.
        self._barrier = barrier_seconds

    @property
    def available(self) -> bool:
        return not self._breaker.open

    async def get(self, key: str) -> tuple[bytes | None, str]:
        """The stored bytes, and the outcome: hit, miss or bypass."""
        try:
            found = await self._breaker.call(lambda: self._client.get(PREFIX + key))
        except CacheUnavailable:
            outcome, found = "bypass", None
        else:
            if found == BARRIER:
                found = None
            outcome = "miss" if found is None else "hit"
        metrics.CACHE.labels(outcome).inc()
        return found, outcome

    async def offer(self, key: str, value: bytes) -> None:
        try:
            await self._breaker.call(lambda: self._client.set(PREFIX + key, value, ex=self._ttl, nx=True))
        except CacheUnavailable:
            return

    async def invalidate(self, key: str) -> None:
        """After the commit of a write. If Redis is away just now, the entry's time to live bounds what it can tell."""
        try:
            await self._breaker.call(lambda: self._client.set(PREFIX + key, BARRIER, ex=self._barrier))
        except CacheUnavailable:
            _log.warning("cache entry not invalidated", extra={"fields": {"key": key}})

    async def run(self) -> None:
        """Until cancelled: ask Redis itself now and then, more often while it is away."""
        while True:
            try:
                await self._client.ping()
            except (TimeoutError, RedisError, OSError) as error:
                self._breaker.failed(error)
            else:
                self._breaker.succeeded()
            await asyncio.sleep(CHECK_SECONDS_FAILING if self._breaker.failing else CHECK_SECONDS)
