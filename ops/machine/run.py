"""The one place that runs other programs: with a deadline, a checked exit code, and the last words of whatever failed.

Standard library only: the health ticker runs a copy of this file outside the checkout.
"""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import IO

from ops.errors import HostLacks, OpsError


@dataclass(frozen=True)
class Result:
    argv: tuple[str, ...]
    returncode: int
    stdout: str
    stderr: str
    seconds: float

    def last_words(self, lines: int = 3) -> str:
        """The end of what the program said, for an error message."""
        said = (self.stderr.strip() or self.stdout.strip()).splitlines()
        return " / ".join(line.strip() for line in said[-lines:]) or "it said nothing"


def shown(argv: Sequence[str], limit: int = 160) -> str:
    text = " ".join(argv)
    return text if len(text) <= limit else text[: limit - 1] + "…"


def run(
    argv: Sequence[str],
    *,
    timeout: float,
    ok: Sequence[int] | None = (0,),
    stdin: str | None = None,
    env: Mapping[str, str] | None = None,
    log: Path | None = None,
) -> Result:
    """Run a program to its end.

    Parameters
    ----------
    timeout: seconds until it is ended, with everything that it started.
    ok: exit codes that count as success; None accepts every one.
    stdin: text for its standard input (secrets travel here, never as an argument).
    env: variables added to the present ones. log: file that receives all output instead of the result.

    Raises HostLacks when the program is not installed, OpsError when it fails or takes too long.
    """
    began = time.monotonic()
    with _output(log) as (out, err):
        try:
            process = subprocess.Popen(
                list(argv), stdin=subprocess.PIPE if stdin is not None else subprocess.DEVNULL, stdout=out, stderr=err,
                text=True, env={**os.environ, **(env or {})}, start_new_session=True, errors="replace",
            )  # fmt: skip
        except FileNotFoundError as problem:
            raise HostLacks(
                f"cannot run {argv[0]}",
                "it is not installed on this host",
                "./scripts/quick-deploy.sh installs what is missing",
            ) from problem
        _running.add(process)
        try:
            stdout, stderr = process.communicate(stdin, timeout=timeout)
        except subprocess.TimeoutExpired as problem:
            _end(process)
            raise OpsError(f"{shown(argv)}", f"did not end within {timeout:.0f} s and was stopped", _where(log)) from problem
        except BaseException:
            _end(process)
            raise
        finally:
            _running.discard(process)
    result = Result(tuple(argv), process.returncode, stdout or "", stderr or "", time.monotonic() - began)
    if ok is not None and result.returncode not in ok:
        words = result.last_words() if log is None else tail(log)
        raise OpsError(f"{shown(argv)}", f"exit code {result.returncode}: {words}", _where(log))
    return result


_running: set[subprocess.Popen[str]] = set()


def stop_all() -> None:
    """End every program that other threads are waiting for: the operator has interrupted the command."""
    for process in list(_running):
        _end(process)


class _output:
    """Pipes, or one log file for both streams."""

    def __init__(self, log: Path | None) -> None:
        self._file = log.open("a", encoding="utf-8") if log else None

    def __enter__(self) -> tuple[int | IO[str], int]:
        if self._file:
            return self._file, subprocess.STDOUT
        return subprocess.PIPE, subprocess.PIPE

    def __exit__(self, *_: object) -> None:
        if self._file:
            self._file.close()


def _where(log: Path | None) -> str:
    return f"read {log}" if log else "inv doctor"


def tail(log: Path, lines: int = 3) -> str:
    """The last lines of a log, for a message."""
    said = [line.strip() for line in log.read_text(errors="replace").splitlines() if line.strip()]
    return " / ".join(said[-lines:]) or "it said nothing"


def _end(process: subprocess.Popen[str]) -> None:
    """End a program and what it started: politely, then for certain."""
    for number, patience in ((signal.SIGTERM, 5.0), (signal.SIGKILL, 5.0)):
        try:
            os.killpg(process.pid, number)
            process.wait(patience)
        except ProcessLookupError:
            return
        except subprocess.TimeoutExpired:
            continue
        return


def detach(argv: Sequence[str], *, log: Path, env: Mapping[str, str]) -> int:
    """Start a program that outlives this one; returns its process id."""
    with log.open("a", encoding="utf-8") as out:
        process = subprocess.Popen(
            list(argv), stdin=subprocess.DEVNULL, stdout=out, stderr=subprocess.STDOUT,
            env={**os.environ, **env}, start_new_session=True, cwd="/",
        )  # fmt: skip
    return process.pid


def become(argv: Sequence[str], env: Mapping[str, str]) -> None:
    """Turn into another program, which then owns the terminal (following a log, an interactive shell)."""
    program = shutil.which(argv[0])
    if program is None:
        raise HostLacks(f"cannot run {argv[0]}", "it is not installed on this host", "./scripts/quick-deploy.sh")
    os.execve(program, list(argv), {**os.environ, **env})


def installed(program: str) -> bool:
    return shutil.which(program) is not None
