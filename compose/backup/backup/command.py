"""The one place that runs programs: each with a deadline, gently, and never outliving the job that started it."""

import collections
import contextlib
import json
import os
import re
import signal
import subprocess
import threading
from collections.abc import Callable, Iterable, Mapping, Sequence
from pathlib import Path
from typing import BinaryIO

from .errors import CommandError


def gently(last_will: str = "TERM") -> tuple[str, ...]:
    """What stands before a program. The site comes first; when memory runs out, a job ends and not the server that takes in
    WAL; and a killed job leaves no program behind that still holds a lock of its repository (`last_will`: its signal)."""
    return ("setpriv", "--pdeathsig", last_will, "choom", "-n", "500", "--", "nice", "-n", "10", "ionice", "-c", "3")


GENTLE = gently()
KEPT_LINES = 50_000
"""Of one program's output: its end tells why it failed, and a report of a large repository stays within memory."""
STOP_SECONDS = 30
"""From SIGTERM, upon which pgBackRest ends its backup in PostgreSQL and restic removes its lock, until SIGKILL."""


def run(
    argv: Sequence[str | Path], *, deadline: float, env: Mapping[str, str] | None = None, cwd: Path | None = None,
    stdin: BinaryIO | None = None, stdout: BinaryIO | None = None, ok: Iterable[int] = (0,),
    on_line: Callable[[str], None] | None = None, kept_lines: int = KEPT_LINES,
) -> str:  # fmt: skip
    """What a program printed on stdout.

    deadline: seconds. env: added to this process' own. stdout: a file that takes the output instead.
    on_line: called with each line of stdout as it comes.
    Raises CommandError with the end of what it said.
    """
    name = " ".join([Path(argv[0]).name, *(str(word) for word in argv[1:] if str(word)[:1].isalpha())][:2])
    child = subprocess.Popen(
        [*GENTLE, *map(str, argv)], env={**os.environ, **(env or {})}, cwd=cwd, stdin=stdin or subprocess.DEVNULL,
        stdout=stdout or subprocess.PIPE, stderr=subprocess.PIPE, start_new_session=True,
    )  # fmt: skip
    said: collections.deque[str] = collections.deque(maxlen=kept_lines)
    complaints: collections.deque[str] = collections.deque(maxlen=200)
    readers = [_reader(child.stderr, complaints, None)]
    if child.stdout:
        readers.append(_reader(child.stdout, said, on_line))
    try:
        child.wait(timeout=deadline)
        for reader in readers:
            reader.join(timeout=STOP_SECONDS)
    except BaseException as stopped:
        stop(child)
        if isinstance(stopped, subprocess.TimeoutExpired):
            raise CommandError(f"{name}: not done within {deadline:.0f} s") from None
        raise
    output = "".join(said)
    if child.returncode not in ok:
        everything = output + "".join(complaints)
        # The first warning often tells the cause of the error.
        everything = "\n".join(plain(line) for line in everything.splitlines() if not harmless(line))
        first = re.search(r"\b(WARN|ERROR|Fatal)\b", everything)
        text = " ".join(everything[first.start() if first else -600 :].split())[:600]
        raise CommandError(f"{name}: exit {child.returncode}: {text}", child.returncode, output + "".join(complaints))
    return output


def plain(line: str) -> str:
    """The message of restic's JSON; any other line as it is."""
    try:
        said = json.loads(line)
        return " ".join(str(said["message"]).split())
    except (ValueError, KeyError, TypeError):
        return line


def harmless(line: str) -> bool:
    """pgBackRest's notice that this container has no user `postgres`. It needs none."""
    return "mapped to current" in line


def stop(child: subprocess.Popen, how: signal.Signals = signal.SIGTERM) -> None:
    """`how` to the program, in the end SIGKILL to all that it has started."""
    child.send_signal(how)
    try:
        child.wait(timeout=STOP_SECONDS)
    except subprocess.TimeoutExpired:
        child.kill()
        child.wait()
    with contextlib.suppress(ProcessLookupError):
        os.killpg(child.pid, signal.SIGKILL)


def _reader(
    stream: BinaryIO, lines: collections.deque, on_line: Callable[[str], None] | None
) -> threading.Thread:  # fmt: skip
    def read() -> None:
        for raw in stream:
            line = raw.decode(errors="replace")
            lines.append(line)
            if on_line:
                on_line(line.rstrip("\n"))

    thread = threading.Thread(target=read, daemon=True)
    thread.start()
    return thread
