"""Files on the host that belong to the id of a service: which of them a plan has to change. Pure.

A release says which id each of its services runs with. Where that of a running service is another one than before, on the
way there and on the way back, its volumes and what it alone mounts of the state folder follow, while none of its containers
runs. Old containers of a service that is replaced one by one read their key anew at each connection: they keep the folder
that they have mounted, and new ones get a copy.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import replace

from ops.core.plan import Step
from ops.host.steps import DropFormerFiles, OwnFiles
from ops.stack.applied_settings import INSIDE as REPOSITORIES
from ops.stack.model import Seen, Service
from ops.stack.render import volume_name
from ops.stack.wanted import Wanted

OWN = ("/etc/tls", "/var/lib/cc03-host", REPOSITORIES)
"""Where a container mounts folders of the host whose files belong to its id."""
ROOT = 0


def volumes_of(service: Service, project: str) -> tuple[str, ...]:
    """Volumes that a service writes to, by the names that Podman has for them."""
    mounts = _mounts(service)
    return tuple(volume_name(project, source) for source, _, *mode in mounts if source[0] not in "./" and "ro" not in mode)


def folders_of(service: Service) -> tuple[str, ...]:
    """Folders of the host that hold files of its id."""
    return tuple(source for source, target, *_ in _mounts(service) if source[0] == "/" and target.startswith(OWN))


def _mounts(service: Service) -> list[list[str]]:
    """Source, target and options of each mount."""
    return [parts for mount in service.definition.get("volumes") or () if len(parts := str(mount).split(":")) > 1]


def steps(wanted: Wanted, seen: Seen, service: Service, after: Iterable[Step], *, beside: bool) -> list[Step]:
    """The step that changes the owner of a service's files to the id that it is to run with; none where they have it."""
    volumes, folders = volumes_of(service, wanted.stack.project), folders_of(service)
    owner = service.certificate_owner
    foreign = {uid for place in (*volumes, *folders) for uid in seen.owners.get(place, ())} - {ROOT, owner}
    if not foreign:
        return []
    title = f"change the owner of {service.name}'s files to uid {owner} (now {', '.join(map(str, sorted(foreign)))})"
    step = OwnFiles(f"own {service.name}", title, service=service.name, owner=owner, folders=folders, volumes=volumes)
    return [replace(step, after=tuple(after), beside=beside)]


def reader(seen: Seen, service: Service) -> int:
    """The id that reads a service's keys until the step above: that of an earlier release, where files still belong to it."""
    found = {uid for folder in folders_of(service) if "/certs/" in folder for uid in seen.owners.get(folder, ())} - {ROOT}
    return next(iter(found)) if len(found) == 1 else service.certificate_owner


def removal(seen: Seen, service: Service, after: Iterable[Step], *, changed: bool) -> list[Step]:
    """The step that removes what containers of the former id had mounted. `changed`: the plan changes the owner."""
    folders = tuple(folder for folder in folders_of(service) if changed or any(map(_former_of(folder), seen.owners)))
    title = f"remove the former files of {service.name}"
    return [DropFormerFiles(f"drop former {service.name}", title, tuple(after), folders=folders)] if folders else []


def _former_of(folder: str) -> Callable[[str], bool]:
    parent, _, name = folder.rpartition("/")
    return lambda place: place.startswith(f"{parent}/.{name}.")
