"""The ports that each container opens to others: compose.yaml declares those with TLS (`tls.listens`), and
config/audit/listeners.yaml the others, and the clients, names and published ports of any. Pure."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass
from typing import Any

import yaml

from ops.core.errors import UsageProblem, did_you_mean
from ops.stack.model import Stack

FILE = "config/audit/listeners.yaml"
CLEAR = ("http", "tcp")
"""Values of `speaks` in listeners.yaml: protocols with TLS are declared in compose.yaml."""
KEYS = {"speaks", "name", "published", "clients", "client_certificate"}
"""The last one has no effect any more: the audit shows a certificate to every server that asks for one."""


@dataclass(frozen=True, order=True)
class Listener:
    """One port.

    `speaks`: `tls` begins with a handshake, `postgres` after an SSLRequest, `proxy` after a header of the PROXY protocol;
    `http` and `tcp` are plain text. `name`: the certificate's. `published`: key below `ports` in stack.yaml, where the host
    publishes it. `clients`: (service, path) of each service that is served, by the name on its certificate; empty: clients are
    not distinguished by certificates.
    """

    service: str
    port: int
    speaks: str
    name: str = ""
    published: str = ""
    clients: tuple[tuple[str, str], ...] = ()

    @property
    def encrypted(self) -> bool:
        return self.speaks not in CLEAR

    @property
    def public(self) -> bool:
        """Whether clients outside of this host use it."""
        return self.published in ("https", "proxy_protocol")

    def __str__(self) -> str:
        return f"{self.service}:{self.port}"


def parse_listeners(text: str, listens: Mapping[str, Mapping[str, str]]) -> tuple[Listener, ...]:
    """Read the file, whose placeholders have been filled. Raises UsageProblem for an invalid entry.

    listens: service -> port -> how TLS begins there, by compose.yaml.
    """
    found = {
        (name, int(port)): Listener(name, int(port), how, name)
        for name, ports in listens.items() for port, how in ports.items()
    }  # fmt: skip
    for service, ports in (yaml.safe_load(text) or {}).items():
        if service not in listens:
            raise UsageProblem(f"{FILE} names {service}", did_you_mean(service, listens), f"correct {FILE}")
        for port, spec in (ports or {}).items():
            if one := _listener(service, port, spec, listens):
                found[service, port] = one
    return tuple(found.values())


def _listener(service: str, port: Any, spec: Any, listens: Mapping[str, Mapping[str, str]]) -> Listener | None:
    """None: the listener exists only while its port is published."""

    def wrong(what: str, why: str) -> UsageProblem:
        return UsageProblem(f"{FILE}: {service}.{port}{what}", why, f"correct {FILE}, or tls.listens in compose.yaml")

    if not isinstance(port, int) or not isinstance(spec, Mapping):
        raise wrong("", "it must be PORT: {…}")
    if unknown := next((str(key) for key in spec if key not in KEYS), ""):
        raise wrong(f".{unknown} is not known", did_you_mean(unknown, KEYS))
    tls, clear = listens[service].get(str(port), ""), str(spec.get("speaks", ""))
    if tls and clear:
        raise wrong(f".speaks is {clear!r}", "compose.yaml declares TLS for this port")
    if not tls and not clear and "published" in spec:
        return None
    if not tls and clear not in CLEAR:
        raise wrong(f".speaks is {clear!r}", did_you_mean(clear, CLEAR))
    clients = spec.get("clients") or {}
    if unknown := next((str(client) for client in clients if client not in listens), ""):
        raise wrong(f".clients names {unknown}", did_you_mean(unknown, listens))
    return Listener(
        service, port, tls or clear, str(spec.get("name", service)), str(spec.get("published", "")),
        tuple(sorted((str(key), str(path)) for key, path in clients.items())),
    )  # fmt: skip


def listens_of(stack: Stack) -> dict[str, Mapping[str, str]]:
    """Service -> port -> how TLS begins there."""
    return {name: service.listens for name, service in stack.services.items()}


def switched_on(listeners: Iterable[Listener], ports: Collection[str]) -> tuple[Listener, ...]:
    """The listeners that are not published, or whose port is. ports: enabled keys below `ports` in stack.yaml."""
    return tuple(one for one in listeners if not one.published or one.published in ports)


def ports_of(listeners: Iterable[Listener], service: str) -> frozenset[int]:
    """Ports that a service may open to others."""
    return frozenset(one.port for one in listeners if one.service == service)
