"""Sessions that stay open while passwords and certificates change: of PostgreSQL and of Redis, asked a few times a second."""

from __future__ import annotations

import subprocess
import threading
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field

from ops.engines.podman import argv as podman
from ops.stack.render import login_of
from ops.store.versions import secret_versions
from tests.drill.stack import Drill
from tests.smoke.live import Live
from tests.smoke.test_redis import connection

EVERY_SECONDS = 0.3
OPEN = (
    "IFS= read -r PGUSER; IFS= read -r PGPASSWORD; export PGUSER PGPASSWORD; "
    "export PGSSLCERT=/etc/tls/tls.pem PGSSLKEY=/etc/tls/tls.pem; "
    "exec psql --host=127.0.0.1 --dbname=app --no-psqlrc --quiet --tuples-only --no-align --file=-"
)
"""The role, its password, then statements, on standard input."""


@dataclass
class Held:
    """answers: how often each was answered. failures: (which, why)."""

    answers: dict[str, int] = field(default_factory=lambda: {"postgres": 0, "redis": 0})
    failures: list[tuple[str, str]] = field(default_factory=list)

    def assert_nobody_noticed(self) -> None:
        assert self.failures == [] and min(self.answers.values()) > 10, (self.failures, self.answers)

    def told(self) -> str:
        return f"{self.answers['postgres']} and {self.answers['redis']} answers in held sessions, {len(self.failures)} failed"


@contextmanager
def sessions(stack: Drill, live: Live) -> Iterator[Held]:
    """Both are opened before the block with the passwords of then, and never again."""
    held, ended = Held(), threading.Event()
    argv = podman.exec_with_input(stack.name("postgres"), ("bash", "-c", OPEN))
    with ExitStack() as within:
        process = within.enter_context(
            subprocess.Popen(argv, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True,
                             env={**stack.project.host.environment})
        )  # fmt: skip
        assert process.stdin and process.stdout
        version = secret_versions(stack.project.state)["postgres-app"]
        process.stdin.write(f"{login_of('app', version)}\n{live.secret('postgres-app')}\n")
        redis = within.enter_context(connection(live, "app"))

        def ask_postgres() -> None:
            assert process.stdin and process.stdout
            while not ended.wait(EVERY_SECONDS):
                process.stdin.write("SELECT count(*) > 0 FROM public.items;\n")
                process.stdin.flush()
                if (said := process.stdout.readline().strip()) not in ("t", "f"):
                    held.failures.append(("postgres", said or "the session has ended"))
                    return
                held.answers["postgres"] += 1

        def ask_redis() -> None:
            while not ended.wait(EVERY_SECONDS):
                try:
                    redis("SET", "app:drill:held", "1", "EX", "60")
                except (OSError, ValueError, Exception) as problem:
                    held.failures.append(("redis", repr(problem)))
                    return
                held.answers["redis"] += 1

        threads = [threading.Thread(target=work, daemon=True) for work in (ask_postgres, ask_redis)]
        for thread in threads:
            thread.start()
        try:
            yield held
        finally:
            ended.set()
            for thread in threads:
                thread.join(20)
            process.stdin.close()
