"""config/audit/listeners.yaml: every port that a container opens to its neighbours, and what is spoken there. Pure."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass
from typing import Any

import yaml

from ops.core.errors import UsageProblem, did_you_mean

FILE = "config/audit/listeners.yaml"
SPEAKS = ("http", "https", "tls", "tcp", "postgres", "proxy")
"""`https` and `tls` begin with a handshake, `postgres` asks for one first (SSLRequest), `proxy` expects a header of the PROXY
protocol before it; `http` and `tcp` are not encrypted."""
KEYS = {"speaks", "name", "published", "client_certificate", "clients"}


@dataclass(frozen=True, order=True)
class Listener:
    """One port.

    `name`: which the certificate is verified against. `published`: key of the port of the host below `ports`, where there is
    one. `client_certificate`: whether nobody gets further than the handshake without one. `clients`: (service, path) of each
    service that is served, by the name on its certificate; empty: the listener does not tell its clients apart so.
    """

    service: str
    port: int
    speaks: str
    name: str = ""
    published: str = ""
    client_certificate: bool = False
    clients: tuple[tuple[str, str], ...] = ()

    @property
    def encrypted(self) -> bool:
        return self.speaks in ("https", "tls", "postgres", "proxy")

    @property
    def public(self) -> bool:
        """Whether strangers are its clients."""
        return self.published in ("https", "proxy_protocol")

    def __str__(self) -> str:
        return f"{self.service}:{self.port}"


def parse_listeners(text: str, services: Iterable[str]) -> tuple[Listener, ...]:
    """Read the file, whose placeholders have been filled. Raises UsageProblem for what cannot be meant."""
    known = set(services)
    found = []
    for service, ports in (yaml.safe_load(text) or {}).items():
        if service not in known:
            raise UsageProblem(f"{FILE} names {service}", did_you_mean(service, known), f"correct {FILE}")
        for port, spec in (ports or {}).items():
            found.append(_listener(service, port, spec, known))
    return tuple(found)


def _listener(service: str, port: Any, spec: Any, known: set[str]) -> Listener:
    where = f"{FILE}: {service}.{port}"
    if not isinstance(port, int) or not isinstance(spec, Mapping):
        raise UsageProblem(where, "it must be PORT: {speaks: …}", f"correct {FILE}")
    for key in spec:
        if key not in KEYS:
            raise UsageProblem(f"{where}.{key} is not known", did_you_mean(str(key), KEYS), f"correct {FILE}")
    speaks = str(spec.get("speaks"))
    if speaks not in SPEAKS:
        raise UsageProblem(f"{where}.speaks is {speaks!r}", did_you_mean(speaks, SPEAKS), f"correct {FILE}")
    clients = spec.get("clients") or {}
    for client in clients:
        if client not in known:
            raise UsageProblem(f"{where}.clients names {client}", did_you_mean(str(client), known), f"correct {FILE}")
    return Listener(
        service, port, speaks, str(spec.get("name", service)), str(spec.get("published", "")),
        bool(clients or spec.get("client_certificate")), tuple(sorted((str(key), str(path)) for key, path in clients.items())),
    )  # fmt: skip


def switched_on(listeners: Iterable[Listener], ports: Collection[str]) -> tuple[Listener, ...]:
    """Without those that are there only while their port is published. `ports`: keys below `ports` that are not turned off."""
    return tuple(one for one in listeners if not one.published or one.published in ports)


def ports_of(listeners: Iterable[Listener], service: str) -> frozenset[int]:
    """Ports that a service may open to others."""
    return frozenset(one.port for one in listeners if one.service == service)
