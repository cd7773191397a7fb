"""What PostgreSQL says of Keycloak's role, database and tables: one session of the superuser through the socket, read-only."""

from __future__ import annotations

import json
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from ops.engines.engine import Engine
from ops.engines.postgres import psql
from ops.keycloak.failures.facts import OPS_CLIENT, REALM, ROLE, Client, Content, Database, PostgresFacts, Role, Schema, Session

ASK_SECONDS = 4.0
READ_ONLY = "-c default_transaction_read_only=on -c statement_timeout=2s -c lock_timeout=500ms"
SUSPECTS = 20
"""Users whose lock is asked for, at most."""

SCRIPT = Path(__file__).with_name("facts.sql")


def answers_of(text: str) -> dict[str, Any]:
    """The objects that the statements print; those after a statement that failed are left out. PostgreSQL breaks lines
    within them."""
    found: dict[str, Any] = {}
    decoder, at = json.JSONDecoder(), text.find("{")
    while at >= 0:
        value, end = decoder.raw_decode(text, at)
        found |= value
        at = text.find("{", end)
    return found


def facts_of(found: Mapping[str, Any], asked: float) -> PostgresFacts:
    """What the answers say.

    Parameters
    ----------
    asked: this host's clock when they were asked for, in seconds since 1970.
    """
    cluster, schema, content = (found.get(name) for name in ("cluster", "schema", "content"))
    if not cluster:
        return PostgresFacts(answers=False, said="it answered nothing")
    role, database = cluster["role"], cluster["database"]
    return PostgresFacts(
        role=Role(**role) if role else None, database=Database(**database) if database else None,
        schema=_schema(schema) if schema else None, content=_content(content) if content else None,
        sessions=tuple(Session(**one) for one in cluster["sessions"]), connections=cluster["connections"],
        blockers=tuple(Session(**one) for one in cluster.get("blockers", ())),
        max_connections=cluster["max"], read_only=cluster.get("read_only", ""), clock_offset=float(cluster["now"]) - asked,
    )  # fmt: skip


def _schema(found: Mapping[str, Any]) -> Schema:
    holders = [one for one in found["locks"] if not one["waits"]]
    first = holders[0] if holders else None
    return Schema(
        create=found["create"], lock_owner=found.get("lock_owner") or "", strangers=found["strangers"],
        waiting=len(found["locks"]) - len(holders),
        holder=Session(first["pid"], first["address"], float(first["seconds"] or 0), first["application"]) if first else None,
    )  # fmt: skip


def _content(found: Mapping[str, Any]) -> Content:
    clients = (
        Client(one["id"], one["enabled"], one["flow"], tuple(one["redirects"]), tuple(one["origins"]))
        for one in found["clients"]
    )
    return Content(
        version=found["version"] or "", realms=found["realms"], ssl_required=found["ssl"], clients=tuple(clients),
        key_providers=found["keys"], admins=found["admins"], ops_client=found["ops"], cluster_rows=found["rows"],
        login_errors=found["errors"], suspects=tuple(found["suspects"]), changesets=frozenset(found.get("changesets", ())),
        login_theme=found.get("theme") or "",
    )  # fmt: skip


def postgres_facts(engine: Engine) -> tuple[PostgresFacts, str]:
    """All that the superuser sees, and why something was left out (empty: nothing was)."""
    asked = time.time()
    answer = psql(
        engine, "postgres", SCRIPT.read_text(encoding="utf-8"), options=READ_ONLY, seconds=ASK_SECONDS,
        role=ROLE, realm=REALM, ops=OPS_CLIENT, suspects=str(SUSPECTS),
    )  # fmt: skip
    found = answers_of(answer.stdout)
    if not found:
        return PostgresFacts(answers=False, said=answer.last_words(1)), ""
    facts = facts_of(found, (asked + time.time()) / 2)
    expected = facts.database is None or not facts.database.connectable
    return facts, "" if answer.returncode == 0 or expected else answer.last_words(1)
