"""The host: leaked secrets, files open to other accounts, listeners, networks, packet filter; and PostgreSQL's role `app`."""

from __future__ import annotations

import os
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ops.audit_log import record as audit
from ops.engines import postgres
from ops.engines.podman.supervisor import firewall
from ops.host.accounts import taken_ids
from ops.secrets import search
from ops.secrets.search import Leak
from ops.security_audit.facts import HostFacts
from ops.security_audit.probe.connections import held_by
from ops.stack.firewall_rules import rules
from ops.store.versions import newest_values

if TYPE_CHECKING:
    from ops.core.state import State
    from ops.project import Project

Inspected = Mapping[str, Mapping[str, Any]]
"""Slot -> `podman container inspect`."""
TAIL = 4 << 20
"""Bytes at the end of each file that are searched: the newest log lines, in a tenth of a second."""
PRIVATE = (b"PRIVATE KEY-----", b"AGE-SECRET-KEY-1")
"""Beginnings of private keys in the files of this stack."""
OWNED = """
SELECT 'owns ' || count(*) || ' objects of ' || coalesce('database ' || d.datname, 'the cluster')
  FROM pg_shdepend o LEFT JOIN pg_database d ON d.oid = o.dbid
 WHERE o.refclassid = 'pg_authid'::regclass AND o.refobjid = 'app'::regrole AND o.deptype = 'o'
 GROUP BY d.datname
UNION ALL
SELECT 'is a member of ' || g.rolname
  FROM pg_auth_members m JOIN pg_roles g ON g.oid = m.roleid WHERE m.member = 'app'::regrole
UNION ALL
SELECT 'is a superuser, or may create roles or databases, or bypasses row security'
  FROM pg_roles WHERE rolname = 'app' AND (rolsuper OR rolcreaterole OR rolcreatedb OR rolbypassrls)
"""
"""pg_shdepend names the owner of each object in every database (PostgreSQL 15, 53.49)."""


def owned(project: Project) -> tuple[str, ...]:
    """What the application's role owns, and of what it is a member. Raises OpsError where PostgreSQL does not respond."""
    return tuple(postgres.query(project.engine, "postgres", OWNED).splitlines())


def leaks(state: State, containers: Inspected) -> tuple[Leak, ...]:
    """Places of the stack that contain the value of a secret. `inv secrets.check` also searches the host's processes."""
    known, found = newest_values(state), []
    for where, content in search.places(state, containers):
        if where.startswith(("process ", search.HANDED)):
            continue
        text = _tail(content) if isinstance(content, Path) else content
        found += [Leak(name, where) for name, value in known.items() if value in text]
    return tuple(dict.fromkeys(found))


def _tail(path: Path) -> bytes:
    try:
        with path.open("rb") as file:
            file.seek(max(0, file.seek(0, os.SEEK_END) - TAIL))
            return file.read()
    except FileNotFoundError:
        return b""  # removed or renamed meanwhile


def archived(project: Project) -> tuple[Leak, ...]:
    """Secrets and private keys in plain text in the host's files for the backup container, except the container's own."""
    state, found = project.state, []
    own = set(project.stack.services["backup"].secrets) if "backup" in project.stack.services else set()
    known = {name: value for name, value in newest_values(state).items() if name not in own}
    for path in sorted(path for path in state.backup.rglob("*") if path.is_file()):
        content, where = path.read_bytes(), str(path.relative_to(state.root))
        found += [Leak(name, where) for name, value in known.items() if value in content]
        found += [Leak("private key", where)] if any(mark in content for mark in PRIVATE) else []
    return tuple(found)


def open_to_others(state: State) -> dict[str, int]:
    """Secrets, keys and their folders that accounts other than their owner can read."""
    private = [
        state.secrets, state.ca, state.dumps, state.acme, *state.acme.rglob("*"), *state.secrets.rglob("*"),
        *state.ca.rglob("*.key"), *state.ca.rglob("passphrase"), *state.dumps.rglob("*"),
    ]  # fmt: skip
    # Including those that a rotation has prepared.
    keys = [path for path in state.certs.rglob("*") if path.is_file() and b"PRIVATE KEY" in path.read_bytes()]
    # A link has no mode of its own: that of its target counts.
    modes = {str(path.relative_to(state.root)): path.stat().st_mode for path in (*private, *keys) if path.exists()}
    return {path: mode & 0o7777 for path, mode in modes.items() if mode & 0o077}


def open_folders(folders: Iterable[Path]) -> Iterator[str]:
    """Folders that other accounts can enter: their modes, and those of all folders above them, permit it."""
    for folder in folders:
        real = folder.resolve()
        if all(one.stat().st_mode & 0o001 for one in (real, *real.parents)):
            yield str(folder)


def host_files(project: Project, containers: Inspected, networks: Mapping[str, bool]) -> HostFacts:
    """containers: all of the project, running or not. networks: declared network -> whether it is internal."""
    monitors = [int(item["State"]["ConmonPid"]) for item in containers.values() if item["State"]["Status"] == "running"]
    found, own = project.engine.networks(networks), {str(item["Id"]) for item in containers.values()}
    # Podman keeps each volume in a folder of its own. The modes of the data inside are the service's.
    volumes = {one["Source"] for item in containers.values() for one in item["Mounts"] if one["Type"] == "volume"}
    return HostFacts(
        open_to_others=open_to_others(project.state),
        listens=frozenset(one for pid in monitors for one in held_by(pid)),
        open_networks=frozenset(name for name, one in found.items() if networks[name] and not one.internal),
        foreign_containers={
            name: tuple(sorted(one[:12] for one in others))
            for name, network in found.items() if (others := network.containers - own)
        },
        firewall=_firewall(project), accounts=taken_ids(project.stack),
        open_folders=tuple(open_folders([project.state.root, *(Path(path).parent for path in sorted(volumes))])),
        audit_log=tuple(f"{place} {what}" for place, what in audit.verify(project.state).findings), archived=archived(project),
    )  # fmt: skip


def _firewall(project: Project) -> str:
    found = firewall.loaded(project.state.root)
    if found == rules(project.stack, project.allocation):
        reached = ", ".join(firewall.intruders(project.state.root))
        return f"Alertmanager may reach {reached}, which is no address of a declared receiver or resolver" if reached else ""
    return "its rules were removed or altered" if found == firewall.ALTERED else "it was never loaded, or is of another release"
