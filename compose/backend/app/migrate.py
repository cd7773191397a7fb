"""backend migrate: bring the schema to the newest revision, once, however many start it at the same time.

Migrations expand first and contract in a later release, so the previous release runs on the new schema. DDL waits at
most a second for a lock (waiting longer would stall every query behind it) and is tried again later.
"""

import logging
import sys
import time
from pathlib import Path

import psycopg
import sqlalchemy
from alembic import command
from alembic.config import Config
from sqlalchemy.exc import DBAPIError
from sqlalchemy.pool import NullPool

from app import logs
from app.database import conninfo
from app.settings import Settings, SettingsError

_log = logging.getLogger("app.migrate")

MIGRATIONS = Path(__file__).resolve().parent.parent / "migrations"
# Any constant will do, as long as it stays: "cc03" in ASCII.
ADVISORY_LOCK = 0x63633033
CONNECT_DEADLINE = 60.0
LOCK_DEADLINE = 300.0
LOCK_ATTEMPTS = 10
LOCK_PAUSE = 3.0


class MigrationFailed(Exception):
    """Says what stands in the way; the schema is at the last completed revision."""


def connect(settings: Settings) -> psycopg.Connection:
    deadline = time.monotonic() + CONNECT_DEADLINE
    target = conninfo(settings, "cc03-migrate", options="-c lock_timeout=1000")
    while True:
        try:
            return psycopg.connect(target, autocommit=True)
        except psycopg.OperationalError as error:
            reason = str(error).strip()
            if time.monotonic() > deadline:
                raise MigrationFailed(f"no connection within {CONNECT_DEADLINE:g} s: {reason}") from error
            _log.info("waiting for postgres", extra={"fields": {"reason": reason[:200]}})
            time.sleep(1)


def take_turn(connection: psycopg.Connection) -> None:
    """Held by the session: it goes with the connection, so a killed migration leaves nothing to clean up."""
    deadline = time.monotonic() + LOCK_DEADLINE
    while True:
        row = connection.execute("SELECT pg_try_advisory_lock(%s)", (ADVISORY_LOCK,)).fetchone()
        if row and row[0]:
            return
        if time.monotonic() > deadline:
            raise MigrationFailed(f"another migration has been running for more than {LOCK_DEADLINE:g} s")
        _log.info("another migration is running; waiting for it")
        time.sleep(1)


def revision(connection: psycopg.Connection) -> str | None:
    row = connection.execute("SELECT to_regclass('alembic_version') IS NOT NULL").fetchone()
    if not (row and row[0]):
        return None
    found = connection.execute("SELECT version_num FROM alembic_version").fetchone()
    return found[0] if found else None


def upgrade(settings: Settings) -> None:
    config = Config()
    config.set_main_option("script_location", str(MIGRATIONS))
    target = conninfo(settings, "cc03-migrate", options="-c lock_timeout=1000")
    engine = sqlalchemy.create_engine(
        "postgresql+psycopg://", creator=lambda: psycopg.connect(target), poolclass=NullPool
    )
    for attempt in range(1, LOCK_ATTEMPTS + 1):
        try:
            with engine.connect() as connection:
                config.attributes["connection"] = connection
                command.upgrade(config, "head")
            return
        except DBAPIError as error:
            if not isinstance(error.orig, psycopg.errors.LockNotAvailable):
                raise
            _log.warning("a lock was not to be had within a second", extra={"fields": {"attempt": attempt}})
            if attempt == LOCK_ATTEMPTS:
                raise MigrationFailed(f"a table stayed locked through {LOCK_ATTEMPTS} attempts") from error
            time.sleep(LOCK_PAUSE)


def main() -> int:
    try:
        settings = Settings.load()
    except SettingsError as error:
        logs.configure("INFO")
        _log.error("not started", extra={"fields": {"reason": str(error)}})
        return 2
    logs.configure(settings.log_level)
    started = time.monotonic()
    try:
        with connect(settings) as connection:
            take_turn(connection)
            before = revision(connection)
            upgrade(settings)
            after = revision(connection)
    except (MigrationFailed, psycopg.Error, sqlalchemy.exc.SQLAlchemyError) as error:
        _log.error("migration failed", extra={"fields": {"reason": str(error).strip()[:500]}})
        return 1
    except Exception:
        _log.exception("migration failed")
        return 1
    fields = {"from": before, "to": after, "seconds": round(time.monotonic() - started, 2)}
    _log.info("schema is up to date" if before == after else "schema migrated", extra={"fields": fields})
    return 0


if __name__ == "__main__":
    sys.exit(main())
