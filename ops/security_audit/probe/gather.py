"""All facts of an audit, gathered side by side. Changes nothing: what it writes to prove that it cannot, it removes again."""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Mapping
from concurrent.futures import Future, ThreadPoolExecutor
from datetime import UTC, date, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

import yaml

from ops.certificates import folder
from ops.certificates.served import handshake as served
from ops.core.errors import HostLacks, OpsError
from ops.engines.podman import argv as podman
from ops.engines.podman.observe import dependencies_down, inspected_containers
from ops.engines.podman.supervisor.metrics import epoch
from ops.keycloak.realm.live import declared
from ops.security_audit import listeners as listeners_file
from ops.security_audit.exceptions import FILE as EXCEPTIONS
from ops.security_audit.facts import Facts, Handshakes, SeenContainer, Unread
from ops.security_audit.listeners import Listener, listens_of, parse_listeners, switched_on
from ops.security_audit.probe import advisories, clients, files, requests, roles
from ops.security_audit.probe import handshakes as wire
from ops.security_audit.probe.inside import look_inside
from ops.security_audit.probe.processes import by_namespace, namespaces, processes_of
from ops.security_audit.probe.reach import Place, addresses, reach
from ops.stack.compose import fill, placeholders
from ops.stack.model import EDGE, LABEL_SERVICE
from ops.stack.render import container_name

if TYPE_CHECKING:
    from ops.project import Project

PARTS = (
    "owned",
    "reach",
    "asked",
    "handshakes",
    "answers",
    "bursts",
    "realm",
    "host",
    "leaks",
    "debian",
    "python",
    "javascript",
)
ADVISORIES = ("debian", "python", "javascript")
MONITORING = "prometheus"
"""nginx answers it at a port of its own."""
NOT_ASKED = Unread("left out by this call")
Inspected = Mapping[str, Mapping[str, Any]]
T = TypeVar("T")


def read_listeners(project: Project) -> tuple[Listener, ...]:
    """Raises UsageProblem for what cannot be meant."""
    text = (project.host.repository / listeners_file.FILE).read_text(encoding="utf-8")
    values = placeholders(project.settings, project.ports)
    return switched_on(parse_listeners(fill(text, values, listeners_file.FILE), listens_of(project.stack)), project.ports)


def exceptions_text(project: Project) -> str:
    return (project.host.repository / EXCEPTIONS).read_text(encoding="utf-8")


def look(project: Project, parts: frozenset[str] = frozenset(PARTS)) -> Facts:
    """Everything that the controls ask about.

    Parameters
    ----------
    parts: of those that take time, which to look at; the others count as not checked.

    Raises HostLacks where nothing of the project runs, OpsError where a container ends meanwhile.
    """
    everything = inspected_containers(project.host)
    found = {slot: item for slot, item in everything.items() if item["State"]["Status"] == "running"}
    if not found:
        raise HostLacks(f"no container of {project.name} runs", "there is nothing to look at", "inv deploy")
    listeners = read_listeners(project)
    places = places_of(project, found)
    front = _front(project, places)
    with ThreadPoolExecutor(max_workers=len(PARTS)) as pool:

        def begin(part: str, read: Callable[[], T | Unread]) -> Future[T | Unread]:
            return pool.submit(_tried, read) if part in parts else pool.submit(lambda: NOT_ASKED)

        stack = project.stack
        owned = begin("owned", lambda: roles.owned(project))
        reached = begin("reach", lambda: reach(stack, places, listeners, project.ports["https"]))
        asked = begin("asked", lambda: clients.asked(project.state, stack, places, listeners))
        shaken = begin("handshakes", lambda: _handshakes(project, places, listeners))
        answered = begin("answers", lambda: front if isinstance(front, Unread) else requests.answers(front))
        realm = begin("realm", lambda: declared(project).read())
        host = begin("host", lambda: files.host_files(project, everything, stack.networks))
        leaked = begin("leaks", lambda: files.leaks(project, found))
        debian = begin("debian", lambda: advisories.debian(_roots(project, found)))
        python, javascript = begin("python", advisories.python), begin("javascript", advisories.javascript)
        containers = _containers(project, found, places)
        answered.result()  # else the burst would have some of these requests refused
        burst = begin("bursts", lambda: front if isinstance(front, Unread) else requests.bursts(front))
        return Facts(
            stack=stack, compose=yaml.safe_load((project.host.repository / "compose" / "compose.yaml").read_text()),
            listeners=listeners, ports=project.ports, site=placeholders(project.settings, project.ports)["CC03_PUBLIC_URL"],
            images={name: image.tag for name, image in project.images.items()}, image_days=_image_days(project, found),
            containers=containers, dependencies_down=dependencies_down(project.targets(), found), owned=owned.result(),
            reach=reached.result(), asked=asked.result(), handshakes=shaken.result(), answers=answered.result(),
            bursts=burst.result(), realm=realm.result(), host=host.result(), leaks=leaked.result(),
            debian=debian.result(), python=python.result(), javascript=javascript.result(),
        )  # fmt: skip


def _tried(read: Callable[[], T | Unread]) -> T | Unread:
    """What it reads, or why it could not be read."""
    try:
        return read()
    except OpsError as problem:
        return Unread(f"{problem.what}: {problem.why}")
    except OSError as problem:
        return Unread(f"{type(problem).__name__}: {problem}")


def places_of(project: Project, found: Inspected) -> dict[str, Place]:
    """Slot -> where it stands. `found`: slot -> what `podman container inspect` says of it."""
    prefix = f"{project.name}-"
    return {
        slot: Place(
            int(item["State"]["Pid"]), str(item["Config"]["Labels"].get(LABEL_SERVICE, "")),
            {
                name.removeprefix(prefix): str(one["IPAddress"])
                for name, one in (item["NetworkSettings"].get("Networks") or {}).items()
                if name.startswith(prefix) and one["IPAddress"]
            },
        )
        for slot, item in found.items()
    }  # fmt: skip


def _containers(project: Project, found: Inspected, places: Mapping[str, Place]) -> dict[str, SeenContainer]:
    stack, everybody = project.stack, by_namespace()
    declared_slots = {slot for service in stack.services.values() for slot in service.reserved_slots()}
    shares = {slot: holder for slot in found if slot in stack.slots() and (holder := stack.service_of(slot).shares)}
    shared = namespaces({slot: place.pid for slot, place in places.items()}, shares)

    def one(slot: str) -> SeenContainer:
        own = stack.services[places[slot].service] if slot in declared_slots else None
        networks = frozenset(places[shares[slot]].addresses if shares.get(slot) in places else places[slot].addresses)
        try:
            processes = tuple(processes_of(slot, places[slot].pid, everybody, shared))
            return look_inside(slot, own.name if own else "", found[slot], networks, processes)
        except (FileNotFoundError, ProcessLookupError) as problem:
            raise OpsError(
                "the stack changed while it was looked at", f"{slot} ended or was replaced", "inv status; then inv audit again"
            ) from problem

    with ThreadPoolExecutor(max_workers=4) as pool:
        return {seen.slot: seen for seen in pool.map(one, found)}


def _front(project: Project, places: Mapping[str, Place]) -> requests.Front | Unread:
    """The site, and another container on a network of nginx, which has none of the host's privileges."""
    values = placeholders(project.settings, project.ports)
    for network, inner in addresses(project.stack, places, EDGE).items():
        for slot, place in places.items():
            if place.addresses.get(network, inner) != inner and slot in project.stack.slots() and place.service != MONITORING:
                return requests.Front(project.settings.domain, values["CC03_PUBLIC_URL"], project.ports, place.pid, inner)
    return Unread("nginx, or every other container on its networks, does not run")


def _handshakes(project: Project, places: Mapping[str, Place], listeners: tuple[Listener, ...]) -> dict[Listener, Handshakes]:
    asked = {}
    for listener in (one for one in listeners if one.encrypted):
        slot = next((slot for slot, place in places.items() if place.service == listener.service), None)
        if slot:
            bound = project.stack.services[listener.service].listens_on
            known = addresses(project.stack, places, slot)
            address = next((known[network] for network in bound if network in known), "127.0.0.1")
            asked[listener] = wire.Speaker(
                _reached(project, listener, slot, address), places[slot].pid, client_certificate=listener.client_certificate
            )
    with ThreadPoolExecutor(max_workers=8) as pool:
        return dict(zip(asked, pool.map(wire.handshakes, asked.values()), strict=True))


def _reached(project: Project, listener: Listener, slot: str, address: str) -> served.Listener:
    """A declared listener as its clients reach it in one container."""
    state = project.state
    # The site may have a certificate from elsewhere under its public name.
    file = state.certs / listener.service / (folder.PUBLIC if listener.public else folder.TLS)
    return served.Listener(
        listener.service, listener.service, slot, container_name(project.name, slot), address, listener.port,
        listener.speaks, listener.name, str(file), str(state.ca / "root.pem"), listener.public,
    )  # fmt: skip


def _roots(project: Project, found: Inspected) -> dict[str, Path]:
    """Service -> the root folder of one of its containers, of those whose image is built here."""
    roots = {}
    for item in found.values():
        name = str(item["Config"]["Labels"].get(LABEL_SERVICE, ""))
        if name in project.stack.services and project.stack.services[name].build:
            roots[name] = Path(f"/proc/{item['State']['Pid']}/root")
    return roots


def _image_days(project: Project, found: Inspected) -> dict[str, float]:
    """Service -> days since the image of its container was made, of those that are built here."""
    images = {
        str(item["Config"]["Labels"].get(LABEL_SERVICE)): str(item["Image"]) for item in found.values()
    }  # fmt: skip
    built = {name: image for name, image in images.items() if name in project.images and project.stack.services[name].build}
    if not built:
        return {}
    answer = json.loads(project.host.run(podman.inspect_images(list(dict.fromkeys(built.values())))).stdout)
    made = {str(one["Id"]): epoch(str(one["Created"])) for one in answer}
    return {name: (time.time() - made[image]) / 86400 for name, image in built.items() if image in made}


def today() -> date:
    return datetime.now(UTC).date()
