"""Accounts of the host that have an id of a container.

A container's id is the same number on the host: whoever has it there may read what belongs to the service, trace its processes
and enter their file system, whatever the modes of folders are.
"""

from __future__ import annotations

import grp
import pwd
import re
from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

from ops.stack.model import Service, Stack

RANGES = {"subuid": Path("/etc/subuid"), "subgid": Path("/etc/subgid")}


@dataclass(frozen=True)
class Account:
    """A user, a group or a range of subordinate ids of the host. kind: `user`, `group`, `subuid` or `subgid`."""

    kind: str
    name: str
    first: int
    count: int = 1


@dataclass(frozen=True)
class Taken:
    """An id of a service that an account of the host has as well."""

    account: Account
    id: int
    services: tuple[str, ...]


def ids_of(stack: Stack) -> dict[int, tuple[str, ...]]:
    """Id of a user or a group -> the services that run with it, or own files with it. Root's is not among them."""
    found: dict[int, set[str]] = defaultdict(set)
    for service in stack.services.values():
        for number in _ids(service):
            found[number].add(service.name)
    found.pop(0, None)
    return {number: tuple(sorted(names)) for number, names in sorted(found.items())}


def _ids(service: Service) -> set[int]:
    definition = service.definition
    texts = [*str(definition.get("user", "0")).split(":"), *map(str, definition.get("group_add") or ())]
    return {service.owner, service.certificate_owner, *(int(text) for text in texts if text.isdigit())}


def subordinate(kind: str, text: str) -> Iterator[Account]:
    """The ranges of /etc/subuid or /etc/subgid: subuid(5)."""
    for line in text.splitlines():
        if match := re.fullmatch(r"([^:#]+):(\d+):(\d+)", line.strip()):
            yield Account(kind, match[1], int(match[2]), int(match[3]))


def taken(ids: Mapping[int, tuple[str, ...]], accounts: Iterable[Account]) -> tuple[Taken, ...]:
    """One entry for each account that has at least one of these ids."""
    found = []
    for account in accounts:
        own = [number for number in ids if account.first <= number < account.first + account.count]
        if own:
            found.append(Taken(account, own[0], ids[own[0]]))
    return tuple(found)


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
