"""Failures of PostgreSQL, of Keycloak's role and of its database."""

from __future__ import annotations

import re

from ops.keycloak.failures.facts import ROLE, Database, Facts, Role
from ops.keycloak.failures.failure import DEGRADED, DOWN, RISK, Failure, Line
from ops.keycloak.failures.remedy import DATA, NO_CONNECTION, NOBODY, PASSWORDS, Remedy, Way, by_hand, comes_up, statements
from ops.keycloak.repair.sql import LOGIN, OPEN, OWNER, PASSWORD, RIGHTS, ROLE_ANEW

FULL = "remaining connection slots|too many clients"


def _role(facts: Facts) -> Role:
    return facts.postgres.role or Role()


def _database(facts: Facts) -> Database:
    return facts.postgres.database or Database()


def _silent(facts: Facts) -> str:
    postgres = facts.postgres
    silent = postgres.status == "running" and not postgres.answers and not re.search(FULL, postgres.said)
    return postgres.said or "no answer" if silent else ""


def _full(facts: Facts) -> str:
    postgres = facts.postgres
    if said := facts.login_says(FULL) or (postgres.said if re.search(FULL, postgres.said) else ""):
        return said
    full = facts.database_seen() and postgres.connections >= postgres.max_connections
    return f"{postgres.connections} of {postgres.max_connections} connections" if full else ""


def _cannot_login(facts: Facts) -> str:
    role = _role(facts)
    wrong = [
        text for wrong, text in (
            (not role.login, "NOLOGIN"), (role.expired, "its password has expired"), (role.limit == 0, "CONNECTION LIMIT 0"),
        ) if wrong
    ]  # fmt: skip
    return ", ".join(wrong)


def _owner(facts: Facts) -> str:
    owner = _database(facts).owner
    return f"its owner is {owner}" if owner != ROLE else ""


def _rights(facts: Facts) -> str:
    schema = facts.postgres.schema
    if said := facts.login_says("permission denied for database"):
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


def _database_missing(facts: Facts) -> str:
    return f"PostgreSQL has no database {ROLE}" if facts.database_seen() and facts.postgres.database is None else ""


FAILURES = (
    Failure(
        "postgres-down", DOWN, "PostgreSQL does not run", "Keycloak keeps everything in it", source="#16448",
        shown=lambda facts: f"its container is {facts.postgres.status}" if facts.postgres.status != "running" else "",
        remedy=Remedy(
            "start PostgreSQL, or make its container again on its volume; then Keycloak", (Way.START_POSTGRES,), leaves=DATA,
            users="logins are back about 20 s after PostgreSQL is", advice=comes_up("postgres"),
        ),
        explains=("postgres-full", "role-connections-full", "password-drift", *NO_CONNECTION),
    ),
    Failure(
        "postgres-silent", DOWN, "PostgreSQL runs and does not answer", "it recovers from a crash, shuts down, or is stuck",
        source="#16448", shown=_silent,
        remedy=by_hand(
            "inv logs postgres --since 10m: while it says recovery or startup, wait; it ends by itself",
            "if nothing moves for ten minutes: inv restart postgres, then inv keycloak.fix",
            users="logins are back about 20 s after PostgreSQL is",
        ),
        explains=NO_CONNECTION,
    ),
    Failure(
        "postgres-full", DOWN, "PostgreSQL has no connection left",
        "a program holds more than the limits of the roles allow for", source="own (roles.sql)", shown=_full,
        denied=Facts.login_tried,
        lines=(Line(r"remaining connection slots are reserved|too many clients already", "PostgreSQL 15; #17485"),),
        remedy=by_hand(
            (
                "inv logs postgres --since 10m; then, as postgres in its container: psql -c \"SELECT usename, client_addr, "
                "state, count(*) FROM pg_stat_activity GROUP BY 1, 2, 3 ORDER BY 4 DESC\""
            ),
            "stop the program that holds them; end only sessions that are idle and of no service", leaves="sessions that work",
            users=NOBODY,
        ),
        explains=NO_CONNECTION,
    ),
    Failure(
        "role-missing", DOWN, "Keycloak's role is missing in PostgreSQL", "it was dropped, or the volume is another one",
        source="compose/postgres/roles.sql",
        shown=lambda facts: f"PostgreSQL has no role {ROLE}" if facts.database_seen() and facts.postgres.role is None else "",
        denied=Facts.database_seen, lines=(Line(r"role \"[^\"]+\" does not exist", "PostgreSQL 15"),),
        remedy=statements(
            "make the role anew with the secret, and give it the database and the tables again", ROLE_ANEW,
            users="logins pause for about 40 s", dump_first=True,
        ),
        explains=("password-drift", "database-wrong-owner", "schema-rights", "role-cannot-login", *NO_CONNECTION),
    ),
    Failure(
        "role-cannot-login", DOWN, "Keycloak's role may not log in",
        "NOLOGIN, an expired password or a connection limit of 0 was set", source="compose/postgres/roles.sql",
        shown=_cannot_login, denied=Facts.database_seen,
        lines=(Line(r"role \"[^\"]+\" is not permitted to log in", "PostgreSQL 15"),),
        remedy=statements("ALTER ROLE keycloak LOGIN CONNECTION LIMIT 50 VALID UNTIL 'infinity'", LOGIN, leaves=PASSWORDS),
        explains=("password-drift", "role-connections-full", *NO_CONNECTION),
    ),
    Failure(
        "password-drift", DOWN, "PostgreSQL refuses the role's present secret",
        "the password in PostgreSQL and the secret are no longer the same", source="PostgreSQL 15",
        shown=lambda facts: facts.login_says("password authentication failed|no password supplied"), denied=Facts.login_tried,
        lines=(Line(r"password authentication failed for user", "PostgreSQL 15"),),
        remedy=statements(
            "ALTER ROLE keycloak PASSWORD with the secret", PASSWORD,
            leaves="the secret, and every other role; the volume is never made anew",
        ),
        explains=("secret-stale", *NO_CONNECTION),
    ),
    Failure(
        "database-missing", DOWN, "Keycloak's database is missing",
        "it was dropped or renamed: realms and users are in the last backup", source="PostgreSQL 15",
        shown=_database_missing,
        denied=Facts.database_seen, lines=(Line(r"database \"[^\"]+\" does not exist", "PostgreSQL 15"),),
        remedy=by_hand(
            "inv logs postgres --since 1h shows who dropped or renamed it",
            "restore Keycloak's database from the last backup, beside the others, then inv restart keycloak",
            "no empty database in its place: that would give a new realm without users",
            leaves="every other database", users="logins stop until it is restored",
        ),
        explains=("database-wrong-owner", "schema-rights", "realm-missing", *NO_CONNECTION),
    ),
    Failure(
        "database-closed", DOWN, "Keycloak's database takes no connections",
        "ALLOW_CONNECTIONS is off, as during a restore that was broken off", source="PostgreSQL 15",
        shown=lambda facts: "" if _database(facts).connectable else "ALLOW_CONNECTIONS is off", denied=Facts.database_seen,
        lines=(Line(r"database \"[^\"]+\" is not currently accepting connections", "PostgreSQL 15"),),
        remedy=statements(
            "ALTER DATABASE keycloak ALLOW_CONNECTIONS true (a restore of this stack would hold the lock)", OPEN,
        ),
        explains=("password-drift", *NO_CONNECTION),
    ),
    Failure(
        "database-wrong-owner", DEGRADED, "Keycloak's database belongs to another role",
        "since PostgreSQL 15 schema public is for the database's owner alone: migrations and first starts fail",
        source="#30375", shown=_owner, remedy=statements("ALTER DATABASE keycloak OWNER TO keycloak", OWNER, dump_first=True),
        explains=("schema-rights", *NO_CONNECTION),
    ),
    Failure(
        "schema-rights", DEGRADED, "Keycloak's role lacks rights in its schema",
        "it cannot make or change tables: writes or the next migration fail", source="#30375; PostgreSQL 15", shown=_rights,
        denied=lambda facts: facts.postgres.schema is not None,
        lines=(Line(r"permission denied for (?:schema|table|relation|sequence|database)|must be owner of", "#30375"),),
        remedy=statements(
            "ALTER … OWNER TO keycloak for tables of others; GRANT what it lacks on schema public and its tables", RIGHTS,
            dump_first=True,
        ),
        explains=NO_CONNECTION,
    ),
    Failure(
        "encoding", RISK, "Keycloak's database is not UTF-8", "names outside its character set are garbled or refused",
        source="db guide", shown=_encoding,
        remedy=by_hand(
            "dump the database, make it anew with ENCODING 'UTF8', restore, compare the counts of realms and users",
            "plan some minutes without logins; nothing changes until then", leaves="the dump",
            users="logins stop for some minutes", dump_first=True,
        ),
    ),
)  # fmt: skip
