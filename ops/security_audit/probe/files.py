"""What lies about on the host: values of secrets where they do not belong, files open to others, listening monitors."""

from __future__ import annotations

import json
import os
from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ops.audit_log import record as audit
from ops.core import parts
from ops.engines.podman import argv as podman
from ops.engines.podman.firewall_rules import rules
from ops.engines.podman.supervisor import firewall
from ops.host.accounts import taken_ids
from ops.secrets.search import Leak
from ops.secrets.versions import newest_values
from ops.security_audit.facts import HostFiles
from ops.security_audit.probe.processes import by_namespace, pids_of
from ops.security_audit.probe.sockets import held_by
from ops.stack.render import network_name

if TYPE_CHECKING:
    from ops.core.state import State
    from ops.project import Project

TAIL = 4 << 20
"""Bytes of the end of each file that are searched: the newest log lines, in a tenth of a second."""


def leaks(project: Project, containers: Mapping[str, Mapping[str, Any]]) -> tuple[Leak, ...]:
    """Every place that holds the value of a secret and should not. `containers`: slot -> what Podman says of it."""
    known = newest_values(project.state)
    found = []
    for where, content in _places(project, containers):
        found += [Leak(name, where) for name, value in known.items() if value in content]
    return tuple(dict.fromkeys(found))


def _places(project: Project, containers: Mapping[str, Mapping[str, Any]]) -> Iterator[tuple[str, bytes]]:
    everybody = by_namespace()
    for slot, item in containers.items():
        yield f"{slot} (inspect)", json.dumps(item).encode()
        for pid in pids_of(int(item["State"]["Pid"]), everybody):
            for part in ("cmdline", "environ"):
                try:
                    yield f"{slot} ({part})", Path(f"/proc/{pid}/{part}").read_bytes()
                except OSError:
                    continue  # it has ended meanwhile
    state = project.state
    folders = (state.logs, state.config, state.releases, state.builds, state.ticker, state.metrics)
    records = (part for path in (state.journal, state.audit) for part in (*parts.finished(path), path))
    for path in (*(path for folder in folders for path in folder.rglob("*")), *records):
        if path.is_file() and not path.is_symlink():
            yield str(path.relative_to(state.root)), _tail(path)


PRIVATE = (b"PRIVATE KEY-----", b"AGE-SECRET-KEY-1")
"""What a private key begins with, in the files of this stack."""


def handed(project: Project) -> tuple[Leak, ...]:
    """Secrets and private keys in what the host hands to the backup container, in the clear. Its own secrets it has anyway."""
    state, found = project.state, []
    own = set(project.stack.services["backup"].secrets) if "backup" in project.stack.services else set()
    known = {name: value for name, value in newest_values(state).items() if name not in own}
    for path in sorted(path for path in state.backup.rglob("*") if path.is_file()):
        content, where = path.read_bytes(), str(path.relative_to(state.root))
        found += [Leak(name, where) for name, value in known.items() if value in content]
        found += [Leak("private key", where)] if any(mark in content for mark in PRIVATE) else []
    return tuple(found)


def _tail(path: Path) -> bytes:
    with path.open("rb") as file:
        file.seek(max(0, file.seek(0, os.SEEK_END) - TAIL))
        return file.read()


def open_to_others(state: State) -> dict[str, int]:
    """Secrets, keys and their folders that others than their owner may read."""
    private = [
        state.secrets,
        state.ca,
        state.dumps,
        state.acme,
        *state.acme.rglob("*"),
        *state.secrets.rglob("*"),
        *state.ca.rglob("*.key"),
        *state.ca.rglob("passphrase"),
        *state.dumps.rglob("*"),
    ]
    # Those that a rotation has prepared and not yet put in place among them.
    keys = [path for path in state.certs.rglob("*") if path.is_file() and b"PRIVATE KEY" in path.read_bytes()]
    # Of a link the mode says nothing: that of what it leads to counts.
    modes = {str(path.relative_to(state.root)): path.stat().st_mode for path in (*private, *keys) if path.exists()}
    return {path: mode & 0o7777 for path, mode in modes.items() if mode & 0o077}


def entered(folders: Iterable[Path]) -> Iterator[str]:
    """Those of these folders that others than root and their owners may enter: they and all above them let them pass."""
    for folder in folders:
        real = folder.resolve()
        if all(one.stat().st_mode & 0o001 for one in (real, *real.parents)):
            yield str(folder)


def _volumes(containers: Mapping[str, Mapping[str, Any]]) -> list[Path]:
    """Folders of the containers' volumes. Podman keeps each in one of its own, which is what is asked about: the modes of the
    data are the service's."""
    found = {one["Source"] for item in containers.values() for one in item["Mounts"] if one["Type"] == "volume"}
    return [Path(path).parent for path in sorted(found)]


def host_files(project: Project, containers: Mapping[str, Mapping[str, Any]], networks: Mapping[str, bool]) -> HostFiles:
    """`containers`: all of the project, whether they run or not. `networks`: declared network -> whether it is internal."""
    monitors = [int(item["State"]["ConmonPid"]) for item in containers.values() if item["State"]["Status"] == "running"]
    listens = {one for pid in monitors for one in held_by(pid)}
    own = {str(item["Id"]) for item in containers.values()}
    verdict = audit.verify(project.state)
    return HostFiles(
        open_to_others=open_to_others(project.state), listens=frozenset(listens),
        open_networks=frozenset(_not_internal(project, [name for name, internal in networks.items() if internal])),
        strangers=_strangers(project, networks, own), firewall=_firewall(project),
        taken=taken_ids(project.stack), entered=tuple(entered([project.state.root, *_volumes(containers)])),
        trail=tuple(f"{place} {what}" for place, what in verdict.findings), handed=handed(project),
    )  # fmt: skip


def _firewall(project: Project) -> str:
    found = firewall.loaded(project.state.root)
    if found == rules(project.stack, project.allocation):
        reached = ", ".join(firewall.intruders(project.state.root))
        return f"Alertmanager may reach {reached}, which no declared receiver or resolver has" if reached else ""
    return "its rules were removed or altered" if found == firewall.ALTERED else "it was never loaded, or is of another release"


def _not_internal(project: Project, names: Sequence[str]) -> Iterator[str]:
    full = [network_name(project.name, name) for name in names]
    for name, spec in zip(names, json.loads(project.host.run(podman.inspect_networks(full)).stdout), strict=True):
        if not spec.get("internal"):
            yield name


def _strangers(project: Project, networks: Mapping[str, bool], own: set[str]) -> dict[str, tuple[str, ...]]:
    found = {}
    for name in networks:
        ids = project.host.run(podman.containers_on(network_name(project.name, name))).stdout.split()
        if others := tuple(one[:12] for one in ids if one not in own):
            found[name] = others
    return found
