"""Signals of tests reach the processes of those tests alone, also where a fault in the code under test aims elsewhere."""

from __future__ import annotations

import os
from collections.abc import Callable


def is_own(pid: int) -> bool:
    """Whether a process is this one or descends from it (proc(5), /proc/PID/stat, field 4)."""
    while pid > 1:
        if pid == os.getpid():
            return True
        try:
            with open(f"/proc/{pid}/stat", encoding="utf-8", errors="replace") as stat:  # noqa: PTH123  (tests replace Path's)
                pid = int(stat.read().rpartition(")")[2].split()[1])
        except (FileNotFoundError, ProcessLookupError):
            raise ProcessLookupError(3, "No such process") from None
    return False


def guarded(signal: Callable[[int, int], None], refuse: Callable[[], object]) -> Callable[[int, int], None]:
    """`os.kill` or `os.killpg` that calls `refuse`, and sends nothing, where a process or the leader of a group is not own."""

    def send(pid: int, number: int) -> None:
        if not (pid > 0 and is_own(pid)):
            refuse()
            return
        signal(pid, number)

    return send
