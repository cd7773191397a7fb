"""Repairs inside PostgreSQL, by its superuser through the socket: what is run, and the query that prints its undo."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field

from ops.keycloak.failures.facts import ROLE, Facts, Session

SET_HERE = "set for the role or the database"
"""How facts.sql calls a default_transaction_read_only that can be reset here."""
LIMIT = 50
"""Connections of the role (compose/postgres/roles.sql)."""
WORKERS = ("pg_dump", "pg_restore", "pg_basebackup")
"""Programs that work on the database in good order, whoever started them."""


@dataclass(frozen=True)
class Sql:
    """title: what it does, for whoever watches. secrets: variable of psql -> secret."""

    title: str
    statements: str
    undo_query: str = ""
    database: str = "postgres"
    secrets: Mapping[str, str] = field(default_factory=dict)


PASSWORD_SECRET: Mapping[str, str] = {"role_password": "postgres-keycloak"}
OWNER = Sql(
    f"give database {ROLE} to role {ROLE}",
    f"ALTER DATABASE {ROLE} OWNER TO {ROLE};",
    "SELECT format('ALTER DATABASE %I OWNER TO %I;', datname, pg_get_userbyid(datdba)) FROM pg_database"
    f" WHERE datname = '{ROLE}'",
)
_OBJECTS = f"""FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace
  WHERE n.nspname = 'public' AND c.relkind IN ('r', 'p', 'S', 'v', 'm') AND pg_get_userbyid(c.relowner) <> '{ROLE}'
    AND NOT EXISTS (SELECT FROM pg_depend d WHERE d.objid = c.oid AND d.classid = 'pg_class'::regclass
      AND (c.relkind = 'S' AND d.deptype IN ('a', 'i') OR d.deptype = 'e'))"""
"""Tables, views and sequences of others; a sequence that a column owns goes with its table, and what belongs to an extension
stays its owner's."""
_ALTER = "CASE c.relkind WHEN 'S' THEN 'SEQUENCE' WHEN 'v' THEN 'VIEW' WHEN 'm' THEN 'MATERIALIZED VIEW' ELSE 'TABLE' END"
_LACKING = f"""FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace,
    unnest(ARRAY['SELECT', 'INSERT', 'UPDATE', 'DELETE', 'TRUNCATE', 'REFERENCES', 'TRIGGER']) AS p
  WHERE n.nspname = 'public' AND c.relkind IN ('r', 'p') AND NOT has_table_privilege('{ROLE}', c.oid, p)
    AND NOT EXISTS (SELECT FROM pg_depend d WHERE d.objid = c.oid AND d.classid = 'pg_class'::regclass AND d.deptype = 'e')"""
RIGHTS = Sql(
    f"grant role {ROLE} its rights in schema public",
    f"""SELECT format('ALTER %s public.%I OWNER TO {ROLE};', {_ALTER}, c.relname) {_OBJECTS} \\gexec
GRANT CREATE, USAGE ON SCHEMA public TO {ROLE};
SELECT format('GRANT %s ON public.%I TO {ROLE};', p, c.relname) {_LACKING} \\gexec""",
    f"""SELECT format('REVOKE %s ON public.%I FROM {ROLE};', p, c.relname) {_LACKING}
UNION ALL SELECT format('REVOKE %s ON SCHEMA public FROM {ROLE};', p) FROM unnest(ARRAY['CREATE', 'USAGE']) AS p
  WHERE NOT has_schema_privilege('{ROLE}', 'public', p)
UNION ALL SELECT format('ALTER %s public.%I OWNER TO %I;', {_ALTER}, c.relname, pg_get_userbyid(c.relowner)) {_OBJECTS}""",
    database=ROLE,
)
_MARK = rf"""
\set mounted `cat /run/secrets/postgres-keycloak`
SELECT encode(sha256(convert_to(:'mounted', 'UTF8')), 'hex') AS mark \gset
COMMENT ON ROLE {ROLE} IS :'mark';"""
"""What roles.sql remembers: without it the next start of PostgreSQL sets the password that its container was made with."""
ROLE_ANEW = Sql(
    f"recreate role {ROLE}, with its secret and what it owned",
    f"""CREATE ROLE {ROLE} WITH LOGIN NOSUPERUSER NOCREATEDB NOCREATEROLE CONNECTION LIMIT {LIMIT} PASSWORD :'role_password';
ALTER DATABASE {ROLE} OWNER TO {ROLE};
SELECT format('ALTER %s public.%I OWNER TO {ROLE};', {_ALTER}, c.relname) {_OBJECTS} \\gexec{_MARK}""",
    f"""SELECT format('ALTER %s public.%I OWNER TO %I;', {_ALTER}, c.relname, pg_get_userbyid(c.relowner)) {_OBJECTS}
UNION ALL SELECT format('ALTER DATABASE %I OWNER TO %I;', datname, pg_get_userbyid(datdba)) FROM pg_database
  WHERE datname = '{ROLE}'
UNION ALL SELECT 'DROP ROLE {ROLE};'""",
    database=ROLE, secrets=PASSWORD_SECRET,
)  # fmt: skip
LOGIN = Sql(
    f"allow role {ROLE} to log in",
    f"ALTER ROLE {ROLE} WITH LOGIN CONNECTION LIMIT {LIMIT} VALID UNTIL 'infinity';",
    "SELECT format('ALTER ROLE %I WITH %s CONNECTION LIMIT %s VALID UNTIL %L;', rolname,"
    " CASE WHEN rolcanlogin THEN 'LOGIN' ELSE 'NOLOGIN' END, rolconnlimit, coalesce(rolvaliduntil, 'infinity'))"
    f" FROM pg_roles WHERE rolname = '{ROLE}'",
)
PASSWORD = Sql(
    f"set the password of role {ROLE} from its secret",
    f"ALTER ROLE {ROLE} PASSWORD :'role_password';{_MARK}",
    f"SELECT format('ALTER ROLE %I PASSWORD %L;', rolname, rolpassword) FROM pg_authid WHERE rolname = '{ROLE}'",
    secrets=PASSWORD_SECRET,
)
OPEN = Sql(
    f"allow connections to database {ROLE}",
    f"ALTER DATABASE {ROLE} ALLOW_CONNECTIONS true;",
    f"SELECT format('ALTER DATABASE %I ALLOW_CONNECTIONS %s;', datname, datallowconn) FROM pg_database"
    f" WHERE datname = '{ROLE}'",
)
CLUSTER_ROWS = Sql(
    "remove stale cluster rows from jgroups_ping",
    "DELETE FROM public.jgroups_ping;",
    "SELECT format('INSERT INTO public.jgroups_ping SELECT * FROM json_populate_record(NULL::public.jgroups_ping, %L);',"
    " row_to_json(r)) FROM public.jgroups_ping r",
    database=ROLE,
)
_SETTING = "default_transaction_read_only"
_WRITABLE = Sql(
    f"reset {_SETTING} of role and database {ROLE}, and end the sessions that have it",
    f"""ALTER ROLE {ROLE} RESET {_SETTING};
ALTER DATABASE {ROLE} RESET {_SETTING};
ALTER ROLE {ROLE} IN DATABASE {ROLE} RESET {_SETTING};
SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE usename = '{ROLE}' AND backend_type = 'client backend';""",
    f"""SELECT format('ALTER %s SET {_SETTING} = on;', CASE WHEN r.rolname IS NULL THEN format('DATABASE %I', d.datname)
    WHEN d.datname IS NULL THEN format('ROLE %I', r.rolname) ELSE format('ROLE %I IN DATABASE %I', r.rolname, d.datname) END)
  FROM pg_db_role_setting s LEFT JOIN pg_roles r ON r.oid = s.setrole LEFT JOIN pg_database d ON d.oid = s.setdatabase
  WHERE '{_SETTING}=on' = ANY(s.setconfig) AND coalesce(r.rolname, '{ROLE}') = '{ROLE}'
    AND coalesce(d.datname, '{ROLE}') = '{ROLE}' AND (s.setrole <> 0 OR s.setdatabase <> 0)""",
)


def orphaned(facts: Facts, session: Session) -> bool:
    """Whether nobody who works for this product waits for a session: somebody's psql, or what a killed Keycloak has left.

    One of a Keycloak that runs is never that: it may be a migration.
    """
    if session.address in facts.container.addresses:
        alive = facts.container.running_seconds if facts.running else None
        return alive is None or session.seconds > alive
    if session.application in WORKERS:
        return False
    return "JDBC" not in session.application or session.address not in facts.neighbours


def end_holder(facts: Facts) -> Sql | None:
    """Ends the session that holds the change log lock; None where it may belong to a Keycloak that works."""
    holder = facts.postgres.schema.holder if facts.postgres.schema else None
    return ending(facts, [holder], "it holds the change log lock") if holder else None


def ending(facts: Facts, sessions: Iterable[Session], why: str) -> Sql | None:
    """Ends those of the sessions that are orphaned. Nothing undoes that: their open transaction is rolled back."""
    gone = sorted({session.pid for session in sessions if orphaned(facts, session)})
    if not gone:
        return None
    pids = ", ".join(map(str, gone))
    # A number is given anew once its session has ended: only one that is still a client of this database is meant.
    statements = (
        f"SELECT pg_terminate_backend(pid, 5000) FROM pg_stat_activity WHERE pid IN ({pids})"
        f" AND datname = '{ROLE}' AND backend_type = 'client backend' AND pid <> pg_backend_pid();"
    )
    which = f"session {pids}" if len(gone) == 1 else f"{len(gone)} sessions"
    return Sql(f"end {which}: {why}", statements)


def end_orphans(facts: Facts) -> Sql | None:
    """Ends the role's sessions that nobody uses."""
    return ending(facts, facts.postgres.sessions, "the client is gone, or nobody's")


def end_blockers(facts: Facts) -> Sql | None:
    """Ends the sessions that nobody uses and for whose locks Keycloak waits."""
    return ending(facts, facts.postgres.blockers, "Keycloak's statements wait for it")


def writable(facts: Facts) -> Sql | None:
    """Allows writes again; None for a standby, or a setting of the whole server, which others rely on."""
    return _WRITABLE if facts.postgres.read_only in ("", SET_HERE) else None
