"""The pool of connections, with PostgreSQL away."""

import asyncio

import psycopg
import psycopg_pool
import pytest

from app import database
from app.settings import Settings


@pytest.fixture
def settings(tmp_path):
    for name in ("postgres-app", "redis-app"):
        (tmp_path / name).write_text("secret\n")
    return Settings.load(
        {"CC03_ISSUER": "https://site/auth/realms/cc03", "CC03_JWKS_URL": "https://site/certs"}, tmp_path
    )


def test_pool_connects_again_after_an_outage_in_which_hundreds_waited(settings):
    """With a bound on the queue it never did: clients that had given up filled it, and only one that may queue has it connect."""
    attempts = []

    class Away(psycopg.AsyncConnection):
        @classmethod
        async def connect(cls, *_, **__):
            attempts.append(1)
            raise psycopg.OperationalError("PostgreSQL is away")

    async def attempts_after_an_outage():
        pool = database.create_pool(settings)
        pool.connection_class, pool.reconnect_timeout = Away, 0.2
        await pool.open(wait=False)
        try:
            await asyncio.gather(*(pool.getconn(0.05) for _ in range(300)), return_exceptions=True)
            await asyncio.sleep(1.0)
            before = len(attempts)
            with pytest.raises(psycopg_pool.PoolTimeout):
                await pool.getconn(0.5)
            return len(attempts) - before
        finally:
            await pool.close()

    assert asyncio.run(attempts_after_an_outage()) > 0
