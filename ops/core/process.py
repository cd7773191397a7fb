"""The one place that runs other programs: with a deadline, a checked exit code, and the last words of whatever failed.

Standard library only: the health ticker runs a copy of this file outside the checkout.
"""

from __future__ import annotations

import json
import os
import pwd
import shutil
import signal
import subprocess
import tempfile
import threading
import time
from collections.abc import Callable, Iterator, Mapping, Sequence, Set
from contextlib import contextmanager, nullcontext, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Any

from ops.core.errors import HostLacks, OpsError


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
        return " / ".join(line.strip() for line in said[-lines:]) or "it printed nothing"

    def last_json(self) -> dict[str, Any] | None:
        """The JSON object on the last line of its output; None where there is none."""
        lines = [line for line in self.stdout.splitlines() if line.strip()]
        try:
            value = json.loads(lines[-1]) if lines else None
        except ValueError:
            return None
        return value if isinstance(value, dict) else None


def account() -> str:
    """Who gave the command: the login behind sudo, else this process's own."""
    try:
        own = pwd.getpwuid(os.getuid()).pw_name
    except KeyError:
        own = str(os.getuid())
    return os.environ.get("SUDO_USER") or own


def shown(argv: Sequence[str], limit: int = 160) -> str:
    text = " ".join(argv)
    return text if len(text) <= limit else text[: limit - 1] + "…"


PATH = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"
"""Where programs are looked for by what is given an environment of its own."""


def run(
    argv: Sequence[str],
    *,
    timeout: float,
    ok: Sequence[int] | None = (0,),
    stdin: str | None = None,
    env: Mapping[str, str] | None = None,
    log: Path | None = None,
    source: Path | None = None,
    target: Path | None = None,
) -> Result:
    """Run a program to its end.

    timeout: seconds until it is ended, with everything that it started.
    ok: exit codes that count as success; None accepts every one.
    stdin: text for its standard input (secrets travel here, never as an argument).
    env: variables added to the present ones. log: file that receives all output instead of the result.
    source: file that is its standard input, in place of `stdin`. target: file, made for its owner alone, that receives its
    standard output byte for byte: neither passes through this process.
    Raises HostLacks when the program is not installed, OpsError when it fails or takes too long, Ended when the command comes
    to its end before its time.
    """
    began = time.monotonic()
    with _output(log, target) as (out, err), source.open("rb") if source else nullcontext() as given_file:
        given = given_file or (subprocess.DEVNULL if stdin is None else subprocess.PIPE)
        try:
            with _program(
                argv, stdin=given, stdout=out, stderr=err, env={**os.environ, **(env or {})}, errors="replace"
            ) as process:  # fmt: skip
                stdout, stderr = process.communicate(stdin, timeout=timeout)
        except FileNotFoundError as problem:
            raise _not_installed(argv[0]) from problem
        except subprocess.TimeoutExpired as problem:
            raise OpsError(f"{shown(argv)}", f"did not end within {timeout:.0f} s and was stopped", _where(log)) from problem
    result = Result(tuple(argv), process.returncode, stdout or "", stderr or "", time.monotonic() - began)
    if ok is not None and result.returncode not in ok:
        words = result.last_words() if log is None else tail(log)
        raise OpsError(f"{shown(argv)}", f"exit code {result.returncode}: {words}", _where(log))
    return result


def _not_installed(program: str) -> HostLacks:
    return HostLacks(
        f"cannot run {program}", "it is not installed on this host", "./scripts/quick-deploy.sh installs what is missing"
    )


GRACE_SECONDS = 5.0
"""How long a program may take to end after SIGTERM."""
KILLED_SECONDS = 5.0
"""How long the kernel may take to end a program after SIGKILL; one that hangs in it for longer is left to it."""

stopping = threading.Event()
"""Set while a command comes to its end before its time, interrupted or after a failure: no program starts, nobody waits."""
_running: set[subprocess.Popen[str]] = set()
_ended: set[subprocess.Popen[str]] = set()
"""Those of them that `stop_all` has ended."""
_starting = threading.Lock()


PROC = Path("/proc")


class Ended(KeyboardInterrupt):
    """Raised where a program was ended, or not started, because the command comes to its end before its time.

    As with KeyboardInterrupt itself, nothing that handles errors takes it for one.
    """


SHORT = frozenset({"start", "stop", "restart", "rm", "rename", "pause", "unpause", "kill", "secret", "network", "volume"})
"""Commands of Podman that change the state of what exists, each within a grace period of its own. One that is broken off leaves
a container that is `stopping` for ever, or a name that is taken: they are waited for instead."""


def _finishes(argv: Sequence[str]) -> bool:
    return len(argv) > 1 and argv[0] == "podman" and argv[1] in SHORT and "--attach" not in argv


def stop_all(*, at_once: bool = False) -> None:
    """End every program that threads are waiting for, side by side, and have none started until `stopping` is cleared.

    at_once: without a grace period, and also those that change the state of a container.
    """
    with _starting:
        stopping.set()
        running = [process for process in _running if at_once or not _finishes(_argv_of(process))]
        _ended.update(process for process in running if process.poll() is None)
    _end(running, 0.0 if at_once else GRACE_SECONDS)


def _argv_of(process: subprocess.Popen[str]) -> Sequence[str]:
    return process.args if isinstance(process.args, list | tuple) else ()


@contextmanager
def _program(argv: Sequence[str], **options: Any) -> Iterator[subprocess.Popen[str]]:
    """A program that runs while the block does, at the head of a process group of its own. It does not outlive the block."""
    with _starting:
        if stopping.is_set():
            raise Ended
        process: subprocess.Popen[str] = subprocess.Popen(list(argv), text=True, start_new_session=True, **options)
        _running.add(process)
    try:
        yield process
    except BaseException:
        _end([process])
        raise
    else:
        # Whatever its exit code: podman's is 0 at SIGTERM, also where a build was broken off.
        if process in _ended:
            raise Ended
    finally:
        _running.discard(process)
        _ended.discard(process)


@contextmanager
def _output(log: Path | None, target: Path | None) -> Iterator[tuple[int | IO[Any], int]]:
    """Pipes, or one log file for both streams, or a file for what it makes."""
    if log:
        with log.open("a", encoding="utf-8") as file:
            yield file, subprocess.STDOUT
    elif target:
        with os.fdopen(os.open(target, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600), "wb") as raw:
            yield raw, subprocess.PIPE
            raw.flush()
            os.fsync(raw.fileno())
    else:
        yield subprocess.PIPE, subprocess.PIPE


def _where(log: Path | None) -> str:
    return f"read {log}" if log else "inv doctor"


def tail(log: Path, lines: int = 3) -> str:
    """The last lines of a log, for a message."""
    said = [line.strip() for line in log.read_text(errors="replace").splitlines() if line.strip()]
    return " / ".join(said[-lines:]) or "it printed nothing"


def _end(processes: Sequence[subprocess.Popen[str]], grace: float | None = None) -> None:
    """End programs and what they started, side by side: politely, then for certain.

    A further interrupt ends the grace period. It is raised when all of them have ended, and leaves none behind.
    """
    interrupt: KeyboardInterrupt | None = None
    outside = _descendants({process.pid for process in processes})
    end = time.monotonic() + (GRACE_SECONDS if grace is None else grace)
    for number, patience in ((signal.SIGTERM, 0.0), (signal.SIGKILL, KILLED_SECONDS)):
        end = max(end, time.monotonic() + patience)
        for process in processes:
            # Also a group whose head has ended: some of its members outlive a SIGTERM.
            with suppress(ProcessLookupError):
                os.killpg(process.pid, number)
        if number == signal.SIGKILL:
            _kill(outside)
        for process in processes:
            try:
                process.wait(max(0.0, end - time.monotonic()))
            except subprocess.TimeoutExpired:
                continue
            except KeyboardInterrupt as problem:
                interrupt, end = problem, time.monotonic()
                if number == signal.SIGKILL:
                    break
    if interrupt:
        raise interrupt


MONITOR = "conmon"
"""Podman's monitor of a container: it outlives the command that starts the container, and so does the container."""


def _stat(pid: int) -> tuple[str, str, int, int] | None:
    """Name, state, parent and start of a process, in clock ticks from boot (proc(5), /proc/PID/stat, fields 2, 3, 4 and 22)."""
    try:
        # The name is in parentheses, and may itself contain spaces and parentheses.
        head, _, rest = (PROC / str(pid) / "stat").read_text(errors="replace").rpartition(")")
        fields = rest.split()
        return head.partition("(")[2], fields[0], int(fields[1]), int(fields[19])
    except (OSError, IndexError, ValueError):
        return None


def process_started(pid: int) -> int | None:
    """Clock ticks from boot to the start of a process; None where it does not run."""
    found = _stat(pid)
    return None if found is None or found[1] in "ZX" else found[3]


def _descendants(heads: Set[int]) -> dict[int, int]:
    """Process id -> start of what descends from these, in whatever session. A step of a build runs in one of its own, and goes
    on when `podman build` ends."""
    seen = {pid: _stat(pid) for pid in (int(folder.name) for folder in PROC.glob("[0-9]*"))}
    found = {pid: (one[2], one[3]) for pid, one in seen.items() if one and one[0] != MONITOR}
    family = set(heads)
    while more := {pid for pid, (parent, _) in found.items() if parent in family} - family:
        family |= more
    return {pid: found[pid][1] for pid in family - heads if pid in found}


def _kill(processes: Mapping[int, int]) -> None:
    """End those of `_descendants` that still live: a process number may be another's by now, with another start."""
    for pid, started in processes.items():
        if process_started(pid) == started:
            with suppress(OSError):
                os.kill(pid, signal.SIGKILL)


def stream(
    argv: Sequence[str], *, timeout: float, stdin: str, env: Mapping[str, str], cwd: Path, each: Callable[[str], None]
) -> int | None:  # fmt: skip
    """Run a program that is not ours, and pass on its output line by line as it comes.

    timeout: seconds until it is ended, with everything that it started. stdin: text for its standard input.
    env: the whole of its environment. cwd: folder that it runs in. each: called with every line, from another thread.

    Returns its exit code; None where it did not end in time. What it has left running in its process group is ended then:
    nothing outlives the lock of the command. Raises OpsError when it cannot be started, Ended as `run` does.
    """
    teller: threading.Thread | None = None
    # A file and not a pipe: a program that does not read its input must not hold up the writer.
    with tempfile.TemporaryFile("w+", encoding="utf-8") as given:
        given.write(stdin)
        given.seek(0)
        try:
            with _program(
                argv, stdin=given, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, errors="replace", env=dict(env), cwd=cwd
            ) as process:  # fmt: skip
                teller = threading.Thread(target=_pass_on, args=(process, each), daemon=True)
                teller.start()
                code = process.wait(timeout)
                with suppress(ProcessLookupError):
                    os.killpg(process.pid, signal.SIGKILL)
                return code
        except subprocess.TimeoutExpired:
            return None
        except OSError as problem:
            raise OpsError(
                f"cannot run {argv[0]}", str(problem.strerror), "its first line must name a program of this host: #!/bin/sh"
            ) from problem
        finally:
            if teller:
                # What has left its process group may hold its output open for ever.
                teller.join(LAST_LINES_SECONDS)


LAST_LINES_SECONDS = 2.0
LONGEST_LINE = 8192
"""Characters after which a line is passed on in parts."""


def _pass_on(process: subprocess.Popen[str], each: Callable[[str], None]) -> None:
    if process.stdout:
        for line in iter(lambda: process.stdout.readline(LONGEST_LINE), ""):  # type: ignore[union-attr]
            each(line.rstrip("\n"))


def detach(argv: Sequence[str], *, log: Path, env: Mapping[str, str]) -> int:
    """Start a program that outlives this one; returns its process id."""
    with log.open("a", encoding="utf-8") as out:
        process = subprocess.Popen(
            list(argv), stdin=subprocess.DEVNULL, stdout=out, stderr=subprocess.STDOUT,
            env={**os.environ, **env}, start_new_session=True, cwd="/",
        )  # fmt: skip
    return process.pid


@contextmanager
def alongside(argv: Sequence[str], *, log: Path, env: Mapping[str, str]) -> Iterator[Callable[[], int | None]]:
    """Have a program run while the block does, and end it with the block.

    log: file that receives all it says. env: variables added to the present ones.

    The block gets a question: the exit code of a program that has ended by itself, None while it runs. The program's
    standard input is a pipe on which nothing comes: its end tells that this process has gone, however that went.

    Raises HostLacks when the program is not installed.
    """
    with log.open("a", encoding="utf-8") as out:
        try:
            process = subprocess.Popen(
                list(argv), stdin=subprocess.PIPE, stdout=out, stderr=subprocess.STDOUT, text=True,
                env={**os.environ, **env}, start_new_session=True,
            )  # fmt: skip
        except FileNotFoundError as problem:
            raise _not_installed(argv[0]) from problem
    try:
        yield process.poll
    finally:
        try:
            # One that was asked for its exit code has been forgotten by the kernel: its number may be another's by now.
            if process.poll() is None:
                _end([process])
        finally:
            if process.stdin:
                process.stdin.close()


def installed(program: str) -> bool:
    return shutil.which(program) is not None


def until(answer: Callable[[], str], deadline: float, *, first_pause: float = 0.15, longest_pause: float = 1.0) -> str:
    """Ask again and again until there is no reason left to wait.

    answer: returns why it is not so yet; empty ends the wait. deadline: seconds to wait at most.

    Returns the last reason, empty on success. Pauses grow: a quick start is noticed quickly, a slow one costs little.
    Raises Ended where the command comes to its end before its time: nobody waits any longer then.
    """
    end = time.monotonic() + deadline
    pause = first_pause
    while reason := answer():
        if time.monotonic() + pause > end:
            return reason
        if stopping.wait(pause):
            raise Ended
        pause = min(longest_pause, pause * 1.3)
    return ""
