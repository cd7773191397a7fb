"""Secrets as files that containers mount, where they are encrypted at rest.

Podman copies a secret of its own into the folder of each container that has it, on disk and readable. So these are files in
memory instead, one for each user that a secret is read by.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

from ops.core import files
from ops.core.state import State
from ops.stack.render import by_file, excerpt_by_file, secret_name, without_ipv6_settings
from ops.store import encrypted_copies
from ops.store.versions import path_of

MODE = 0o400
IPV6 = Path("/proc/sys/net/ipv6")
"""Absent where the kernel was started without IPv6."""


def names(state: State) -> frozenset[str]:
    """Secrets that containers can mount, by the names that Podman would have for them: those in memory, and those of which
    there is an encrypted copy. None where secrets are not encrypted."""
    if not encrypted_copies.is_on(state.root):
        return frozenset()
    places = (state.secrets, encrypted_copies.copies_of(state.root) / "secrets")
    paths = (path for place in places for path in place.glob("*/[0-9]*"))
    found = ((path.parent.name, encrypted_copies.clear_of(path).name) for path in paths)
    return frozenset(secret_name(state.root.name, name, int(version)) for name, version in found if version.isdigit())


def write_files(state: State, services: Iterable[Mapping[str, Any]]) -> None:
    """Write the files that these containers mount."""
    for one in (one for service in services for one in service.get("secrets", ())):
        path = state.handed / str(one["uid"]) / str(one["source"])
        path.parent.mkdir(exist_ok=True, mode=0o700)
        # A migration mounts the secret of another account in the place of the service's own.
        name, _, version = path.name.removeprefix(f"{state.root.name}-").rpartition("-")
        value = path_of(state, name, int(version)).read_text()
        if not path.is_file() or path.read_text() != value:
            files.write(path, value, mode=MODE, owner=int(one["uid"]))


def service_as_is(state: State, service: Mapping[str, Any]) -> Mapping[str, Any]:
    """A container's mapping as it is created on this host."""
    service = service if IPV6.is_dir() else without_ipv6_settings(service)
    if not encrypted_copies.is_on(state.root):
        return service
    write_files(state, [service])
    return by_file(service, state.handed)


def part_as_is(state: State, part: Mapping[str, Any]) -> Mapping[str, Any]:
    """A part of a release's compose file as its containers are created on this host."""
    if not IPV6.is_dir():
        part = {**part, "services": {key: without_ipv6_settings(one) for key, one in part["services"].items()}}
    if not encrypted_copies.is_on(state.root):
        return part
    write_files(state, part["services"].values())
    return excerpt_by_file(part, state.handed)
