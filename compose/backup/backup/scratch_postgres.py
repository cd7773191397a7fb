"""A PostgreSQL on restored files: on a socket in the scratch space only, and never archiving."""

import re
import signal
import subprocess
import time

from . import command
from .database import Session, local
from .errors import CommandError, JobError
from .paths import POSTGRES_BIN, SCRATCH

DATA, SOCKET, LOG, CONF = SCRATCH / "postgres", SCRATCH / "socket", SCRATCH / "postgres.log", SCRATCH / "postgresql.conf"
RECOVERY_SECONDS = 3600
AMCHECK_SECONDS = 3600
# From pg_controldata: recovery refuses to start below what the primary had.
AT_LEAST = {
    "max_connections": "max_connections setting", "max_worker_processes": "max_worker_processes setting",
    "max_wal_senders": "max_wal_senders setting", "max_prepared_transactions": "max_prepared_xacts setting",
    "max_locks_per_transaction": "max_locks_per_xact setting",
}  # fmt: skip


def configuration(control: str) -> str:
    """postgresql.conf for the restored cluster. Pure. `control`: what pg_controldata printed."""
    settings = {
        "listen_addresses": "''", "unix_socket_directories": f"'{SOCKET}'", "hba_file": f"'{SCRATCH}/pg_hba.conf'",
        "ident_file": f"'{SCRATCH}/pg_ident.conf'", "ssl": "off", "archive_mode": "off", "shared_buffers": "64MB",
        "maintenance_work_mem": "32MB", "work_mem": "4MB", "max_wal_size": "256MB", "min_wal_size": "64MB", "jit": "off",
        "autovacuum": "off", "fsync": "off", "full_page_writes": "off", "max_parallel_workers_per_gather": "0",
        "max_parallel_maintenance_workers": "0", "logging_collector": "off", "log_destination": "stderr", "huge_pages": "off",
        "hot_standby": "off", "timezone": "'UTC'",
    }  # fmt: skip
    for name, said in AT_LEAST.items():
        match = re.search(rf"^{said}:\s+(\d+)$", control, re.MULTILINE)
        if match:
            settings[name] = match[1]
    return "".join(f"{name} = {value}\n" for name, value in settings.items())


class Server:
    """Started by `with`; within it recovery has ended at its target."""

    def __init__(self) -> None:
        self._child: subprocess.Popen | None = None
        self.reach = local(SOCKET)

    def __enter__(self) -> "Server":
        control = command.run([POSTGRES_BIN / "pg_controldata", DATA], deadline=30)
        CONF.write_text(configuration(control))
        (SCRATCH / "pg_hba.conf").write_text("local all all trust\n")
        (SCRATCH / "pg_ident.conf").write_text("")
        SOCKET.mkdir(mode=0o700)
        with LOG.open("wb") as log:
            # Not command.run: it runs beside the checks. SIGQUIT, should this process die: an immediate stop.
            self._child = subprocess.Popen(
                [*command.gently("QUIT"), POSTGRES_BIN / "postgres", "-D", DATA, "-c", f"config_file={CONF}"],
                stdin=subprocess.DEVNULL, stdout=log, stderr=subprocess.STDOUT, start_new_session=True,
            )  # fmt: skip
        try:
            self._until_recovered()
        except BaseException:
            self.__exit__()
            raise
        return self

    def _until_recovered(self) -> None:
        ends = time.monotonic() + RECOVERY_SECONDS
        ready = [POSTGRES_BIN / "pg_isready", "--quiet", "-h", SOCKET, "-t", "2"]
        while True:
            if self._child.poll() is not None:
                raise JobError(f"PostgreSQL did not start on the restored files: {last_words(LOG.read_text(errors='replace'))}")
            try:
                command.run(ready, deadline=10)
                break
            except CommandError:
                if time.monotonic() > ends:
                    raise JobError(f"recovery did not end within {RECOVERY_SECONDS} s") from None
            time.sleep(0.25)
        with Session(self.reach, "postgres") as session:
            while session.ask("SELECT to_json(pg_is_in_recovery());")[0]:
                time.sleep(0.25)

    def amcheck(self) -> None:
        """Reads every table and index of every database. Raises JobError with the first corruption."""
        command.run(
            [POSTGRES_BIN / "pg_amcheck", "--all", "--install-missing", "-h", SOCKET, "-U", "postgres", "--no-password"],
            deadline=AMCHECK_SECONDS,
        )  # fmt: skip

    def __exit__(self, *_: object) -> None:
        command.stop(self._child, how=signal.SIGINT)


def last_words(log: str) -> str:
    """The first FATAL or PANIC with what led to it, or else the end."""
    lines = [line for line in log.splitlines() if re.search(r"\b(FATAL|PANIC|ERROR)\b", line)] or log.splitlines()[-3:]
    return " ".join(" ".join(lines[:3]).split())[:500]
