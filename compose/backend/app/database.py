"""The connection pool. Small on purpose: every replica's share of PostgreSQL's connections is counted."""

from psycopg.conninfo import make_conninfo
from psycopg.rows import dict_row
from psycopg_pool import AsyncConnectionPool

from app.settings import Settings
from app.tls import Files
from app.tracing import Cursor


def conninfo(settings: Settings, application_name: str, **extra: str) -> str:
    files = Files(settings.tls)
    return make_conninfo(
        host=settings.database_host,
        port=settings.database_port,
        dbname=settings.database_name,
        user=settings.database_user,
        password=settings.database_password.reveal(),
        application_name=application_name,
        # Read anew at each connection.
        sslmode="verify-full",
        sslrootcert=str(files.roots),
        sslcert=str(files.certificate),
        sslkey=str(files.certificate),
        # A server whose encoding is SQL_ASCII would otherwise answer in bytes.
        client_encoding="utf8",
        connect_timeout=2,
        # A peer that vanished without a word (its address just stays silent on Podman) is noticed in seconds.
        keepalives_idle=10,
        keepalives_interval=5,
        keepalives_count=3,
        tcp_user_timeout=5000,
        **extra,
    )


def create_pool(settings: Settings) -> AsyncConnectionPool:
    options = (
        f"-c statement_timeout={settings.statement_timeout_ms}"
        " -c lock_timeout=2000 -c idle_in_transaction_session_timeout=10000"
    )
    return AsyncConnectionPool(
        conninfo(settings, "cc03-backend", options=options),
        kwargs={"autocommit": True, "row_factory": dict_row, "cursor_factory": Cursor},
        min_size=1,
        max_size=settings.database_pool_max,
        # No bound on the queue (max_waiting): clients that have given up stay in it until a connection comes, and where it is
        # full none may enter, while only one that enters has the pool connect again: after an outage it never did.
        timeout=2.0,
        max_lifetime=1800.0,
        # One round trip before use: after a restart of PostgreSQL no request meets a dead connection, not even a POST.
        check=AsyncConnectionPool.check_connection,
        # Short, because the pool doubles its pause up to this; the next request after it simply tries anew.
        reconnect_timeout=4.0,
        open=False,
    )


async def schema_state(pool: AsyncConnectionPool) -> str:
    """'ok' or what is missing; raises when PostgreSQL cannot answer."""
    async with pool.connection(timeout=1.5) as connection:
        row = await (await connection.execute("SELECT to_regclass('items') IS NOT NULL AS present")).fetchone()
    return "ok" if row and row["present"] else "schema missing: run 'backend migrate'"
