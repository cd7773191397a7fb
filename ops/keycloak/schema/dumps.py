"""Dumps of a database on this host: what they are called, what is known of each, which ones may go. Pure."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any

KEEP = 5
"""The newest dumps that stay, of each database."""
KEEP_VERSIONS = 5
"""Versions of Keycloak, the newest ones dumped, of which the newest dump stays besides: a rollback needs it."""
STAMP = "%Y%m%dT%H%M%SZ"
"""UTC, as strftime(3) writes it: names sort by age."""
_NAME = re.compile(r"^([a-z_]+)-(\d{8}T\d{6}Z)\.dump$")


@dataclass(frozen=True)
class Dump:
    """One dump in the state folder."""

    name: str
    """Of its file."""
    database: str
    at: str
    """When it was begun, as STAMP."""
    about: Mapping[str, Any] = field(default_factory=dict)
    """What stood in the database then (for Keycloak: `version`, `changesets` (how many), `applied` (which),
    `realms`, `clients`, `users`) and `why`."""

    @property
    def version(self) -> str:
        """Of the Keycloak that the schema was migrated by; empty where nobody knows."""
        return str(self.about.get("version") or "")


def dump_name(database: str, stamp: str) -> str:
    return f"{database}-{stamp}.dump"


def parse_name(name: str) -> tuple[str, str] | None:
    """(database, stamp) of a dump's file; None for any other file."""
    match = _NAME.match(name)
    return (match[1], match[2]) if match else None


def when(stamp: str) -> str:
    """A stamp as people write it."""
    return f"{stamp[:4]}-{stamp[4:6]}-{stamp[6:8]} {stamp[9:11]}:{stamp[11:13]}:{stamp[13:15]} UTC"


def newest_first(dumps: Iterable[Dump], database: str) -> list[Dump]:
    return sorted((dump for dump in dumps if dump.database == database), key=lambda dump: dump.at, reverse=True)


def expendable(dumps: Iterable[Dump], database: str) -> list[Dump]:
    """Dumps of a database that may go: beyond the newest KEEP, and not the newest of one of the last KEEP_VERSIONS versions."""
    found = newest_first(dumps, database)
    of_version: dict[str, Dump] = {}
    for dump in found:
        if dump.version:
            of_version.setdefault(dump.version, dump)
    kept = {dump.name for dump in (*found[:KEEP], *list(of_version.values())[:KEEP_VERSIONS])}
    return [dump for dump in found if dump.name not in kept]
