"""Sessions of psql that stay open: several databases are to be seen at one moment, and only psql speaks to PostgreSQL here."""

import json
import os
import select
import subprocess
import time
from collections.abc import Iterable
from pathlib import Path

from .command import GENTLE, stop
from .errors import JobError
from .paths import CERTIFICATES, OWN_CERTIFICATE, POSTGRES_BIN, RUN

PRIMARY = (
    f"host=postgres user=backup sslmode=verify-full sslrootcert={CERTIFICATES}/ca.pem sslcert={OWN_CERTIFICATE} "
    f"sslkey={OWN_CERTIFICATE} connect_timeout=5 application_name=backup"
)
RECEIVER = PRIMARY.replace("user=backup", "user=receiver")
END = "end-of-answer"
# The texts of values must be the same on both sides of a comparison, whatever the defaults of a database or role are.
SAME_TEXTS = (
    "SET search_path = ''; SET datestyle = 'ISO, YMD'; SET intervalstyle = 'postgres'; SET timezone = 'UTC'; "
    "SET extra_float_digits = 1; SET bytea_output = 'hex'; SET xmloption = 'content'; SET row_security = off; "
    "SET idle_in_transaction_session_timeout = 0; SET statement_timeout = '15min'; SET lock_timeout = '5s';"
)


def local(socket: Path) -> str:
    """How to reach a PostgreSQL that this container has started itself."""
    return f"host={socket} user=postgres connect_timeout=5"


class Session:
    """One connection to one database. Each answer is a line of JSON."""

    def __init__(self, reach: str, database: str) -> None:
        self.database = database
        self._child = subprocess.Popen(
            [*GENTLE, POSTGRES_BIN / "psql", "-XAtq", "-v", "ON_ERROR_STOP=1", f"{reach} dbname='{_escaped(database)}'"],
            stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, bufsize=0, start_new_session=True,
            env={**os.environ, "PGPASSFILE": str(RUN / "pgpass"), "PSQLRC": "/dev/null", "HOME": str(RUN)},
        )  # fmt: skip
        self._rest = b""

    def send(self, sql: str) -> None:
        try:
            self._child.stdin.write(f"{sql}\n\\echo {END}\n".encode())
        except BrokenPipeError:
            raise self._failed(self._rest.decode(errors="replace")) from None

    def receive(self, deadline: float = 60) -> list:
        """Parameters: seconds. Raises JobError with what psql said where the statement failed."""
        ends = time.monotonic() + deadline
        while not self._rest.endswith(f"{END}\n".encode()):
            if not select.select([self._child.stdout], [], [], max(0, ends - time.monotonic()))[0]:
                self.close()
                raise JobError(f"database {self.database}: no answer within {deadline:.0f} s")
            chunk = os.read(self._child.stdout.fileno(), 65536)
            if not chunk:
                raise self._failed(self._rest.decode(errors="replace"))
            self._rest += chunk
        text, self._rest = self._rest.decode(), b""
        return [json.loads(line) for line in text.splitlines()[:-1] if line]

    def ask(self, sql: str, deadline: float = 60) -> list:
        self.send(sql)
        return self.receive(deadline)

    def _failed(self, said: str) -> JobError:
        return JobError(f"database {self.database}: {' '.join(said.split())[:400] or 'psql ended'}")

    def close(self) -> None:
        stop(self._child)
        for stream in (self._child.stdin, self._child.stdout):
            stream.close()

    def __enter__(self) -> "Session":
        return self

    def __exit__(self, *_: object) -> None:
        self.close()


def _escaped(name: str) -> str:
    return name.replace("\\", "\\\\").replace("'", "\\'")


def names(reach: str) -> dict[str, bool]:
    """The databases that hold data, and whether this role may connect to them."""
    sql = (
        "SELECT json_build_array(datname, has_database_privilege(datname, 'CONNECT')) FROM pg_database "
        "WHERE datallowconn AND NOT datistemplate ORDER BY datname;"
    )
    with Session(reach, "postgres") as session:
        return dict(session.ask(sql))


def close_all(sessions: Iterable[Session]) -> None:
    for session in sessions:
        session.close()
