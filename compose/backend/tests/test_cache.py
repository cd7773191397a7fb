"""The cache's order of events and its circuit breaker, against a Redis that lives in a dict."""

import asyncio

import pytest
from redis.exceptions import AuthenticationError
from redis.exceptions import ConnectionError as RedisGone

from app.cache import BARRIER, FAILURES_TO_OPEN, PREFIX, Breaker, CacheUnavailable, ItemCache


class DictRedis:
    def __init__(self) -> None:
        self.stored: dict[str, bytes] = {}
        self.calls = 0
        self.gone = False

    def _touch(self) -> None:
        self.calls += 1
        if self.gone:
            raise RedisGone("gone")

    async def get(self, key):
        self._touch()
        return self.stored.get(key)

    async def set(self, key, value, ex, nx=False):
        self._touch()
        assert ex > 0
        if not (nx and key in self.stored):
            self.stored[key] = value


@pytest.fixture
def parts():
    client, breaker = DictRedis(), Breaker()
    breaker.succeeded()
    return client, breaker, ItemCache(client, breaker, ttl_seconds=60, barrier_seconds=6)


def test_what_is_offered_is_found(parts):
    _, _, cache = parts

    async def run():
        assert await cache.get("1") == (None, "miss")
        await cache.offer("1", b"value")
        assert await cache.get("1") == (b"value", "hit")

    asyncio.run(run())


def test_a_read_from_before_a_write_cannot_store_old_data(parts):
    client, _, cache = parts

    async def run():
        await cache.get("1")  # a reader misses and goes to the database
        await cache.invalidate("1")  # a writer commits meanwhile
        await cache.offer("1", b"old")  # the reader comes back
        assert await cache.get("1") == (None, "miss")
        assert client.stored[PREFIX + "1"] == BARRIER

    asyncio.run(run())


def test_a_dead_redis_is_left_alone_after_a_few_failures(parts):
    client, breaker, cache = parts

    async def run():
        client.gone = True
        for _ in range(20):
            assert await cache.get("1") == (None, "bypass")
        await cache.offer("1", b"value")
        await cache.invalidate("1")

    asyncio.run(run())
    assert breaker.open and not cache.available
    assert client.calls == FAILURES_TO_OPEN


def test_only_the_background_check_closes_the_circuit(parts):
    client, breaker, _ = parts
    for _ in range(FAILURES_TO_OPEN):
        breaker.failed(RedisGone("gone"))

    async def run():
        with pytest.raises(CacheUnavailable):
            await breaker.call(lambda: client.get("1"))
        breaker.succeeded()
        assert await breaker.call(lambda: client.get("1")) is None

    asyncio.run(run())


def test_each_reason_of_an_outage_is_logged_once(caplog):
    breaker = Breaker()
    for error in (RedisGone("reset"), AuthenticationError("WRONGPASS")):
        for _ in range(FAILURES_TO_OPEN + 2):
            breaker.failed(error)

    reasons = [record.fields["reason"] for record in caplog.records]
    assert reasons == ["ConnectionError: reset", "AuthenticationError: WRONGPASS"]


def test_single_failures_do_not_open_the_circuit(parts):
    client, breaker, cache = parts

    async def run():
        for _ in range(10):
            client.gone = True
            await cache.get("1")
            client.gone = False
            await cache.get("1")

    asyncio.run(run())
    assert not breaker.open
