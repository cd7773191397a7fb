"""Exactly one health supervisor per project: started, found, stopped. It outlives the command that started it."""

from __future__ import annotations

import os
import shutil
import signal
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from ops.core import files, lock
from ops.core.errors import OpsError
from ops.core.process import detach, tail
from ops.core.state import State

MODULES = (b"ops.supervisor", b"ops.engines.podman.supervisor", b"ops.machine.ticker")
"""What a supervisor is started as; all but the first by earlier releases."""
START_SECONDS = 10.0
STOP_SECONDS = 90.0
"""A supervisor may be in the middle of restarting a container when it is asked to end."""


def supervisor_version(state: State) -> str:
    """Version of the list that the running supervisor works from; empty when nothing is watched."""
    if not lock.busy(state.ticker / "lock") or (state.ticker / "stopped").exists():
        return ""
    return str((files.read_json(state.ticker / "supervise.json") or {}).get("version", "unknown"))


def start_supervisor(
    state: State, sources: Mapping[str, str], content: Mapping[str, Any], version: str, env: Mapping[str, str]
) -> None:
    """Install the supervisor's own copy of its code and its list, and have one process running on them.

    Raises OpsError where it does not come up.
    """
    stop_supervisor(state)
    code = state.ticker / "code"
    shutil.rmtree(code, ignore_errors=True)
    for name, text in sources.items():
        path = code / "ops" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        files.write(path, text)
    files.write(state.ticker / "supervise.json", files.dump({"version": version, **content}))
    (state.ticker / "stopped").unlink(missing_ok=True)
    log = state.ticker / "ticker.log"
    python = "/usr/bin/python3" if os.access("/usr/bin/python3", os.X_OK) else "python3"
    argv = (python, "-P", "-m", "ops.supervisor", str(state.root))
    detach(argv, log=log, env={**env, "PYTHONPATH": str(code)})
    until = time.monotonic() + START_SECONDS
    while not lock.busy(state.ticker / "lock"):
        if time.monotonic() > until:
            raise OpsError("the health supervisor does not start", tail(log), f"read {log}, then run the command again")
        time.sleep(0.05)


def end_supervision(state: State) -> None:
    """Stop watching until the next start: a supervisor that systemd starts again meanwhile finds the mark and repairs
    nothing."""
    files.write(state.ticker / "stopped", "")
    stop_supervisor(state)


def stop_supervisor(state: State) -> None:
    """End the running supervisor, if there is one, and wait until it has gone."""
    until = time.monotonic() + STOP_SECONDS
    while who := lock.holder(state.ticker / "lock"):
        if who.pid and _is_supervisor(who.pid):
            os.kill(who.pid, signal.SIGTERM)
        if time.monotonic() > until:
            raise OpsError(
                "the health supervisor does not stop",
                f"process {who.pid} still holds its lock",
                f"kill -9 {who.pid}, then run the command again",
            )
        time.sleep(0.1)


def _is_supervisor(pid: int) -> bool:
    """Never signal a stranger that was given the same number."""
    try:
        words = Path(f"/proc/{pid}/cmdline").read_bytes().split(b"\0")
        return any(module in words for module in MODULES)
    except OSError:
        return False
