"""All facts of an audit, read in parallel. It changes nothing: files that it creates to test permissions are removed again."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from concurrent.futures import ThreadPoolExecutor, wait
from datetime import UTC, datetime, timedelta
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ops.core.errors import HostLacks, OpsError
from ops.keycloak.realm.live import declared
from ops.security_audit import judge
from ops.security_audit import listeners as listeners_file
from ops.security_audit.controls import CONTROLS
from ops.security_audit.facts import ContainerFacts, Facts, Handshakes, Unread
from ops.security_audit.listeners import Listener, listens_of, parse_listeners, switched_on
from ops.security_audit.probe import advisories, host, requests
from ops.security_audit.probe.connections import Place, addresses, reach
from ops.security_audit.probe.containers import by_namespace, inspect_container, namespaces, pids_of, processes_of
from ops.security_audit.probe.handshakes import handshakes
from ops.security_audit.probe.host import Inspected
from ops.stack.certificates import PUBLIC_TLS, TLS
from ops.stack.compose import fill, placeholders
from ops.stack.listener import Listener as Port
from ops.stack.model import EDGE, LABEL_SERVICE
from ops.stack.render import container_name

if TYPE_CHECKING:
    from ops.project import Project

ADVISORIES = frozenset({"debian", "python", "javascript"})
PARTS = ADVISORIES | {
    "owned", "reach", "client_requests", "handshakes", "answers", "bursts", "realm", "host", "leaks"
}  # fmt: skip
"""Fields of Facts that take time to read."""
MONITORING = "prometheus"
"""nginx serves it at a port of its own."""


def audited(project: Project, parts: frozenset[str] = PARTS) -> judge.Report:
    """The results of all controls for what runs now. Raises UsageProblem for an invalid file of exceptions."""
    text = (project.host.repository / judge.FILE).read_text(encoding="utf-8")
    accepted = judge.parse_exceptions(text, CONTROLS)
    return judge.judge(gather(project, parts), accepted, datetime.now(UTC).date())


def read_listeners(project: Project) -> tuple[Listener, ...]:
    """Raises UsageProblem for an invalid file."""
    text = (project.host.repository / listeners_file.FILE).read_text(encoding="utf-8")
    values = placeholders(project.settings, project.ports)
    return switched_on(parse_listeners(fill(text, values, listeners_file.FILE), listens_of(project.stack)), project.ports)


def gather(project: Project, parts: frozenset[str] = PARTS) -> Facts:
    """All facts that the controls judge.

    parts: what to read of PARTS; the controls of the others are not checked.
    Raises HostLacks where nothing of the project runs, OpsError where a container ends meanwhile.
    """
    known = project.engine.containers()
    everything = {slot: one.said for slot, one in known.items()}
    found = {slot: item for slot, item in everything.items() if item["State"]["Status"] == "running"}
    if not found:
        raise HostLacks(f"no container of {project.name} is running", "there is nothing to audit", "inv deploy")
    stack, listeners, places = project.stack, read_listeners(project), places_of(project, found)
    readers: dict[str, Callable[[], Any]] = {
        "owned": partial(host.owned, project),
        "reach": partial(reach, stack, places, listeners, project.ports["https"]),
        "client_requests": partial(requests.client_requests, project.state, stack, places, listeners),
        "handshakes": partial(_handshakes, project, places, listeners),
        "answers": lambda: requests.answers(_front(project, places)),
        "realm": lambda: declared(project).read(),
        "host": partial(host.host_files, project, everything, stack.networks),
        "leaks": partial(host.leaks, project.state, found),
        "debian": lambda: advisories.debian(_roots(project, found)),
        "python": partial(advisories.python, project.host.repository),
        "javascript": partial(advisories.javascript, project.host.repository),
    }
    with ThreadPoolExecutor(max_workers=len(PARTS)) as pool:
        pending = {part: pool.submit(attempt, reader) for part, reader in readers.items() if part in parts}
        containers = _containers(project, found, places)
        if "bursts" in parts:
            # Some of the other requests would be refused after the bursts.
            wait([one for part, one in pending.items() if part == "answers"])
            pending["bursts"] = pool.submit(attempt, lambda: requests.bursts(_front(project, places)))
    results = {part: one.result() for part, one in pending.items()}
    return Facts(
        stack=stack, compose=project.declaration, listeners=listeners, ports=project.ports,
        site=placeholders(project.settings, project.ports)["CC03_PUBLIC_URL"],
        images={name: image.tag for name, image in project.images.items()}, image_days=_image_days(project, found),
        containers=containers, dependencies_down=project.engine.without(project.targets(), known),
        unread={part: why for part in PARTS if (why := results.get(part, (None, "skipped by this call"))[1])},
        **{part: value for part, (value, why) in results.items() if not why},
    )  # fmt: skip


def attempt(reader: Callable[[], Any]) -> tuple[Any, str]:
    """What a reader returns, or why it could not read."""
    try:
        return reader(), ""
    except Unread as problem:
        return None, str(problem)
    except OpsError as problem:
        return None, f"{problem.what}: {problem.why}"
    except OSError as problem:
        return None, f"{type(problem).__name__}: {problem}"


def places_of(project: Project, found: Inspected) -> dict[str, Place]:
    """Slot -> process, service and addresses of its container."""
    prefix = f"{project.name}-"
    return {
        slot: Place(
            int(item["State"]["Pid"]), _service(item),
            {
                name.removeprefix(prefix): str(one["IPAddress"])
                for name, one in (item["NetworkSettings"].get("Networks") or {}).items()
                if name.startswith(prefix) and one["IPAddress"]
            },
        )
        for slot, item in found.items()
    }  # fmt: skip


def _service(item: Mapping[str, Any]) -> str:
    return str(item["Config"]["Labels"].get(LABEL_SERVICE, ""))


def _containers(project: Project, found: Inspected, places: Mapping[str, Place]) -> dict[str, ContainerFacts]:
    stack, everybody = project.stack, by_namespace()
    declared_slots = {slot for service in stack.services.values() for slot in service.reserved_slots()}
    shares = {slot: holder for slot in found if slot in stack.slots() and (holder := stack.service_of(slot).shares)}
    shared = namespaces({slot: place.pid for slot, place in places.items()}, shares)

    def one(slot: str) -> ContainerFacts:
        service = places[slot].service if slot in declared_slots else ""
        networks = frozenset(places[shares[slot]].addresses if shares.get(slot) in places else places[slot].addresses)
        try:
            processes = tuple(processes_of(slot, pids_of(places[slot].pid, everybody), shared))
            return inspect_container(slot, service, found[slot], networks, processes)
        except (FileNotFoundError, ProcessLookupError) as problem:
            raise OpsError(
                "the stack changed during the audit", f"{slot} ended or was replaced", "inv status; then inv audit again"
            ) from problem

    with ThreadPoolExecutor(max_workers=4) as pool:
        return {one.slot: one for one in pool.map(one, found)}


def _front(project: Project, places: Mapping[str, Place]) -> requests.Front:
    """The site, and another container on a network of nginx, which has none of the host's access. Raises Unread."""
    site = placeholders(project.settings, project.ports)["CC03_PUBLIC_URL"]
    for network, inner in addresses(project.stack, places, EDGE).items():
        for slot, place in places.items():
            if place.addresses.get(network, inner) != inner and slot in project.stack.slots() and place.service != MONITORING:
                return requests.Front(project.settings.domain, site, project.ports, place.pid, inner)
    raise Unread("nginx, or every other container on its networks, is not running")


def _handshakes(project: Project, places: Mapping[str, Place], listeners: tuple[Listener, ...]) -> dict[Listener, Handshakes]:
    slots: dict[str, str] = {}
    for slot, place in places.items():
        slots.setdefault(place.service, slot)
    reached = [one for one in listeners if one.encrypted and one.service in slots]

    def one(listener: Listener) -> Handshakes:
        slot = slots[listener.service]
        return handshakes(_served_listener(project, places, listener, slot), places[slot].pid)

    with ThreadPoolExecutor(max_workers=8) as pool:
        return dict(zip(reached, pool.map(one, reached), strict=True))


def _served_listener(project: Project, places: Mapping[str, Place], listener: Listener, slot: str) -> Port:
    """A declared listener as its clients reach it in one container."""
    state = project.state
    known = addresses(project.stack, places, slot)
    bound = project.stack.services[listener.service].listens_on
    address = next((known[network] for network in bound if network in known), "127.0.0.1")
    # The site may have a certificate of a public authority.
    file = state.certs / listener.service / (PUBLIC_TLS if listener.public else TLS)
    return Port(
        listener.service, listener.service, slot, container_name(project.name, slot), address, listener.port,
        listener.speaks, listener.name, str(file), str(state.ca / "root.pem"), listener.public,
    )  # fmt: skip


def _roots(project: Project, found: Inspected) -> dict[str, Path]:
    """Service -> root folder of one of its containers, for services whose image is built here."""
    services = project.stack.services
    return {
        name: Path(f"/proc/{item['State']['Pid']}/root")
        for item in found.values() if (name := _service(item)) in services and services[name].build
    }  # fmt: skip


def _image_days(project: Project, found: Inspected) -> dict[str, float]:
    """Service -> days since the image of its container was created, for services whose image is built here."""
    images = {_service(item): str(item["Image"]) for item in found.values()}
    built = {name: image for name, image in images.items() if name in project.images and project.stack.services[name].build}
    described = {image: project.engine.inspect_image(image) for image in set(built.values())}
    created = {image: datetime.fromisoformat(str(one["Created"])) for image, one in described.items() if one}
    return {name: (datetime.now(UTC) - created[image]) / timedelta(days=1) for name, image in built.items() if image in created}
