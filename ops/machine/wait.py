"""Waiting, always with a deadline."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable

interrupted = threading.Event()
"""Set while a command that the operator has interrupted comes to its end: nobody waits any longer."""


def until(answer: Callable[[], str], deadline: float, *, first_pause: float = 0.15, longest_pause: float = 1.0) -> str:
    """Ask again and again until there is no reason left to wait.

    Parameters
    ----------
    answer: returns why it is not so yet; empty ends the wait. deadline: seconds to wait at most.

    Returns the last reason, empty on success. Pauses grow: a quick start is noticed quickly, a slow one costs little.
    Raises KeyboardInterrupt where the operator has interrupted the command; only its main thread is told that by itself.
    """
    end = time.monotonic() + deadline
    pause = first_pause
    while reason := answer():
        if time.monotonic() + pause > end:
            return reason
        if interrupted.wait(pause):
            raise KeyboardInterrupt
        pause = min(longest_pause, pause * 1.3)
    return ""
