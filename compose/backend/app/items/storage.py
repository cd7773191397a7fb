"""Items in PostgreSQL. Every statement that concerns them stands here."""

from dataclasses import dataclass
from typing import Any
from uuid import UUID

import psycopg
from psycopg import sql
from psycopg_pool import AsyncConnectionPool

from app.auth.tokens import Principal
from app.items.models import Item, ItemChange, ItemInput

_COLUMNS = "id, name, sku, quantity, location, notes, version, created_at, created_by, updated_at, updated_by"
# Has its trigram index: see the migration, which must keep the very same expression.
_SEARCHED = "(name || ' ' || sku || ' ' || location)"
SORTS = ("name", "sku", "quantity", "location", "created_at", "updated_at")
COLLATED = ("name", "location")
"""Columns that people read: in the order that they expect (migration 0003), not in that of the code points."""
KEPT_KEYS = "24 hours"
_EXPECTED = "(%s::int[] IS NULL OR version = ANY(%s::int[]))"

Expected = tuple[int, ...] | None
"""Versions that a change is meant for; None: whichever there is."""


class SkuTaken(Exception):
    """Another item has this sku."""


class KeyReused(Exception):
    """The idempotency key was used for another request."""


@dataclass(frozen=True)
class Conflict:
    """The row has another version than the caller's."""

    current: Item


def like_pattern(query: str) -> str:
    """The query as a literal substring: its % and _ are characters, not wildcards."""
    escaped = query.replace("\\", "\\\\").replace("%", "\\%").replace("_", "\\_")
    return f"%{escaped}%"


def order_by(sort: str) -> sql.Composed:
    """The column wanted, then the id, so that equal values keep their order from page to page."""
    column, direction = sort.removeprefix("-"), "DESC" if sort.startswith("-") else "ASC"
    if column not in SORTS:
        raise ValueError(f"cannot sort by {column!r}")
    collation = sql.SQL(" COLLATE names" if column in COLLATED else "")
    return sql.SQL("ORDER BY {}{} {}, id {}").format(
        sql.Identifier(column), collation, sql.SQL(direction), sql.SQL(direction)
    )


def recorded(change: str, action: str) -> str:
    """A statement that changes one item, and writes into its history what it returns. Two parameters more: subject and username."""
    return (
        f"WITH changed AS ({change} RETURNING {_COLUMNS}), recorded AS ("
        "INSERT INTO item_history (item_id, version, action, subject, username, name, sku, quantity, location, notes)"
        f" SELECT id, version, '{action}', %s, %s, name, sku, quantity, location, notes FROM changed)"
        f" SELECT {_COLUMNS} FROM changed"
    )


class ItemStore:
    def __init__(self, pool: AsyncConnectionPool) -> None:
        self._pool = pool

    async def get(self, item_id: UUID) -> Item | None:
        async with self._pool.connection() as connection:
            return await _one(connection, f"SELECT {_COLUMNS} FROM items WHERE id = %s", (item_id,))

    async def page(self, query: str, sort: str, limit: int, offset: int) -> list[Item]:
        where, parameters = _found_by(query)
        statement = sql.SQL(" ").join(
            [sql.SQL(f"SELECT {_COLUMNS} FROM items"), where, order_by(sort), sql.SQL("LIMIT %s OFFSET %s")]
        )
        async with self._pool.connection() as connection:
            rows = await (await connection.execute(statement, [*parameters, limit, offset])).fetchall()
        return [Item.model_construct(**row) for row in rows]

    async def count(self, query: str) -> int:
        """How many items a search finds. Reads them all: see Totals."""
        where, parameters = _found_by(query)
        statement = sql.SQL(" ").join([sql.SQL("SELECT count(*) AS total FROM items"), where])
        async with self._pool.connection() as connection:
            row: Any = await (await connection.execute(statement, parameters)).fetchone()
        return row["total"]

    async def history(self, item_id: UUID, limit: int) -> list[ItemChange]:
        """The newest changes of an item, the last one first; none where there never was one."""
        async with self._pool.connection() as connection:
            rows = await connection.execute(
                "SELECT version, action, at, subject, username, name, sku, quantity, location, notes"
                " FROM item_history WHERE item_id = %s ORDER BY id DESC LIMIT %s",
                (item_id, limit),
            )
            return [ItemChange.model_construct(**row) for row in await rows.fetchall()]

    async def create(
        self, item: ItemInput, caller: Principal, *, key: str | None, fingerprint: str
    ) -> tuple[Item, bool]:
        """The item, and whether it is the answer to an earlier request with the same key."""
        async with self._pool.connection() as connection, connection.transaction():
            if key is not None:
                earlier = await _claim_key(connection, caller.subject, key, fingerprint)
                if earlier is not None:
                    return earlier, True
            created = await _insert(connection, item, caller)
            if key is not None:
                await connection.execute(
                    "UPDATE idempotency_keys SET response = %s WHERE subject = %s AND key = %s",
                    (created.model_dump_json(), caller.subject, key),
                )
        return created, False

    async def update(
        self, item_id: UUID, item: ItemInput, expected: Expected, caller: Principal
    ) -> Item | Conflict | None:
        change = (
            "UPDATE items SET name = %s, sku = %s, quantity = %s, location = %s, notes = %s,"
            f" version = version + 1, updated_at = now(), updated_by = %s WHERE id = %s AND {_EXPECTED}"
        )
        async with self._pool.connection() as connection:
            try:
                updated = await _one(
                    connection,
                    recorded(change, "updated"),
                    (*_values(item), caller.username, item_id, *_listed(expected), *_who(caller)),
                )
            except psycopg.errors.UniqueViolation as error:
                raise SkuTaken from error
            return updated or await _current(connection, item_id)

    async def delete(self, item_id: UUID, expected: Expected, caller: Principal) -> Item | Conflict | None:
        change = f"DELETE FROM items WHERE id = %s AND {_EXPECTED}"
        async with self._pool.connection() as connection:
            deleted = await _one(connection, recorded(change, "deleted"), (item_id, *_listed(expected), *_who(caller)))
            return deleted or await _current(connection, item_id)


def _found_by(query: str) -> tuple[sql.SQL, list[str]]:
    """A condition and its parameters; none for an empty search."""
    return (sql.SQL(f"WHERE {_SEARCHED} ILIKE %s"), [like_pattern(query)]) if query else (sql.SQL(""), [])


def _listed(expected: Expected) -> tuple[list[int] | None, list[int] | None]:
    """Both parameters of _EXPECTED."""
    versions = None if expected is None else list(expected)
    return versions, versions


def _values(item: ItemInput) -> tuple[Any, ...]:
    return item.name, item.sku, item.quantity, item.location, item.notes


def _who(caller: Principal) -> tuple[str, str]:
    """A user's name may be given to somebody else later, the subject never is."""
    return caller.subject, caller.username


async def _one(connection: psycopg.AsyncConnection, statement: str, parameters: tuple[Any, ...]) -> Item | None:
    row: Any = await (await connection.execute(statement, parameters)).fetchone()
    # The database has checked what it stores; validating it again would only cost time.
    return Item.model_construct(**row) if row else None


async def _current(connection: psycopg.AsyncConnection, item_id: UUID) -> Conflict | None:
    current = await _one(connection, f"SELECT {_COLUMNS} FROM items WHERE id = %s", (item_id,))
    return Conflict(current) if current else None


async def _insert(connection: psycopg.AsyncConnection, item: ItemInput, caller: Principal) -> Item:
    change = (
        "INSERT INTO items (name, sku, quantity, location, notes, created_by, updated_by)"
        " VALUES (%s, %s, %s, %s, %s, %s, %s)"
    )
    try:
        created = await _one(
            connection,
            recorded(change, "created"),
            (*_values(item), caller.username, caller.username, *_who(caller)),
        )
    except psycopg.errors.UniqueViolation as error:
        raise SkuTaken from error
    assert created is not None
    return created


async def _claim_key(connection: psycopg.AsyncConnection, subject: str, key: str, fingerprint: str) -> Item | None:
    """None when the key is now ours. A second request with it waits here until the first has committed or failed."""
    await connection.execute(
        f"DELETE FROM idempotency_keys WHERE created_at < now() - interval '{KEPT_KEYS}' AND ctid = ANY(ARRAY("
        f"SELECT ctid FROM idempotency_keys WHERE created_at < now() - interval '{KEPT_KEYS}'"
        " LIMIT 100 FOR UPDATE SKIP LOCKED))"
    )
    claimed = await connection.execute(
        "INSERT INTO idempotency_keys (subject, key, fingerprint) VALUES (%s, %s, %s) ON CONFLICT DO NOTHING",
        (subject, key, fingerprint),
    )
    if claimed.rowcount == 1:
        return None
    row: Any = await (
        await connection.execute(
            "SELECT fingerprint, response FROM idempotency_keys WHERE subject = %s AND key = %s", (subject, key)
        )
    ).fetchone()
    if row is None or row["fingerprint"] != fingerprint:
        raise KeyReused
    return Item.model_validate(row["response"])
