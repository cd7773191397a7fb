"""A database dumped into a file of the state folder, and restored from there; neither goes through this process's memory.

A restore fills a new database beside the present one, which serves until then; both are renamed in one transaction. So a kill
at any moment leaves a whole database under the name that Keycloak asks for.
"""

from __future__ import annotations

import json
import re
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from ops.core import files
from ops.core.errors import OpsError
from ops.core.plan import STAMP
from ops.core.process import Result
from ops.core.state import State
from ops.engines.engine import Engine
from ops.engines.postgres import SLOT, psql
from ops.keycloak.schema.plan import Dump, dump_name, expendable, parse_name

ASK_SECONDS = 30.0
SWAP_ATTEMPTS = 5
"""Somebody who connects in the moment of the renaming (a monitoring query) makes it fail; the next attempt comes at once."""
OLD_DAYS = 7
"""How long a previous database stays where a command was killed before it could drop it."""


def new_path(state: State, database: str) -> Path:
    """Where a dump that is taken now belongs."""
    return state.dumps / dump_name(database, time.strftime(STAMP, time.gmtime()))


def dump(engine: Engine, database: str, path: Path, deadline: float, about: Mapping[str, Any] | None = None) -> None:
    """Dump one database (pg_dump's custom format), and read the file back as a whole before it counts.

    path: file that is made (0600). deadline: seconds for each of the two runs. about: kept beside it (`known_dumps`).
    Raises OpsError where PostgreSQL refuses or the file is not complete; nothing is left behind then.
    """
    fresh = path.with_name(f".{path.name}")
    path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
    try:
        command = ("pg_dump", "--username=postgres", "--format=custom", f"--dbname={database}")
        answer = engine.exec(SLOT, command, timeout=deadline, ok=None, target=fresh)
        _refuse(answer, f"cannot dump the database {database}", "inv keycloak; inv status")
        # `pg_restore --list` would read the table of contents alone, which stands in front: a file cut short passes it.
        answer = engine.exec(SLOT, ("pg_restore", "--file=/dev/null"), timeout=deadline, ok=None, source=fresh)
        _refuse(answer, f"the dump {fresh.name} cannot be read back", "inv doctor checks the disk; then run it again")
        content = json.dumps({**(about or {}), "database": database, "bytes": fresh.stat().st_size}, sort_keys=True)
        files.write(_about_path(path), content + "\n", mode=0o600)
        fresh.rename(path)
    finally:
        fresh.unlink(missing_ok=True)


def restore(engine: Engine, database: str, path: Path, deadline: float) -> str:
    """Restore a dump in place of a database without writers: what has come since then is not in the dump.

    deadline: seconds for reading the dump into the new database.

    Returns the name that the previous database has now, for `swap` (back) or `drop`; empty where there was none. Raises
    OpsError, with the present database as it was, where the dump cannot be read or somebody keeps the database busy.
    """
    with beside(engine, database) as fresh:
        command = (
            "pg_restore", "--username=postgres", f"--dbname={fresh}", "--single-transaction", "--exit-on-error",
        )  # fmt: skip
        answer = engine.exec(SLOT, command, timeout=deadline, ok=None, source=path)
        _refuse(answer, f"cannot restore {path.name}", "another one of the same folder may do; the database is as it was")
        ask(engine, fresh, "ANALYZE;", timeout=deadline)
        return swap(engine, database, fresh)


CREATE = """
CREATE DATABASE :"fresh" OWNER :"owner" TEMPLATE template0 ENCODING 'UTF8';
REVOKE ALL ON DATABASE :"fresh" FROM PUBLIC;
GRANT CONNECT ON DATABASE :"fresh" TO exporter;
"""
"""Rights as in compose/postgres/roles.sql."""
SWAP = """
BEGIN;
SELECT pg_terminate_backend(pid, 5000) FROM pg_stat_activity WHERE datname IN (:'present', :'fresh');
SELECT format('ALTER DATABASE %I RENAME TO %I', :'present', :'former')
  FROM pg_database WHERE datname = :'present' \\gexec
ALTER DATABASE :"fresh" RENAME TO :"present";
COMMIT;
"""


@contextmanager
def beside(engine: Engine, database: str, fresh: str = "") -> Iterator[str]:
    """An empty UTF8 database with the owner and the rights of another one, by its name; dropped where the block fails.

    What a killed command has left of this kind is dropped: it was never complete.

    fresh: its name, where the owner himself fills it: pg_hba.conf lets him into few. Without it, one with the time in it.
    """
    for left in databases(engine, fresh or f"{database}_restore_"):
        drop(engine, left)
    fresh = fresh or f"{database}_restore_{_now()}"
    ask(engine, "postgres", CREATE, fresh=fresh, owner=database)
    try:
        yield fresh
    except BaseException:
        drop(engine, fresh)
        raise


def swap(engine: Engine, database: str, fresh: str) -> str:
    """Give `fresh` the name of `database`, whose sessions are ended, in one transaction.

    Returns the name that the previous one has now, empty where there was none. Raises OpsError with both as they were.
    """
    former = f"{database}_before_{_now()}"
    for attempt in range(1, SWAP_ATTEMPTS + 1):
        try:
            ask(engine, "postgres", SWAP, present=database, fresh=fresh, former=former)
            break
        except OpsError:
            if attempt == SWAP_ATTEMPTS:
                raise
    return former if former in databases(engine, former) else ""


def _now() -> str:
    return time.strftime("%Y%m%d_%H%M%S", time.gmtime())


def drop(engine: Engine, name: str) -> None:
    """Drop a database that stands beside the one in use. The one in use is refused."""
    if not re.search(r"^[a-z_]+_(import|(restore|before)_\d{8}_\d{6})$", name):
        raise ValueError(f"{name} is no database beside another one")
    ask(engine, "postgres", 'DROP DATABASE IF EXISTS :"name" WITH (FORCE);', name=name)


def drop_old(engine: Engine, database: str) -> None:
    """Drop the previous databases that killed commands have left, once they are OLD_DAYS days old."""
    oldest = time.strftime("%Y%m%d_%H%M%S", time.gmtime(time.time() - OLD_DAYS * 86400))
    for name in databases(engine, f"{database}_before_"):
        if name.rpartition("_before_")[2] < oldest:
            drop(engine, name)


def databases(engine: Engine, prefix: str) -> list[str]:
    """Names of the databases that begin so."""
    script = "SELECT datname FROM pg_database WHERE starts_with(datname, :'prefix');"
    return sorted(ask(engine, "postgres", script, prefix=prefix).split())


def ask(engine: Engine, database: str, script: str, timeout: float = ASK_SECONDS, **variables: str) -> str:
    """What a script of the superuser prints. variables: as of `psql`. Raises OpsError where a statement fails."""
    answer = psql(engine, database, script, options="", seconds=timeout, **variables)
    _refuse(answer, f"PostgreSQL refused a statement on {database}", "inv keycloak inspects PostgreSQL")
    return answer.stdout.strip()


def known_dumps(state: State) -> list[Dump]:
    """Every complete dump of the state folder, with what was noted of it."""
    return [
        Dump(path.name, *parsed, files.read_json(_about_path(path)) or {})
        for path in sorted(state.dumps.glob("*.dump")) if (parsed := parse_name(path.name))
    ]  # fmt: skip


def forget_old_dumps(state: State, database: str) -> list[str]:
    """Remove the dumps that nothing needs any more. Returns the names of their files."""
    gone = [dump.name for dump in expendable(known_dumps(state), database)]
    for path in (state.dumps / name for name in gone):
        path.unlink(missing_ok=True)
        _about_path(path).unlink(missing_ok=True)
    return gone


def _about_path(path: Path) -> Path:
    return path.with_suffix(".json")


def _refuse(answer: Result, what: str, next_step: str) -> None:
    if answer.returncode:
        raise OpsError(what, answer.last_words(2), next_step)
