"""Accounts of the host that have an id of a container."""

from __future__ import annotations

import grp
import pwd
from collections.abc import Iterable, Iterator
from contextlib import suppress
from pathlib import Path

from ops.stack.accounts import Account, Taken, ids_of, subordinate, taken
from ops.stack.model import Stack

RANGES = {"subuid": Path("/etc/subuid"), "subgid": Path("/etc/subgid")}


def taken_ids(stack: Stack) -> tuple[Taken, ...]:
    """Users, groups and subordinate ranges of this host that have an id of the stack's containers."""
    ids = ids_of(stack)
    return taken(ids, [*_named(ids), *_ranges()])


def _named(ids: Iterable[int]) -> Iterator[Account]:
    """Asked number by number: a directory service need not list its accounts (getent(1))."""
    for number in ids:
        with suppress(KeyError):
            yield Account("user", pwd.getpwuid(number).pw_name, number)
        with suppress(KeyError):
            yield Account("group", grp.getgrgid(number).gr_name, number)


def _ranges() -> Iterator[Account]:
    for kind, path in RANGES.items():
        with suppress(FileNotFoundError):
            yield from subordinate(kind, path.read_text(encoding="utf-8", errors="replace"))
