"""What PostgreSQL says of Keycloak's role, database and tables: one session of the superuser through the socket, read-only."""

from __future__ import annotations

import json
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from pydantic import TypeAdapter

from ops.engines.engine import Engine
from ops.engines.postgres import psql
from ops.keycloak.failures.facts import OPS_CLIENT, REALM, ROLE, PostgresFacts

ASK_SECONDS = 4.0
READ_ONLY = "-c default_transaction_read_only=on -c statement_timeout=2s -c lock_timeout=500ms"
SUSPECTS = 20
"""Users whose lock is asked for, at most."""

FACTS = TypeAdapter(PostgresFacts)
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

    asked: this host's clock when they were asked for, in seconds since 1970.
    """
    if not found.get("cluster"):
        return PostgresFacts(answers=False, said="it answered nothing")
    cluster = dict(found["cluster"])
    cluster["clock_offset"] = float(cluster.pop("now")) - asked
    if schema := dict(found.get("schema", {})):
        locks = schema.pop("locks")
        holders = [_known(lock) for lock in locks if not lock["waits"]]
        waiting = len(locks) - len(holders)
        cluster["schema"] = _known({**schema, "waiting": waiting, "holder": holders[0] if holders else None})
    if content := found.get("content"):
        cluster["content"] = _known(content)
    return FACTS.validate_python(_known(cluster))


def _known(found: Mapping[str, Any]) -> dict[str, Any]:
    return {name: value for name, value in found.items() if value is not None}


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
