"""Ids of the stack's containers, and accounts of the host that have one of them. Pure.

A container's id is the same number on the host: whoever has it there may read what belongs to the service, trace its processes
and enter their file system, whatever the modes of folders are.
"""

from __future__ import annotations

import re
from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass

from ops.stack.model import Service, Stack


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
