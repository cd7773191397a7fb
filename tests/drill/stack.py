"""The stack that is broken on purpose, and the commands that mend it."""

from __future__ import annotations

import hashlib
import json
import os
import shutil
import signal
import subprocess
import sys
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from ops.core.machine import REPOSITORY
from ops.core.process import Result, run, until
from ops.core.records import entries
from ops.engines.podman import argv as podman
from ops.engines.podman.observe import inspected_containers, reasons
from ops.engines.podman.supervise import stop_supervisor
from ops.project import Project, open_project
from ops.stack.checkout import read_settings

SUFFIXES = ("-drill", "-test", "-bench")
INV_SECONDS = 900.0
"""More than any deadline of a command: one that hangs is ended, and the test fails."""
PATIENCE = 180.0
"""Seconds until something that does not come back counts as lost. What was promised is compared in the report, not here:
how fast a busy machine is says nothing about right and wrong."""
ENV = shutil.which("env") or "env"
"""By its path: some tests take the search path away."""
TRACES = ("journal.jsonl", "audit.jsonl", "audit.head", "lock", "logs", "metrics", "ticker", "builds")
"""Parts of the state folder that are written while nothing changes: logs, measurements, the record of attempts."""


def refusal() -> str:
    """Why the project of this environment must not be broken; empty where it may be."""
    project = read_settings(REPOSITORY).project
    if project.endswith(SUFFIXES) or os.environ.get("CC03_DRILL_ANYWAY") == "1":
        return ""
    return (
        f'project "{project}" may be one that people use, and this breaks and removes it: '
        f"export CC03_PROJECT={project}-drill, or CC03_DRILL_ANYWAY=1 if you mean it"
    )


def inv_argv(*arguments: str, root: Path = REPOSITORY) -> tuple[str, ...]:
    return (sys.executable, "-m", "invoke", "--search-root", str(root), *arguments)


def inv(*arguments: str, root: Path = REPOSITORY, under: tuple[str, ...] = (), env: Mapping[str, str] | None = None) -> Result:
    """A command of the operator as a script runs it.

    root: the checkout. under: a program that runs it in other circumstances (unshare, setpriv).
    env: variables besides the present ones.
    """
    # Python takes its packages from the folder that it is started in: that checkout's own must be the ones that run.
    argv = (*under, ENV, "-C", str(root), *inv_argv(*arguments, root=root))
    return run(argv, timeout=INV_SECONDS, ok=None, env=env)


def succeeds(*arguments: str) -> float:
    """A command, which has to succeed; the seconds that it took."""
    answer = inv(*arguments)
    assert answer.returncode == 0, answer.stdout + answer.stderr
    return answer.seconds


class Drill:
    """The project that may be broken. Everything is read anew each time: nothing that was true before has to be true now."""

    @property
    def project(self) -> Project:
        return open_project()

    def containers(self) -> Mapping[str, Mapping[str, Any]]:
        """Slot -> what `podman container inspect` says."""
        return inspected_containers(self.project.host)

    def pid(self, slot: str) -> int:
        return int(self.containers()[slot]["State"]["Pid"])

    def name(self, slot: str) -> str:
        """Of its container."""
        return f"{self.project.name}-{slot}"

    def exec(self, slot: str, *argv: str, ok: tuple[int, ...] | None = (0,), timeout: float = 120.0) -> Result:
        return self.project.host.run(podman.exec_in(self.name(slot), argv), ok=ok, timeout=timeout)

    def psql(self, statements: str, database: str = "postgres") -> str:
        """What statements of the superuser print. Raises where one of them fails."""
        psql = ("psql", "--username=postgres", f"--dbname={database}", "--no-psqlrc", "--tuples-only", "--no-align", "--quiet",
                "--set=ON_ERROR_STOP=1", "--file=-")  # fmt: skip
        return self.project.host.run(
            podman.exec_with_input(self.name("postgres"), psql), stdin=statements, timeout=60
        ).stdout.strip()

    def slots(self, service: str) -> list[str]:
        return [slot for slot in self.project.stack.services[service].slots() if slot in self.containers()]

    def unhealthy(self, *only: str) -> str:
        """Why the stack, or these slots of it, is not healthy; empty when it is."""
        project, found = self.project, self.containers()
        targets = [target for target in project.targets() if (target.slot in only if only else target.slot in found)]
        if not found or not targets:
            return "there are no containers"
        return "; ".join(f"{slot}: {why}" for slot, why in reasons(project.host, targets, found).items())

    def await_healthy(self, *slots: str, patience: float = PATIENCE) -> None:
        reason = until(lambda: self.unhealthy(*slots), patience, longest_pause=0.3)
        assert not reason, f"after {patience:.0f} s: {reason}"

    def deploy(self, *arguments: str, **options: Any) -> Result:
        """`inv deploy`, which has to succeed."""
        answer = inv("deploy", "--yes", *arguments, **options)
        assert answer.returncode == 0, f"inv deploy: exit code {answer.returncode}\n{answer.stdout[-2000:]}\n{answer.stderr}"
        return answer

    def destroy(self, *, keep_data: bool = False) -> None:
        answer = inv("destroy", "--yes", *(() if keep_data else ("--no-keep-data",)))
        assert answer.returncode == 0, answer.stderr

    def assert_as_wanted(self) -> None:
        """Nothing is left to do, and everything is healthy."""
        planned = inv("deploy", "--plan")
        assert (planned.returncode, planned.stdout.splitlines()[-1:]) == (0, ["nothing to do"]), planned.stdout + planned.stderr
        assert self.unhealthy() == ""

    def end_watch(self) -> None:
        """Without the health ticker, where it would mend what is to be looked at. It is not told to stop: that is a mark on
        purpose, and nothing is mended while it stands."""
        stop_supervisor(self.project.state)

    def watch(self) -> None:
        answer = inv("start")
        assert answer.returncode == 0, answer.stderr

    def ticker_pid(self) -> int:
        return int(json.loads((self.project.state.ticker / "lock").read_text())["pid"])

    def fingerprint(self) -> dict[str, str]:
        """What must be the same after a command that was refused: containers as they run, and every file of the state."""
        found = {f"container {slot}": f"{item['Id']} {item['State']['StartedAt']}" for slot, item in self.containers().items()}
        root = self.project.state.root
        for path in sorted(root.rglob("*")):
            if path.is_symlink():
                found[str(path)] = str(path.readlink())
            elif path.is_file() and path.relative_to(root).parts[0] not in TRACES:
                found[str(path)] = hashlib.sha256(path.read_bytes()).hexdigest()
        return found

    def step_began(self, since: int, step: str, journal: Path | None = None) -> bool:
        """Whether the journal, by default that of the lock's holder, says from that entry on that a step was begun."""
        begun = list(entries(journal or self.project.state.journal))[since:]
        return any(entry["event"] == "step" and entry["step"] == step for entry in begun)


@contextmanager
def begun(
    *arguments: str, log: Path, env: Mapping[str, str] | None = None, root: Path = REPOSITORY
) -> Iterator[subprocess.Popen[bytes]]:  # fmt: skip
    """A command of the operator that is under way during the block; what is left of it afterwards is ended."""
    environment = {**os.environ, **(env or {})}
    with log.open("wb") as out, subprocess.Popen(
        inv_argv(*arguments, root=root), stdout=out, stderr=subprocess.STDOUT, stdin=subprocess.DEVNULL,
        env=environment, cwd=root,
    ) as process:  # fmt: skip
        try:
            yield process
        finally:
            process.kill()


def kill(pid: int) -> None:
    os.kill(pid, signal.SIGKILL)
