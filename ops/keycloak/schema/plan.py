"""What a Keycloak image would do to a database's schema, and which dumps of it are kept. Pure."""

from __future__ import annotations

import re
import xml.etree.ElementTree as ET
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any

MASTER = "META-INF/jpa-changelog-master.xml"
_CHANGELOG = "{http://www.liquibase.org/xml/ns/dbchangelog}"
_MIGRATION = re.compile(r"/migrators/MigrateTo(\d+(?:_\d+)+)\.class$")
_SAID = re.compile(r"Version (\d+(?:\.\d+)+)")
_PINNED = re.compile(r"^ARG KEYCLOAK_VERSION=(\S+)$", re.MULTILINE)
KEEP = 5
"""The newest dumps that stay, of each database."""
KEEP_VERSIONS = 5
"""Versions of Keycloak, the newest ones dumped, of which the newest dump stays besides: a rollback needs it."""
_DUMP = re.compile(r"^([a-z_]+)-(\d{8}T\d{6}Z)\.dump$")


@dataclass(frozen=True)
class Server:
    """A Keycloak as its image holds it."""

    version: str
    """Empty: not known before the image is built."""
    built: bool = True
    """Whether the rest could be read."""
    changesets: frozenset[str] = frozenset()
    """`id|author|file` of every change set that it knows."""
    migrations: tuple[str, ...] = ()
    """Versions that have a migration of the model (realms, clients, roles)."""


@dataclass(frozen=True)
class Schema:
    """The database as the last Keycloak left it."""

    version: str
    """Of the Keycloak that migrated the model last."""
    changesets: frozenset[str]
    counts: Mapping[str, int] = field(default_factory=dict)
    """`realms`, `clients`, `users`, `roles`."""


@dataclass(frozen=True)
class Verdict:
    """What a start of that image on that database would mean."""

    changesets: tuple[str, ...] = ()
    """That will run."""
    migrations: tuple[str, ...] = ()
    foreign: tuple[str, ...] = ()
    """Change sets in the database that the image does not know: a newer Keycloak was there."""
    upgrade: bool = False
    downgrade: bool = False


def numbers(version: str) -> tuple[int, ...]:
    return tuple(int(part) for part in re.findall(r"\d+", version))


def version_said(text: str) -> str:
    """The version in the distribution's version.txt; empty where it names none."""
    match = _SAID.search(text)
    return match[1] if match else ""


def version_pinned(containerfile: str) -> str:
    match = _PINNED.search(containerfile)
    return match[1] if match else ""


def changesets_of(read: Callable[[str], bytes], file: str = MASTER) -> frozenset[str]:
    """Every change set of a change log and of what it includes, as Liquibase names it in `databasechangelog`.

    read: path within the jar -> content.
    """
    # The document is part of the image that is about to be run: it is trusted as that is.
    root = ET.fromstring(read(file))  # noqa: S314
    name, found = root.get("logicalFilePath") or file, set()
    for entry in root:
        if entry.tag == f"{_CHANGELOG}changeSet":
            found.add(f"{entry.get('id')}|{entry.get('author')}|{name}")
        elif entry.tag == f"{_CHANGELOG}include":
            found |= changesets_of(read, entry.get("file") or "")
    return frozenset(found)


def migrations_of(names: Iterable[str]) -> tuple[str, ...]:
    """Versions that have a class for migrating the model, oldest first, by the names of a jar's files."""
    found = {match[1].replace("_", ".") for name in names if (match := _MIGRATION.search(name))}
    return tuple(sorted(found, key=numbers))


def judge(server: Server, schema: Schema) -> Verdict:
    """What that image would do to that database.

    A database that only a later patch of the same minor version has seen, without change sets of its own, is no downgrade:
    Keycloak's schema is the same within a minor version.
    """
    newer, older = numbers(server.version), numbers(schema.version)
    if not server.built:
        return Verdict(upgrade=not newer or newer > older, downgrade=bool(newer) and newer[:2] < older[:2])
    missing = tuple(sorted(server.changesets - schema.changesets))
    # Change sets of extensions stand in tables of their own, so every other one here is Keycloak's.
    foreign = tuple(sorted(schema.changesets - server.changesets))
    migrations = tuple(one for one in server.migrations if numbers(one) > older)
    downgrade = bool(foreign) or newer[:2] < older[:2]
    upgrade = not downgrade and bool(missing or migrations or newer > older)
    return Verdict(missing, migrations, foreign, upgrade, downgrade)


def described(server: Server, schema: Schema, verdict: Verdict) -> str:
    """An upgrade in a line."""
    between = f"Keycloak {schema.version} -> {server.version or '(known once its image is built)'}"
    if not server.built:
        return f"{between}: the image is not built yet; what it will migrate is listed after the build, before anything stops"
    sets, models = len(verdict.changesets), len(verdict.migrations)
    which = f" ({', '.join(verdict.migrations)})" if models else ""
    return (
        f"{between}: {sets} schema change {'set' if sets == 1 else 'sets'} and "
        f"{models} model {'migration' if models == 1 else 'migrations'}{which} will run"
    )


# Dumps of a database on this host.


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
        """Of the Keycloak that the schema was migrated by; empty where unknown."""
        return str(self.about.get("version") or "")


def dump_name(database: str, stamp: str) -> str:
    return f"{database}-{stamp}.dump"


def parse_name(name: str) -> tuple[str, str] | None:
    """(database, stamp) of a dump's file; None for any other file."""
    match = _DUMP.match(name)
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
