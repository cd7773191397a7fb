"""Waiting, always with a deadline."""

from __future__ import annotations

import time
from collections.abc import Callable

from ops.core.process import Ended, stopping


def until(answer: Callable[[], str], deadline: float, *, first_pause: float = 0.15, longest_pause: float = 1.0) -> str:
    """Ask again and again until there is no reason left to wait.

    Parameters
    ----------
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
