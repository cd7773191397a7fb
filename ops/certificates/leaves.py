"""Which certificates there are, as compose.yaml says it: who has one, where it is served, how it is taken up. Pure."""

from __future__ import annotations

import datetime as dt
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace

from ops.certificates.check import Facts
from ops.core.errors import UsageProblem, did_you_mean
from ops.stack.model import EDGE, Service, Stack

PUBLIC = "public"
"""Name of the certificate that the site shows under its public name. Until it has one from elsewhere it is nginx' own."""
INTERNAL, IMPORTED, SHARED, ACME = "internal", "imported", "shared", "acme"
"""Where a certificate is from. SHARED: a link to the service's own. ACME: from an issuer of stack.yaml, and renewed."""


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


@dataclass(frozen=True)
class Stored:
    """A certificate as it lies on the disk. `facts`: None where there is none that can be read, and `problems` says why."""

    leaf: Leaf
    source: str
    facts: Facts | None
    problems: tuple[str, ...]
    mode: int
    owner: int
    renew_after: dt.datetime | None
    begun: bool = False
    """Whether another one was being put in its place when a command was killed."""
    ready: bool = False
    """Whether that other one is checked and not yet in place."""

    def due(self, now: dt.datetime) -> bool:
        """Whether it has to be replaced by this stack itself."""
        if self.source != INTERNAL:
            return False
        return self.facts is None or bool(self.problems) or self.renew_after is None or self.renew_after <= now


def leaves(stack: Stack, names: Mapping[str, tuple[str, ...]], domain: str, without: Iterable[str] = ()) -> tuple[Leaf, ...]:
    """Every certificate of a stack.

    Parameters
    ----------
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


def chosen(all_leaves: Iterable[Leaf], wanted: Iterable[str]) -> tuple[Leaf, ...]:
    """Those of the given names, or all. Raises UsageProblem, with a suggestion, for a name that there is not."""
    known = {leaf.name: leaf for leaf in all_leaves}
    asked = tuple(dict.fromkeys(wanted))
    for name in asked:
        if name not in known:
            raise UsageProblem(f'there is no certificate "{name}"', did_you_mean(name, known), "inv certs")
    return tuple(known[name] for name in asked) if asked else tuple(known.values())
