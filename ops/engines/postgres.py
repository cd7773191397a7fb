"""PostgreSQL, asked by its superuser through the socket in its container, and logins tried. Secrets travel on standard input
alone."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from ops.core.errors import OpsError
from ops.core.process import Result
from ops.engines.engine import Engine

SLOT = "postgres"
SECONDS = 60.0
"""Until an answer."""
OPTIONS = (
    "-c log_statement=none -c log_min_duration_statement=-1 -c log_min_error_statement=panic "
    "-c pg_stat_statements.track=none -c lock_timeout=15s -c statement_timeout=45s -c synchronous_commit=local"
)
"""Statements may hold passwords: they must reach neither the log nor pg_stat_statements. They wait for no receiver, which
may be away because of the very change that they belong to."""


def psql(
    engine: Engine, database: str, script: str, more: Sequence[str] = (), *, options: str = OPTIONS, seconds: float = SECONDS,
    **variables: str,
) -> Result:  # fmt: skip
    """Run a script, whatever its exit code; its output has a row a line and nothing else.

    more: arguments of psql. options: of the session (PGOPTIONS). seconds: until an answer.
    variables: values that the script names by :'name', or :"name" where they are names themselves; never secrets.
    """
    values = (f"--set={name}={value}" for name, value in variables.items())
    argv = (
        "env", f"PGOPTIONS={options}", "PGCONNECT_TIMEOUT=5", "psql", "--username=postgres", f"--dbname={database}",
        "--no-psqlrc", "--tuples-only", "--no-align", "--quiet", "--set=ON_ERROR_STOP=1", "--set=VERBOSITY=terse", *more,
        *values, "--file=-",
    )  # fmt: skip
    return engine.exec(SLOT, argv, timeout=seconds, ok=None, stdin=script)


def quoted(value: str) -> str:
    """A value for psql's \\set."""
    return "'" + value.replace("\\", "\\\\").replace("'", "''") + "'"


def query(engine: Engine, database: str, text: str) -> str:
    """What a query prints, a row a line. Raises OpsError where it fails."""
    answer = psql(engine, database, text + ";\n")
    if answer.returncode:
        raise OpsError(
            f"PostgreSQL could not be queried about {database}", answer.last_words(1), "inv logs postgres --since 10m"
        )
    return answer.stdout


def execute(engine: Engine, database: str, statements: str, secrets: Mapping[str, str]) -> None:
    """Run statements in one transaction: all of them, or none.

    secrets: variable of psql -> value.
    Raises OpsError where one fails.
    """
    variables = "".join(f"\\set {name} {quoted(value)}\n" for name, value in secrets.items())
    answer = psql(engine, database, f"{variables}{statements}\n", ("--single-transaction",))
    if answer.returncode:
        raise OpsError(f"PostgreSQL refused a change of {database}", answer.last_words(1), "inv logs postgres --since 10m")


def login_problem(engine: Engine, role: str, database: str, password: str, seconds: float = SECONDS) -> str:
    """Why a role cannot log in with this password; empty: it can.

    password: travels on standard input, and inside the container in the environment of psql alone.
    seconds: how long the answer may take.
    """
    ask = f"psql --host=127.0.0.1 --username={role} --dbname={database} --no-psqlrc --quiet --tuples-only --command='SELECT 1'"
    # Some roles are asked for a certificate besides: any of this authority will do, and PostgreSQL has its own at hand.
    # Over TLS or not at all: else psql would try again without, and its last word be that nobody is let in like that.
    certificate = "PGSSLMODE=require PGSSLCERT=/etc/tls/tls.pem PGSSLKEY=/etc/tls/tls.pem"
    script = f"IFS= read -r PGPASSWORD; export PGPASSWORD PGCONNECT_TIMEOUT=3 {certificate}; exec {ask} >/dev/null"
    answer = engine.exec(SLOT, ("bash", "-c", script), timeout=seconds, ok=None, stdin=password + "\n")
    return "" if answer.returncode == 0 else answer.last_words(1)
