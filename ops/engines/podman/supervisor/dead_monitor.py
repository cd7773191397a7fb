"""Containers that Podman cannot start as they are: paused ones, half stopped ones, and those whose monitor ended with them.

A paused container is let go on; one whose stop was broken off (`stopping`, with a live process) is stopped whole. Of one whose
monitor has ended Podman was told nothing, and goes on saying `running`.

Podman 4.3 and 5 learn of an end from one file that the monitor (conmon) writes, `<id>` in the exits folder of their temporary
directory. Without it, `start` does nothing, `restart` and `stop` end in the state `stopping` for good, and only a new container
would help. So the file is written here, as the monitor would have done, and the rest takes its ordinary course (tried with
4.3.1 and 5.4.2).
"""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from ops.core.process import Result
from ops.engines.podman.supervisor.health import LOST, PAUSED, state_of

EXITS = Path("/run/libpod/exits")
"""Where root's Podman looks (`--tmpdir`, libpod's default)."""
STOPPING, STOP_SECONDS = "stopping", "50"
"""The latter below the time that the supervisor gives a command of Podman."""
KILLED = "137"
"""128 + SIGKILL: what is known of the end of a process that nobody watched."""


def recover(name: str, podman: Callable[..., Result]) -> bool:
    """Let a paused container go on, stop a half stopped one, and let Podman know of one that is gone where it does not.

    Parameters
    ----------
    podman: runs podman with these arguments, whatever its exit code.

    Returns whether there was anything to do. Afterwards the container can be started, stopped and removed.
    """
    answer = podman("container", "inspect", name)
    found: list[Mapping[str, Any]] = json.loads(answer.stdout or "[]") if answer.returncode == 0 else []
    if found and state_of(found[0]) == PAUSED:
        return podman("unpause", name).returncode == 0
    if found and state_of(found[0]) == STOPPING:
        return podman("stop", "--time", STOP_SECONDS, name).returncode == 0
    if not found or state_of(found[0]) != LOST or not EXITS.is_dir():
        return False
    (EXITS / str(found[0]["Id"])).write_text(KILLED)
    podman("container", "cleanup", name)
    return True
