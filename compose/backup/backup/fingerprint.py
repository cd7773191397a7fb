"""Rows and checksums of every table at one known place of the WAL: what a restore to that place has to give again."""

import time
from collections.abc import Mapping, Sequence

from .database import PRIMARY, SAME_TEXTS, Session, close_all, names
from .errors import JobError

QUIET_SECONDS = 30
"""For how long a moment is looked for in which nobody writes."""
CHECKSUM_BYTES = 64 * 2**20
COUNT_BYTES = 4 * 2**30
"""A larger table is not summed up, or not even counted: a backup must not read the whole database a second time."""

TABLES = """
SELECT json_build_object('name', format('%I.%I', n.nspname, c.relname), 'bytes', pg_catalog.pg_table_size(c.oid),
                         'closed', c.relrowsecurity)
  FROM pg_catalog.pg_class c JOIN pg_catalog.pg_namespace n ON n.oid = c.relnamespace
 WHERE c.relkind IN ('r', 'm') AND c.relpersistence = 'p' AND c.relispopulated
   AND n.nspname <> 'information_schema' AND n.nspname NOT LIKE 'pg\\_%' ORDER BY 1::text;
"""
ROLES = """
SELECT json_build_object('rows', count(*), 'sum', sum(pg_catalog.hashtextextended(rolname, 0))::text)
  FROM pg_catalog.pg_roles WHERE rolname NOT LIKE 'pg\\_%';
"""
LSN = "SELECT to_json(pg_catalog.pg_current_wal_insert_lsn()::text);"
WRITERS = "SELECT to_json(count(*)) FROM pg_catalog.pg_stat_activity WHERE backend_xid IS NOT NULL;"
SNAPSHOT = "BEGIN ISOLATION LEVEL REPEATABLE READ READ ONLY; SELECT to_json(1);"
CLUSTER = "(roles)"


def quiet(before: str, writers: int, after: str) -> bool:
    """Whether snapshots that were taken in between show exactly what replaying the WAL up to `before` gives.

    In this order: the place of the WAL is read, then who has a transaction with a number, then the snapshots are taken, then
    the place is read again. Nothing was written meanwhile, and nobody was between writing "committed" to the WAL, perhaps
    still waiting for the disk, and being seen by others. (The snapshot itself does not tell: it leaves out transactions
    newer than the last one that has ended.)
    """
    return before == after and writers == 0


def take() -> dict:
    """The fingerprint of the primary: {lsn, exact, taken_at, databases: {name: {table: {rows, sum}}}}.

    Where somebody writes all the time no quiet moment is found, and `exact` is false: such a set is restored, started and
    checked by its drill, but its contents cannot be compared. A database that the role may not enter is null.
    """
    with Session(PRIMARY, "postgres") as control:
        sessions: list[Session] = []
        try:
            there = names(PRIMARY)
            sessions += [Session(PRIMARY, name) for name, open_to_us in there.items() if open_to_us]
            for session in sessions:
                session.ask(SAME_TEXTS)
            lsn, exact = _open(control, sessions)
            taken_at = time.time()
            databases = dict.fromkeys(there) | {session.database: _tables(session, None) for session in sessions}
            databases[CLUSTER] = {"roles": control.ask(ROLES)[0]}
        finally:
            close_all(sessions)
    return {"lsn": lsn, "exact": exact, "taken_at": taken_at, "databases": databases}


def _open(control: Session, sessions: Sequence[Session]) -> tuple[str, bool]:
    ends = time.monotonic() + QUIET_SECONDS
    pause = 0.005
    while True:
        before, writers = control.ask(LSN + WRITERS)
        for session in sessions:
            session.send(SNAPSHOT)
        for session in sessions:
            session.receive()
        after = control.ask(LSN)[0]
        if quiet(before, writers, after):
            return before, True
        if time.monotonic() > ends:
            return after, False
        for session in sessions:
            session.ask("ROLLBACK;")
        time.sleep(pause)
        pause = min(pause * 1.5, 0.2)


def look(reach: str, expected: Mapping[str, Mapping[str, dict]]) -> dict:
    """The same of another server. What `expected` does not sum up or count is not summed up or counted there."""
    found = {}
    for name in names(reach):
        with Session(reach, name) as session:
            session.ask(SAME_TEXTS)
            found[name] = _tables(session, expected.get(name) or {})
    with Session(reach, "postgres") as session:
        found[CLUSTER] = {"roles": session.ask(ROLES)[0]}
    return found


def _tables(session: Session, like: Mapping[str, dict] | None) -> dict[str, dict]:
    found = {}
    for table in session.ask(TABLES):
        wanted = depth(table["bytes"], closed=table["closed"]) if like is None else depth_of(like.get(table["name"], {}))
        found[table["name"]] = session.ask(question(table["name"], wanted), deadline=960)[0] if wanted else {}
    return found


def depth(size: int, *, closed: bool = False) -> int:
    """0: only that the table is there, 1: its rows, 2: its checksum as well. `closed`: a policy hides rows from the role."""
    if closed:
        return 0
    return 2 if size <= CHECKSUM_BYTES else 1 if size <= COUNT_BYTES else 0


def depth_of(entry: Mapping[str, object]) -> int:
    return 2 if "sum" in entry else 1 if "rows" in entry else 0


def question(table: str, depth: int) -> str:
    """The order of rows does not matter to a sum."""
    checksum = ", 'sum', coalesce(sum(pg_catalog.hashtextextended((t.*)::text, 0)), 0)::text" if depth == 2 else ""
    return f"SELECT json_build_object('rows', count(*){checksum}) FROM {table} t;"  # noqa: S608 - quoted by PostgreSQL


def differences(expected: Mapping[str, Mapping[str, dict]], found: Mapping[str, Mapping[str, dict]]) -> list[str]:
    """What is not as it was, in words; empty where all is."""
    said = [f"database {name} is missing" for name in sorted(expected.keys() - found.keys())]
    said += [f"database {name} is there unexpectedly" for name in sorted(found.keys() - expected.keys())]
    for name in sorted(expected.keys() & found.keys()):
        before, after = expected[name], found[name]
        if before is None:
            continue
        said += [f"{name}: table {table} is missing" for table in sorted(before.keys() - after.keys())]
        said += [f"{name}: table {table} is there unexpectedly" for table in sorted(after.keys() - before.keys())]
        for table in sorted(before.keys() & after.keys()):
            if before[table].get("rows") != after[table].get("rows"):
                said.append(f"{name}: {table} has {after[table].get('rows')} rows in place of {before[table].get('rows')}")
            elif before[table] != after[table]:
                said.append(f"{name}: the contents of {table} differ")
    return said


def without_new_roles(
    expected: Mapping[str, Mapping[str, dict]], found: Mapping[str, Mapping[str, dict]]
) -> Mapping[str, Mapping[str, dict]]:
    """What was found on a server that has started as it serves: its start adds roles which a set of an older release lacks."""
    before, after = (one[CLUSTER]["roles"] for one in (expected, found))
    return {**found, CLUSTER: expected[CLUSTER]} if after["rows"] > before["rows"] else found


def summary(databases: Mapping[str, Mapping[str, dict]]) -> dict[str, int]:
    tables = [entry for name, database in databases.items() if name != CLUSTER and database for entry in database.values()]
    return {
        "databases": len(databases.keys() - {CLUSTER}), "tables": len(tables),
        "rows": sum(int(entry.get("rows", 0)) for entry in tables),
    }  # fmt: skip


def must_equal(expected: Mapping[str, Mapping[str, dict]], found: Mapping[str, Mapping[str, dict]]) -> None:
    """Raises JobError with the first differences."""
    said = differences(expected, found)
    if said:
        raise JobError(f"what was restored is not what was backed up: {'; '.join(said[:5])}")
