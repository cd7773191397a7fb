"""Backup and restore of a database of 1 GB beside plain ways to copy the same bytes, and what the users notice of it.

Everything runs where it runs in operation, within the containers' limits, one after the other, on one disk.
"""

from __future__ import annotations

import json
import statistics
import threading
import time
from collections.abc import Iterator
from contextlib import suppress
from typing import Any

from ops.core.errors import OpsError
from ops.core.process import Result
from ops.core.records import entries
from tests.bench import commands
from tests.bench.figures import Figure
from tests.drill.stack import Drill
from tests.smoke.live import Live

MB, GB = 1 << 20, 1 << 30
SCALE = 80
"""Of pgbench: 1.2 GB with its indexes."""
DATABASE = "bench"
LONGEST = 3600.0
RATE, CLIENTS, BEFORE_SECONDS = 100, 8, 30
"""Of the users: transactions a second, connections, and how long they are measured before the backup begins."""
TOGETHER = "UPDATE pgbench_accounts SET abalance = abalance + 1 WHERE aid <= 1000 * {scale}"
SPREAD = "UPDATE pgbench_accounts SET abalance = abalance + 1 WHERE aid % 100 = 50"
BACKUP_LIMIT, INCREMENTAL_LIMIT, P99_LIMIT, RTO_LIMIT = 1.2, 0.25, 2.0, 60.0
HOME = "/var/lib/postgresql"
REACH = (
    "host=postgres user=receiver sslmode=verify-full sslrootcert=/etc/tls/ca.pem "
    "sslcert=/etc/tls/tls.pem sslkey=/etc/tls/tls.pem"
)


class Subject:
    """The live stack with a database that is large enough."""

    def __init__(self, drill: Drill) -> None:
        self.drill = drill

    def run(self, slot: str, script: str) -> Result:
        live = Live(self.drill.project)
        name = str(live.container(slot)["Name"])
        return live.project.host.run(("podman", "exec", name, "bash", "-ceo", "pipefail", script), timeout=LONGEST)

    def seconds(self, slot: str, script: str) -> float:
        """That it takes until its bytes are on the disk."""
        return self.run(slot, f"{script}; sync").seconds

    def sql(self, statement: str, database: str = DATABASE) -> str:
        return self.run("postgres", f"psql -U postgres -d {database} -XAtqc {json.dumps(statement)}").stdout.strip()

    def fill(self) -> None:
        self.sql(f"CREATE DATABASE {DATABASE}", "postgres")
        self.run("postgres", f"pgbench -U postgres -i -q -s {SCALE} {DATABASE}")
        self.sql("CHECKPOINT")

    def backup(self, kind: str) -> tuple[float, int]:
        """Seconds of PostgreSQL's part, and bytes that it added to the repository."""
        said = self.run("backup", f"backup run set --kind {kind} --json-progress").stdout
        events = [json.loads(line) for line in said.splitlines() if line.startswith("{")]
        began = next(one["elapsed"] for one in events if one.get("phase") == "postgres")
        ended = next(one["elapsed"] for one in events if one["event"] == "phase" and one["phase"] == "fingerprint")
        return ended - began, self._added()

    def _added(self) -> int:
        said = self.run("backup", "pgbackrest --config=/run/pgbackrest/pgbackrest.conf --stanza=main info --output=json").stdout
        newest: dict[str, Any] = json.loads(said)[0]["backup"][-1]
        return int(newest["info"]["repository"]["delta"])

    def await_idle(self) -> None:
        """Until no job of the schedule runs, and the archive has caught up."""
        self.run("backup", "backup run check")


class Users(threading.Thread):
    """pgbench at a steady rate; a transaction counts from the moment at which it was due."""

    def __init__(self, subject: Subject) -> None:
        super().__init__(daemon=True)
        self.subject = subject

    def run(self) -> None:
        # `end` interrupts it, which is no failure.
        with suppress(OpsError):
            self.subject.run("postgres", (
                f"rm -f /tmp/users.*; pgbench -U postgres -n -c {CLIENTS} -j 2 -R {RATE} -T {int(LONGEST)} -l "
                f"--log-prefix=/tmp/users {DATABASE}"
            ))  # fmt: skip

    def end(self) -> list[tuple[float, float]]:
        """(when it ended, milliseconds) of each transaction."""
        self.subject.run("postgres", "pkill -INT -x pgbench || true")
        self.join(60)
        lines = (
            line.split() for line in self.subject.run("postgres", "cat /tmp/users.*; rm -f /tmp/users.*").stdout.splitlines()
        )
        return [
            (int(line[4]) + int(line[5]) / 1e6, int(line[2]) / 1000) for line in lines if len(line) >= 6 and line[2].isdigit()
        ]


def p99(found: list[tuple[float, float]], since: float, until: float) -> float:
    took = sorted(one for at, one in found if since <= at < until)
    return took[len(took) * 99 // 100] if took else 0.0


def backup(rounds: int) -> Iterator[Figure]:
    """Needs a live stack. Restores it in the end, and removes its database."""
    subject = Subject(Drill())
    subject.fill()
    subject.await_idle()
    size = int(subject.run("postgres", "du -sb $PGDATA/base $PGDATA/global | awk '{s += $1} END {print s}'").stdout)
    yield Figure("backup: bytes of all databases", size / MB, "MB")
    yield from _copies(subject, size, rounds)
    yield from _incremental(subject)
    yield from _noticed(subject)
    yield from _restore(subject, size)
    subject.sql(f"DROP DATABASE {DATABASE}", "postgres")


def _copies(subject: Subject, size: int, rounds: int) -> Iterator[Figure]:
    """Ways to copy the same bytes, in turn, so that each meets the same neighbours."""
    ways = {
        "plain copy": ("postgres", f"cp -a $PGDATA/base {HOME}/bench.copy", f"rm -rf {HOME}/bench.copy"),
        "pg_basebackup": (
            "backup", f"PGPASSFILE=/run/backup/pgpass /usr/lib/postgresql/15/bin/pg_basebackup -c fast -X none "
            f"-D /var/lib/pgbackrest/bench.base -d '{REACH}'", "rm -rf /var/lib/pgbackrest/bench.base",
        ),
        "pg_dump | gzip": ("postgres", f"pg_dump -U postgres {DATABASE} | gzip >{HOME}/bench.gz", f"rm -f {HOME}/bench.gz"),
    }  # fmt: skip
    took: dict[str, list[float]] = {name: [] for name in (*ways, "full backup")}
    for _ in range(rounds):
        for name, (slot, script, tidy) in ways.items():
            subject.run(slot, tidy)
            took[name].append(subject.seconds(slot, script))
            subject.run(slot, tidy)
        took["full backup"].append(subject.backup("full")[0])
    middle = {name: statistics.median(seconds) for name, seconds in took.items()}
    for name, seconds in middle.items():
        yield Figure(f"backup: {name}", size / MB / seconds, "MB/s", note=f"{seconds:.1f} s, median of {rounds}")
    ratios = [one / other for one, other in zip(took["full backup"], took["pg_basebackup"], strict=True)]
    note = f"encrypted and compressed; of the same round, {min(ratios):.2f} to {max(ratios):.2f}"
    yield Figure("backup: full / pg_basebackup", statistics.median(ratios), "", BACKUP_LIMIT, note=note)


def _incremental(subject: Subject) -> Iterator[Figure]:
    """After 1 % of the rows has changed: rows that lie together, as new ones do, and one in each hundred."""
    full = subject.backup("full")[1]
    yield Figure("backup: full, in the repository", full / MB, "MB")
    for name, statement in (("together", TOGETHER.format(scale=SCALE)), ("spread over the whole table", SPREAD)):
        subject.sql(statement)
        subject.sql("CHECKPOINT")
        seconds, added = subject.backup("incr")
        limit = INCREMENTAL_LIMIT
        yield Figure(f"backup: incremental / full, 1 % of the rows, {name}", added / full, "", limit, note=f"{seconds:.1f} s")


def _noticed(subject: Subject) -> Iterator[Figure]:
    """The users' p99 before a full backup and while it runs."""
    users = Users(subject)
    users.start()
    time.sleep(5)
    began = time.time()
    time.sleep(BEFORE_SECONDS)
    middle = time.time()
    subject.backup("full")
    ended = time.time()
    found = users.end()
    before, during = p99(found, began, middle), p99(found, middle, ended)
    yield Figure("backup: users' p99 before", before, "ms", note=f"{RATE} transactions/s")
    yield Figure("backup: users' p99 during a full one", during, "ms", note=f"over {ended - middle:.0f} s")
    yield Figure("backup: p99 during / before", during / before if before else 0.0, "", P99_LIMIT)


def _restore(subject: Subject, size: int) -> Iterator[Figure]:
    """Seconds from the order until users are served and a login, a read and a write are proved; and what takes them."""
    journal = subject.drill.project.state.journal
    since = len(list(entries(journal)))
    whole = commands.inv("restore", "--yes")
    took = {one["step"]: float(one["seconds"]) for one in list(entries(journal))[since:] if one["event"] == "done"}
    served = whole - sum(took.get(step, 0.0) for step in ("supervise", "forget", "archive", "full"))
    parts = ", ".join(f"{step} {seconds:.0f} s" for step, seconds in sorted(took.items(), key=lambda one: -one[1])[:8])
    yield Figure(
        "restore: PostgreSQL's files", size / MB / took["fetch postgres"], "MB/s", note=f"{took['fetch postgres']:.1f} s"
    )
    yield Figure("restore: until users are served", served, "s", note=parts)
    yield Figure("restore: seconds a GB", served / (size / GB), "s/GB", RTO_LIMIT)
