"""The backups of the project that may be broken: its jobs, its files on this host, and rows that have to survive."""

from __future__ import annotations

import json
import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from ops.core.process import Result
from tests.drill.stack import Drill, inv
from tests.smoke.live import Live, eventually

SLOT = "backup"
JOB_SECONDS = 600.0
ALERT_SECONDS = 600.0
"""The longest that an alert of these drills takes: its own time, three scrapes, and Alertmanager's grouping."""
LEDGER = """CREATE TABLE ledger (
  n bigint PRIMARY KEY, written timestamptz NOT NULL DEFAULT clock_timestamp(), text text);
ALTER TABLE ledger OWNER TO app"""
SUM = "SELECT count(*) || ' rows, ' || coalesce(sum(hashtextextended(t::text, 0)), 0) FROM {} t"


class Backups:
    def __init__(self, drill: Drill) -> None:
        self.drill = drill

    @property
    def live(self) -> Live:
        """Made anew: containers and ports may be others than before."""
        return Live(self.drill.project)

    def mount(self, volume: str = "backup-repository") -> Path:
        """Where a volume lies on this host; by default that of the local repository."""
        name = f"{self.drill.project.name}-{volume}"
        answer = self.drill.project.host.run(("podman", "volume", "inspect", "--format", "{{.Mountpoint}}", name))
        return Path(answer.stdout.strip())

    # ---- Jobs

    def run(self, *job: str, ok: bool = True) -> Result:
        """A job by hand. Its last words tell why it failed."""
        answer = self.drill.exec(SLOT, "backup", "run", *job, ok=None, timeout=JOB_SECONDS)
        assert not ok or answer.returncode == 0, answer.stdout[-1500:] + answer.stderr[-1500:]
        return answer

    def error(self, *job: str) -> str:
        """Why a job fails, which it has to."""
        answer = self.run(*job, ok=False)
        assert answer.returncode == 1, answer.stdout[-1500:]
        events = [json.loads(line) for line in answer.stdout.splitlines()]
        return " ".join(str(event.get("error", "")) for event in events if event.get("error"))

    def status(self) -> dict[str, Any]:
        answer = self.drill.exec(SLOT, "backup", "status", "--json", ok=None)
        report: dict[str, Any] = json.loads(answer.stdout)
        return report

    def make(self, kind: str = "incr") -> str:
        """A new set, by the operator's command, once it is listed: its name."""
        before = {one["set"] for one in self.status()["sets"]}
        answer = inv("backup", "--kind", kind)
        assert answer.returncode == 0, answer.stdout + answer.stderr
        found: list[str] = []

        def look() -> str:
            found[:] = [one["set"] for one in self.status()["sets"] if one["set"] not in before]
            return "" if found else "the new set is not listed"

        eventually(look, 60)
        return found[0]

    def one(self, name: str) -> dict[str, Any]:
        found: dict[str, Any] = next(one for one in self.status()["sets"] if one["set"] == name)
        return found

    def label(self, name: str) -> str:
        return str(self.one(name)["repositories"]["local"]["label"])

    def await_idle(self, patience: float = JOB_SECONDS) -> None:
        eventually(lambda: f"{self.status()['running']} runs" if self.status()["running"] else "", patience)

    def await_archived(self, patience: float = 180.0) -> None:
        """Until nothing of the WAL waits."""
        eventually(lambda: self.pending() or "", patience)

    def pending(self) -> str:
        """What waits to be archived; empty: nothing."""
        waits = self.drill.psql("SELECT count(*) FROM pg_ls_archive_statusdir() WHERE name LIKE '%.ready'")
        return "" if waits == "0" else f"{waits} segments wait"

    def forged_manifest(self) -> str:
        """What is said of a copy of the newest set's manifest in which one word was changed."""
        name, folder = self.status()["sets"][0]["set"], "/var/lib/pgbackrest/forged"
        try:
            self.drill.exec(SLOT, "backup", "extract", name, "--target", folder, "--only", "host")
            self.drill.exec(SLOT, "sed", "-i", "s/incr/full/", f"{folder}/manifest.json")
            read = (
                f"from backup import manifest as m, errors; from pathlib import Path; m.read(Path('{folder}'), m.public_key())"
            )
            return self.drill.exec(SLOT, "python3", "-c", read, ok=None).stderr
        finally:
            self.drill.exec(SLOT, "rm", "-rf", folder)

    # ---- Rows

    def begin(self) -> None:
        """A table with a thousand rows, and a set that holds it."""
        self.await_idle()
        self.drill.psql(f"DROP TABLE IF EXISTS ledger; {LEDGER}", "app")
        self.write(1, 1000)
        self.make()

    def write(self, first: int, last: int) -> None:
        numbers = f"generate_series({first}, {last}) n"
        self.drill.psql(f"INSERT INTO ledger (n, text) SELECT n, md5(n::text) FROM {numbers}", "app")  # noqa: S608

    def rows(self) -> int:
        return int(self.drill.psql("SELECT count(*) FROM ledger", "app"))

    def sums(self, *tables: str) -> dict[str, str]:
        """Rows and checksum of tables of the application."""
        return {table: self.drill.psql(SUM.format(table), "app") for table in tables}

    def second(self) -> str:
        """A whole second that has just passed, by PostgreSQL's clock, with nothing written since: `--at` takes it."""
        return self.drill.psql("SELECT pg_sleep(1.2); SELECT date_trunc('second', now())::text; SELECT pg_sleep(1.2)").strip()

    def segments(self) -> list[str]:
        """Names of the segments of WAL that wait in PostgreSQL's folder, oldest first."""
        listed = self.drill.psql("SELECT name FROM pg_ls_archive_statusdir() WHERE name LIKE '%.ready' ORDER BY name")
        return [name.removesuffix(".ready") for name in listed.split()]

    # ---- Alerts

    def alerts(self, where: str) -> list[str]:
        """Names that fire, as Prometheus or as Alertmanager knows them."""
        if where == "prometheus":
            found = self.live.ops.json("/prometheus/api/v1/alerts")["data"]["alerts"]
            return [one["labels"]["alertname"] for one in found if one["state"] == "firing"]
        # One that another one has silenced reaches nobody.
        found = self.live.ops.json("/alertmanager/api/v2/alerts", params={"inhibited": "false", "silenced": "false"})
        return [one["labels"]["alertname"] for one in found]

    def await_alert(self, *names: str, patience: float = ALERT_SECONDS) -> None:
        """Until one of them fires and Alertmanager has it."""

        def missing() -> str:
            for where in ("prometheus", "alertmanager"):
                if not set(names) & set(self.alerts(where)):
                    return f"{where} has none of {', '.join(names)}"
            return ""

        eventually(missing, patience)

    def restore(self, *arguments: str) -> Result:
        """`inv restore`, which has to succeed."""
        answer = inv("restore", "--yes", *arguments)
        assert answer.returncode == 0, answer.stdout[-3000:] + answer.stderr
        self.drill.await_healthy()
        return answer


def assert_told(answer: Result, *words: str) -> None:
    """An error as operators get it: what, why and what next, no traceback, and what it has to say."""
    assert answer.returncode in (1, 3), answer.stdout + answer.stderr
    assert "Traceback" not in answer.stdout + answer.stderr
    assert [word for word in words if word not in answer.stderr] == [], answer.stderr
    begins = [line.strip().partition(":")[0] for line in answer.stderr.splitlines()[-3:]]
    assert begins == ["failed", "why", "next"], answer.stderr


@contextmanager
def flipped(path: Path, at: float = 0.5) -> Iterator[None]:
    """One byte of a file is another one within the block.

    at: its place, as a share of the file.
    """
    content = path.read_bytes()
    place = min(int(len(content) * at), len(content) - 1)
    _put(path, content[:place] + bytes([content[place] ^ 0x55]) + content[place + 1 :])
    try:
        yield
    finally:
        _put(path, content)


def put_back(path: Path, content: bytes, about: os.stat_result) -> None:
    """A file that was removed, as it was."""
    path.write_bytes(content)
    os.chown(path, about.st_uid, about.st_gid)
    path.chmod(about.st_mode & 0o777)


def _put(path: Path, content: bytes) -> None:
    """Into the same file, whose owner stays."""
    with path.open("r+b") as file:
        file.write(content)
