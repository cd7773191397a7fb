"""One who commits a row each 10 ms, and writes each number that was acknowledged into a file outside of the stack."""

from __future__ import annotations

import os
import subprocess
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from ops.engines.podman import argv as podman
from ops.stack.render import container_name
from tests.drill.stack import Drill
from tests.smoke.live import eventually

PAUSE = 0.01
TABLE = "rpo_drill"
BEGIN = f"CREATE TABLE IF NOT EXISTS {TABLE} (number int PRIMARY KEY, written timestamptz DEFAULT clock_timestamp());"


class Writer(threading.Thread):
    def __init__(self, drill: Drill, file: Path) -> None:
        super().__init__(daemon=True)
        self.file, self.longest = file, 0.0
        file.touch()
        self._ended = threading.Event()
        project = drill.project
        command = ("psql", "-U", "postgres", "-d", "app", "-XAtq", "-v", "ON_ERROR_STOP=1")
        self._child = subprocess.Popen(
            podman.exec_with_input(container_name(project.name, "postgres"), command), stdin=subprocess.PIPE,
            stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, bufsize=0, env={**os.environ, **project.host.environment},
        )  # fmt: skip

    def run(self) -> None:
        number = 0
        with self.file.open("a", buffering=1) as acknowledged:
            while not self._ended.wait(PAUSE):
                number += 1
                began = time.monotonic()
                if not self._commits(number):
                    return
                self.longest = max(self.longest, time.monotonic() - began)
                acknowledged.write(f"{number} {time.time():.3f}\n")

    def _commits(self, number: int) -> bool:
        """Whether the database says so. A number that was sent and not answered may be there or not."""
        stdin, stdout = self._child.stdin, self._child.stdout
        assert stdin
        assert stdout
        try:
            stdin.write(f"INSERT INTO {TABLE} VALUES ({number}) RETURNING number;\n".encode())  # noqa: S608
            return stdout.readline().strip() == str(number).encode()
        except BrokenPipeError:
            return False

    def acknowledged(self) -> dict[int, float]:
        """Number -> when."""
        lines = (line.split() for line in self.file.read_text().splitlines())
        return {int(line[0]): float(line[1]) for line in lines if len(line) == 2}

    def await_more(self, number: int, patience: float = 60) -> None:
        """Until so many more were acknowledged."""
        before = len(self.acknowledged())

        def reason() -> str:
            now = len(self.acknowledged())
            return "" if now >= before + number else f"{now - before} of {number} rows were acknowledged"

        eventually(reason, patience)

    def end(self) -> None:
        self._ended.set()
        self.join(10)
        self._child.kill()
        self._child.wait()


@contextmanager
def committing(drill: Drill, file: Path) -> Iterator[Writer]:
    drill.psql(BEGIN, "app")
    drill.psql(f"TRUNCATE {TABLE}", "app")
    writer = Writer(drill, file)
    writer.start()
    try:
        writer.await_more(100)
        yield writer
    finally:
        writer.end()


def survived(drill: Drill) -> set[int]:
    return {int(number) for number in drill.psql(f"SELECT number FROM {TABLE}", "app").split()}  # noqa: S608
