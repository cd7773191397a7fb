"""What shows a failure mode of PostgreSQL or of Keycloak's schema. Each rule: facts in, what was seen out, or nothing."""

from __future__ import annotations

import re
from collections.abc import Mapping

from ops.keycloak.failures.facts import ROLE, Database, Facts, Role, Session
from ops.keycloak.failures.rules_start import Rule
from ops.keycloak.schema.plan import Schema, Server, judge

FULL = "remaining connection slots|too many clients"
AWAITING = 3.0
"""Requests that wait for a connection; one or two for an instant is what a pool is for."""


def _role(facts: Facts) -> Role:
    return facts.postgres.role or Role()


def _database(facts: Facts) -> Database:
    return facts.postgres.database or Database()


def looked(facts: Facts) -> bool:
    """Whether PostgreSQL was asked about roles and databases, and answered."""
    return facts.postgres.status == "running" and facts.postgres.answers and "database" not in facts.unread


def _login(facts: Facts, words: str) -> str:
    said = facts.postgres.login or ""
    return said if re.search(words, said) else ""


def _down(facts: Facts) -> str:
    return f"its container is {facts.postgres.status}" if facts.postgres.status != "running" else ""


def _silent(facts: Facts) -> str:
    postgres = facts.postgres
    silent = postgres.status == "running" and not postgres.answers and not re.search(FULL, postgres.said)
    return postgres.said or "no answer" if silent else ""


def _full(facts: Facts) -> str:
    postgres = facts.postgres
    if said := _login(facts, FULL) or (postgres.said if re.search(FULL, postgres.said) else ""):
        return said
    full = looked(facts) and postgres.connections >= postgres.max_connections
    return f"{postgres.connections} of {postgres.max_connections} connections" if full else ""


def _role_missing(facts: Facts) -> str:
    return f"PostgreSQL has no role {ROLE}" if looked(facts) and facts.postgres.role is None else ""


def _cannot_login(facts: Facts) -> str:
    role = _role(facts)
    wrong = [
        text for wrong, text in (
            (not role.login, "NOLOGIN"), (role.expired, "its password has expired"), (role.limit == 0, "CONNECTION LIMIT 0"),
        ) if wrong
    ]  # fmt: skip
    return ", ".join(wrong)


def _password(facts: Facts) -> str:
    return _login(facts, "password authentication failed|no password supplied")


def _database_missing(facts: Facts) -> str:
    return f"PostgreSQL has no database {ROLE}" if looked(facts) and facts.postgres.database is None else ""


def _closed(facts: Facts) -> str:
    return "" if _database(facts).connectable else "ALLOW_CONNECTIONS is off"


def _owner(facts: Facts) -> str:
    owner = _database(facts).owner
    return f"its owner is {owner}" if owner != ROLE else ""


def _rights(facts: Facts) -> str:
    schema = facts.postgres.schema
    if said := _login(facts, "permission denied for database"):
        return said
    if schema is None:
        return ""
    wrong = [] if schema.create else [f"{ROLE} may not create in schema public"]
    wrong += (
        [f"{schema.strangers} tables or sequences belong to other roles, or are closed to {ROLE}"] if schema.strangers else []
    )
    return ", ".join(wrong)


def _encoding(facts: Facts) -> str:
    encoding = _database(facts).encoding
    return encoding if encoding != "UTF8" else ""


MOMENT_SECONDS = 10.0
"""Every Keycloak holds the lock for a moment when it starts; a second one, too."""


def _lock(facts: Facts) -> str:
    schema = facts.postgres.schema
    holder = schema.holder if schema else None
    # Keycloak's own migration holds it as well, and then nobody waits.
    if schema is None or holder is None or (holder.address in facts.container.addresses and not schema.waiting):
        return ""
    if not schema.waiting and holder.seconds < MOMENT_SECONDS:
        return ""
    return f"{_told(holder)} has held it for {holder.seconds:.0f} s, {schema.waiting} waiting"


def _told(session: Session) -> str:
    return f"session {session.pid} from {session.address or 'its socket'} ({session.application or 'unnamed'})"


def _newer(facts: Facts) -> str:
    content, image = facts.postgres.content, facts.server
    if content is None or not content.version or not image.version:
        return ""
    known = bool(content.changesets and image.changesets)
    verdict = judge(
        Server(image.version, known, image.changesets if known else frozenset()), Schema(content.version, content.changesets)
    )
    if not verdict.downgrade:
        return ""
    foreign = f", with {len(verdict.foreign)} change sets that the image does not know" if verdict.foreign else ""
    return f"the schema is of {content.version}{foreign}, the image of {image.version}"


SCARCE_BYTES = 64 << 20
"""Less than this is full: PostgreSQL writes its log in files of 16 MB, and Podman needs some for a start."""


def _disk(facts: Facts) -> str:
    full = [f"{free >> 20} MB are free at {path}" for path, free in sorted(facts.disks.items()) if free < SCARCE_BYTES]
    return ", ".join(full)


def _read_only(facts: Facts) -> str:
    where = facts.postgres.read_only
    if where == "standby":
        return "it is a standby (pg_is_in_recovery)"
    return f"default_transaction_read_only is on ({where})" if where else ""


def _hba(facts: Facts) -> str:
    return _login(facts, r"pg_hba\.conf")


def _lock_rights(facts: Facts) -> str:
    owner = facts.postgres.schema.lock_owner if facts.postgres.schema else ROLE
    return f"databasechangeloglock belongs to {owner}" if owner not in ("", ROLE) else ""


def _role_full(facts: Facts) -> str:
    if said := _login(facts, "too many connections for role"):
        return said
    role = facts.postgres.role
    full = role is not None and 0 < role.limit <= role.connections
    return f"{role.connections} of {role.limit} connections" if role and full else ""


def _pool(facts: Facts) -> str:
    waiting, active = facts.edge.pool_awaiting or 0.0, facts.edge.pool_active or 0.0
    return f"{waiting:.0f} requests wait, {active:.0f} connections are in use" if waiting >= AWAITING else ""


def _second(facts: Facts) -> str:
    own = facts.container.addresses
    others = [session for session in facts.postgres.sessions if session.address and session.address not in own]
    # Without addresses of its own, every session is a stranger's: a container that was just removed has left its sessions.
    jdbc = [session for session in others if "JDBC" in session.application]
    return ", ".join(sorted({_told(session) for session in jdbc})) if own else ""


def _rows(facts: Facts) -> str:
    rows = facts.postgres.content.cluster_rows if facts.postgres.content else 0
    return f"{rows} rows" if rows else ""


RULES: Mapping[str, Rule] = {
    "postgres-down": _down, "postgres-silent": _silent, "postgres-full": _full, "role-missing": _role_missing,
    "role-cannot-login": _cannot_login, "password-drift": _password, "database-missing": _database_missing,
    "database-closed": _closed, "database-wrong-owner": _owner, "schema-rights": _rights, "encoding": _encoding,
    "changelog-lock": _lock, "schema-newer": _newer, "role-connections-full": _role_full, "pool-exhausted": _pool,
    "second-keycloak": _second, "cluster-rows": _rows, "disk-full": _disk, "postgres-read-only": _read_only,
    "postgres-hba": _hba, "lock-table-rights": _lock_rights,
}  # fmt: skip
