"""A process that is killed at every change of the disk, one after the other."""

from __future__ import annotations

import itertools
import os
from collections.abc import Callable, Iterator

CHANGES = ("open", "rename", "replace", "unlink", "fsync", "mkdir")
KILLED, LONGEST = 9, 500


def killed_at_each_change(work: Callable[[], object]) -> Iterator[int]:
    """The number of the change before which a child that does `work` ended, until one comes to its end."""
    for number in itertools.count(1):
        assert number < LONGEST
        code = _child(work, number)
        assert code in (0, KILLED), "it failed by itself"
        yield number
        if code == 0:
            return


def _child(work: Callable[[], object], number: int) -> int:
    child = os.fork()
    if child == 0:
        try:
            left = itertools.count(number, -1)

            def counted(real: Callable[..., object]) -> Callable[..., object]:
                def change(*arguments: object, **named: object) -> object:
                    if next(left) == 1:
                        os._exit(KILLED)
                    return real(*arguments, **named)

                return change

            for name in CHANGES:
                setattr(os, name, counted(getattr(os, name)))
            work()
            os._exit(0)
        finally:
            os._exit(1)
    return os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])
