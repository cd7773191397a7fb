"""Which certificates a stack has, as compose.yaml declares them: services, names, ports, and how each is reloaded."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace
from pathlib import Path

from ops.stack.listener import Listener
from ops.stack.model import EDGE, Allocation, Service, Stack
from ops.stack.render import address, container_name

PUBLIC = "public"
"""Name of the certificate that the site shows under its public name. Until it has one from elsewhere it is nginx' own."""
TLS, PUBLIC_TLS = "tls.pem", "public.pem"
"""Files with key and chain, in the folder of a service: its own; and, of nginx, the public one, a link to its own until one is
imported or issued by ACME."""


@dataclass(frozen=True)
class Leaf:
    """One certificate of one service.

    `names`: host names and addresses that it must be for. `ports`: where it is served -> how TLS begins there. `server_name`:
    what clients ask for. `takes_up`: argv, run in each container, that makes it read the file anew; empty where it does so by
    itself. `trusts`: argv that makes it read the roots anew. `restarts`: it reads them when it starts, and only then.
    """

    name: str
    service: str
    owner: int
    names: tuple[str, ...]
    server_name: str
    ports: Mapping[int, str]
    slots: tuple[str, ...]
    takes_up: tuple[str, ...] = ()
    trusts: tuple[str, ...] = ()
    restarts: bool = False

    @property
    def public(self) -> bool:
        return self.name == PUBLIC

    def file(self, state: Path) -> Path:
        """Where it is stored, with its key. `state`: the project's state folder."""
        return state / "certs" / self.service / (PUBLIC_TLS if self.public else TLS)


def leaves(stack: Stack, names: Mapping[str, tuple[str, ...]], domain: str, without: Iterable[str] = ()) -> tuple[Leaf, ...]:
    """Every certificate of a stack.

    names: service -> what its certificate is for. without: optional services that are left out.
    """
    found = []
    for service in stack.services.values():
        if not service.has_tls or service.name in set(without):
            continue
        found.append(_own(service, names[service.name]))
        if service.name == EDGE:
            found.append(_public(service, domain))
    return tuple(found)


def owned_as(stack: Stack, running: Stack) -> Stack:
    """A stack in which keys are read by the ids that the services of another one run with: until a deploy has replaced the
    containers, a renewed key must be one that these can read."""
    services = {
        name: replace(service, owner=running.services[name].owner, key_owner=running.services[name].key_owner)
        if name in running.services else service
        for name, service in stack.services.items()
    }  # fmt: skip
    return replace(stack, services=services)


def _own(service: Service, names: tuple[str, ...]) -> Leaf:
    ports = {int(port): protocol for port, protocol in service.listens.items()}
    return Leaf(
        service.name, service.name, service.certificate_owner, names, service.name, ports, service.slots(),
        service.reload_certificate, service.reload_roots, service.roots_at_start,
    )  # fmt: skip


def _public(service: Service, domain: str) -> Leaf:
    ports = {service.public: service.listens[str(service.public)]} if service.public else {}
    return Leaf(
        PUBLIC, service.name, service.certificate_owner, (domain,), domain, ports, service.slots(), service.reload_certificate
    )


def listeners(state: Path, stack: Stack, allocation: Allocation, of: Iterable[Leaf]) -> tuple[Listener, ...]:
    """Every port at which one of these certificates is served, of each container."""
    return tuple(
        Listener(
            name=leaf.name, service=leaf.service, slot=slot, container=container_name(stack.project, slot),
            address=address(allocation, service.listens_on[0], service.address_name(slot)), port=port, protocol=protocol,
            server_name=leaf.server_name, file=str(leaf.file(state)), ca=str(state / "ca" / "root.pem"), public=leaf.public,
        )
        for leaf in of for service in (stack.services[leaf.service],) for slot in leaf.slots
        for port, protocol in leaf.ports.items()
    )  # fmt: skip
