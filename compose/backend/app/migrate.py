"""backend migrate: bring the schema to the newest revision, once, however many start it at the same time.

Migrations expand first and contract in a later release, so the previous release runs on the new schema. DDL waits at
most a second for a lock (waiting longer would stall every query behind it) and is tried again later. A migration that contracts
says so (`contracting = True`) and runs only when that was allowed: after it the release before cannot be put back.

The last line on standard output is for the program that called: a JSON object, after all log lines.
"""

import argparse
import json
import logging
import sys
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import psycopg
import sqlalchemy
from alembic import command
from alembic.config import Config
from alembic.script import ScriptDirectory
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
REFUSED = 9


class MigrationFailed(Exception):
    """Says what stands in the way; the schema is at the last completed revision."""


class ContractingRefused(Exception):
    """Migrations are pending that the release before could not live with; nothing was changed."""


@dataclass(frozen=True)
class Outlook:
    """Where the schema stands, and what this release would do to it.

    pending: revisions in the order in which they would run. contracting: those of them that contract. unknown: the schema is
    at a revision that this release has no script for, so a newer release has been here.
    """

    revision: str | None
    pending: tuple[str, ...] = ()
    contracting: tuple[str, ...] = ()
    unknown: bool = False


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


def configuration(migrations: Path = MIGRATIONS) -> Config:
    config = Config()
    config.set_main_option("script_location", str(migrations))
    return config


def outlook(current: str | None, migrations: Path = MIGRATIONS) -> Outlook:
    """What is left to do for a schema at this revision (None: an empty database).

    Raises MigrationFailed for a pending migration that does not say whether it contracts: guessing could cost the way back.
    """
    scripts = ScriptDirectory.from_config(configuration(migrations))
    if current is not None and current not in {script.revision for script in scripts.walk_revisions()}:
        return Outlook(current, unknown=True)
    pending = list(reversed(list(scripts.iterate_revisions("head", current or "base"))))
    for script in pending:
        if not isinstance(getattr(script.module, "contracting", None), bool):
            raise MigrationFailed(f"migration {script.revision} does not say whether it is contracting")
    contracting = tuple(script.revision for script in pending if script.module.contracting)
    return Outlook(current, tuple(script.revision for script in pending), contracting)


def upgrade(settings: Settings) -> None:
    config = configuration()
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


def check(settings: Settings) -> dict[str, Any]:
    """What `migrate` would do, without doing it."""
    with connect(settings) as connection:
        found = outlook(revision(connection))
    return {
        "revision": found.revision,
        "pending": found.pending,
        "contracting": found.contracting,
        "unknown": found.unknown,
    }


def migrate(settings: Settings, allow_contracting: bool) -> dict[str, Any]:
    """Bring the schema to this release's newest revision.

    Raises ContractingRefused where that would take the way back and was not allowed, MigrationFailed where it cannot be done.
    """
    started = time.monotonic()
    with connect(settings) as connection:
        take_turn(connection)
        found = outlook(revision(connection))
        if found.unknown:
            # Legal: a newer release has expanded the schema, and this one, put back, runs on it as it is.
            fields = {"revision": found.revision}
            _log.warning("the schema is newer than this release: left as it is", extra={"fields": fields})
            return {"revision": found.revision, "applied": []}
        if found.contracting and not allow_contracting:
            raise ContractingRefused(", ".join(found.contracting))
        upgrade(settings)
        after = revision(connection)
    fields = {"from": found.revision, "to": after, "seconds": round(time.monotonic() - started, 2)}
    _log.info("schema migrated" if found.pending else "schema is up to date", extra={"fields": fields})
    return {"revision": after, "applied": found.pending}


def arguments(argv: Sequence[str]) -> argparse.Namespace:
    parser = argparse.ArgumentParser("backend migrate", description="Bring the schema to the newest revision.")
    parser.add_argument("--check", action="store_true", help="change nothing, tell what would be done")
    parser.add_argument(
        "--allow-contracting", action="store_true", help="also what the release before cannot live with"
    )
    return parser.parse_args(argv)


def attempt(work: Callable[[], dict[str, Any]]) -> int:
    """The exit code; what the work returns becomes the last line."""
    try:
        result = work()
    except ContractingRefused as error:
        reason = f"{error} would end the way back to the release before; --allow-contracting runs it all the same"
        _log.error("migration refused", extra={"fields": {"reason": reason}})
        return REFUSED
    except (MigrationFailed, psycopg.Error, sqlalchemy.exc.SQLAlchemyError) as error:
        _log.error("migration failed", extra={"fields": {"reason": str(error).strip()[:500]}})
        return 1
    except Exception:
        _log.exception("migration failed")
        return 1
    print(json.dumps(result), flush=True)
    return 0


def main(argv: Sequence[str]) -> int:
    asked = arguments(argv)
    try:
        settings = Settings.load()
    except SettingsError as error:
        logs.configure("INFO")
        _log.error("not started", extra={"fields": {"reason": str(error)}})
        return 2
    logs.configure(settings.log_level)
    if asked.check:
        return attempt(lambda: check(settings))
    return attempt(lambda: migrate(settings, asked.allow_contracting))


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
