"""PostgreSQL keeps data safe, and each service to its own database."""

from __future__ import annotations

import time
from collections.abc import Mapping

import pytest

from ops.engines.podman import argv as podman
from ops.engines.postgres import login_problem
from tests.smoke.live import Live, eventually

ROLES = {"app": "app", "app_2": "app", "app_migration": "app", "keycloak": "keycloak", "grafana": "grafana"}
"""Role -> its database, after which its secret is named, if not after what it does."""
SECRETS = {"app_migration": "migration"}
DATABASES = ("app", "keycloak", "grafana", "postgres")

OWN_CERTIFICATE = "export PGSSLCERT=/etc/tls/tls.pem PGSSLKEY=/etc/tls/tls.pem"


def sql(live: Live, statement: str, database: str = "postgres") -> list[list[str]]:
    """Rows of a statement that the superuser runs over the container's own socket."""
    said = live.exec("postgres", "psql", "-XAt", "-F", "|", "-v", "ON_ERROR_STOP=1", "-d", database, "-c", statement).stdout
    return [line.split("|") for line in said.splitlines()]


def test_settings_that_protect_data(live: Live) -> None:
    wanted = {
        "data_checksums": "on", "fsync": "on", "full_page_writes": "on", "synchronous_commit": "on", "archive_mode": "on",
        "password_encryption": "scram-sha-256", "ssl": "on", "wal_level": "replica", "log_statement": "none",
    }  # fmt: skip
    settings = dict(sql(live, "SELECT name, setting FROM pg_settings"))

    assert {name: settings[name] for name in wanted} == wanted
    assert sql(live, "SHOW server_version_num")[0][0].startswith("15")


def test_no_page_was_found_damaged(live: Live) -> None:
    assert sql(live, "SELECT datname FROM pg_stat_database WHERE checksum_failures > 0") == []


def test_every_password_is_kept_as_scram(live: Live) -> None:
    others = "SELECT rolname FROM pg_authid WHERE rolcanlogin AND (rolpassword LIKE 'SCRAM-SHA-256$%') IS NOT TRUE"
    assert sql(live, others) == []
    methods = sql(live, "SELECT DISTINCT type, auth_method FROM pg_hba_file_rules ORDER BY 1, 2")
    assert methods == [["hostssl", "scram-sha-256"], ["local", "peer"]]


def test_only_one_role_is_superuser(live: Live) -> None:
    mighty = "SELECT rolname FROM pg_roles WHERE rolsuper OR rolcreatedb OR rolcreaterole OR rolbypassrls"
    assert sql(live, mighty) == [["postgres"]]
    # What is written can be read as it is written by one role besides, which may connect to nothing else.
    assert sql(live, "SELECT rolname FROM pg_roles WHERE rolreplication ORDER BY 1") == [["postgres"], ["receiver"]]
    reaches = "SELECT datname FROM pg_database WHERE datallowconn AND has_database_privilege('receiver', datname, 'CONNECT')"
    assert sql(live, reaches) == [["postgres"]]


def with_input(live: Live, script: str, text: str) -> str:
    """What a script prints in PostgreSQL's container. `text`: its standard input, by which passwords travel."""
    argv = podman.exec_with_input(str(live.container("postgres")["Name"]), ("bash", "-c", script))
    return live.project.host.run(argv, stdin=text).stdout


def logins(live: Live, passwords: Mapping[str, str]) -> dict[tuple[str, str], str]:
    """(role, database) -> "ok" or what PostgreSQL says, tried over the network. `passwords`: role -> what it is tried with."""
    # Where a role is asked for a certificate as well, any of this authority will do.
    script = f"""
{OWN_CERTIFICATE}
while read -r role password; do for database in {" ".join(DATABASES)}; do
  said=$(PGPASSWORD=$password psql -XAt -w -h postgres -U "$role" -d "$database" -c "SELECT 'ok'" 2>&1 </dev/null) || true
  echo "$role|$database|${{said//$'\\n'/ }}"
done; done"""
    text = "".join(f"{role} {password}\n" for role, password in passwords.items())
    rows = (line.split("|", 2) for line in with_input(live, script, text).splitlines())
    return {(role, database): said for role, database, said in rows}


def test_each_role_reaches_its_own_database_and_no_other(live: Live) -> None:
    answers = logins(live, {role: live.secret(f"postgres-{SECRETS.get(role, home)}") for role, home in ROLES.items()})

    assert len(answers) == len(ROLES) * len(DATABASES)
    for (role, database), said in answers.items():
        expected = "ok" if ROLES[role] == database else "no pg_hba.conf entry"
        assert expected in said, f"{role} -> {database}: {said}"


def test_wrong_password_is_refused(live: Live) -> None:
    answers = logins(live, dict.fromkeys(ROLES, "wrong"))

    assert all("password authentication failed" in answers[role, home] for role, home in ROLES.items()), answers


def said_to(live: Live, role: str, statement: str) -> str:
    """What the application's database answers a role."""
    script = (
        f"{OWN_CERTIFICATE}; read -r PGPASSWORD; export PGPASSWORD; "
        f'psql -XAt -w -h postgres -U {role} -d app -c "{statement}" 2>&1 || true'
    )
    return with_input(live, script, live.secret(f"postgres-{SECRETS.get(role, 'app')}") + "\n").strip()


@pytest.mark.parametrize(("role", "becomes"), [("app_2", "app"), ("app_migration", "app_owner")])
def test_login_of_another_role_acts_as_that_role(live: Live, role: str, becomes: str) -> None:
    assert said_to(live, role, "SELECT current_user, session_user") == f"{becomes}|{role}"


@pytest.mark.parametrize("role", ["app", "app_2"])
@pytest.mark.parametrize(
    "statement",
    [
        "CREATE TABLE intruder ()", "DROP TABLE items", "ALTER TABLE items ADD COLUMN intruder int", "TRUNCATE items",
        "CREATE FUNCTION intruder() RETURNS int LANGUAGE sql AS 'SELECT 1'", "DROP EXTENSION pg_trgm", "SET ROLE app_owner",
        "CREATE TRIGGER intruder BEFORE INSERT ON items EXECUTE FUNCTION suppress_redundant_updates_trigger()",
        "CREATE SCHEMA intruder", "ALTER DATABASE app SET work_mem = '1GB'",
    ],
)  # fmt: skip
def test_application_changes_rows_and_nothing_else(live: Live, role: str, statement: str) -> None:
    said = said_to(live, role, f"BEGIN; {statement}; ROLLBACK")

    assert "permission denied" in said or "must be owner" in said, said


def test_application_owns_nothing(live: Live) -> None:
    owned = "SELECT relname FROM pg_class WHERE relowner IN ('app'::regrole, 'app_2'::regrole)"
    assert sql(live, owned, "app") == []
    assert sql(live, "SELECT datdba::regrole FROM pg_database WHERE datname = 'app'") == [["app_owner"]]


def verified(live: Live, environment: str = "") -> str:
    """The version of TLS with which the application's role connects, or why it does not."""
    script = (
        "read -r PGPASSWORD; export PGPASSWORD; psql -XAt -w "
        '"host=postgres user=app dbname=app sslmode=verify-full sslrootcert=/etc/tls/ca.pem" '
        '-c "SELECT version FROM pg_stat_ssl WHERE pid = pg_backend_pid()" 2>&1 || true'
    )
    return with_input(live, environment + script, live.secret("postgres-app") + "\n").strip()


def test_connections_can_be_verified(live: Live) -> None:
    assert verified(live, f"{OWN_CERTIFICATE}; ") in {"TLSv1.2", "TLSv1.3"}


def test_password_alone_opens_nothing_of_the_application(live: Live) -> None:
    assert "requires a valid client certificate" in verified(live)


def test_schema_is_migrated(live: Live) -> None:
    tables = {name for (name,) in sql(live, "SELECT relname FROM pg_stat_user_tables", "app")}

    assert {"items", "idempotency_keys", "probe_requests", "alembic_version"} <= tables


def test_slow_statements_can_be_found(live: Live) -> None:
    assert int(sql(live, "SELECT count(*) FROM pg_stat_statements")[0][0]) > 0


def test_wal_reaches_the_archive(live: Live) -> None:
    """A change is written and its segment is pushed within the minute that archive_timeout grants."""
    began = time.time()
    sql(live, "SELECT pg_logical_emit_message(true, 'smoke', 'nothing')")
    sql(live, "SELECT pg_switch_wal()")

    def waiting() -> str:
        last, failing = sql(
            live,
            "SELECT coalesce(extract(epoch FROM last_archived_time), 0),"
            " coalesce(last_failed_time > last_archived_time, false) FROM pg_stat_archiver",
        )[0]
        if failing == "t":
            return "the last attempt to archive has failed"
        return "" if float(last) >= began - 1 else "no segment has been archived since"

    eventually(waiting, 30)


def test_is_measured(live: Live) -> None:
    live.measures("pg_up")


@pytest.mark.parametrize(("role", "database"), [("keycloak", "keycloak"), ("app", "app")])
def test_a_wrong_password_is_told_as_that(live: Live, role: str, database: str) -> None:
    """What a diagnosis and a rotation go by; not what is said of the second try that psql makes by itself, without TLS."""
    said = login_problem(live.project.engine, role, database, "not the password")
    assert "password authentication failed" in said
