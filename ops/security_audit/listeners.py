"""Every port that a container opens to its neighbours: those with TLS by compose.yaml (`tls.listens`), the others, and what is
special about each, by config/audit/listeners.yaml. Pure."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass
from typing import Any

import yaml

from ops.core.errors import UsageProblem, did_you_mean
from ops.stack.model import Stack

FILE = "config/audit/listeners.yaml"
CLEAR = ("http", "tcp")
"""What listeners.yaml may say is spoken: what is encrypted stands in compose.yaml."""
KEYS = {"speaks", "name", "published", "client_certificate", "clients"}


@dataclass(frozen=True, order=True)
class Listener:
    """One port.

    `speaks`: `tls` begins with a handshake, `postgres` asks for one first (SSLRequest), `proxy` expects a header of the PROXY
    protocol before it; `http` and `tcp` are not encrypted. `name`: which the certificate is verified against. `published`: key
    of the port of the host below `ports`, where there is one. `client_certificate`: whether nobody gets further than the
    handshake without one. `clients`: (service, path) of each service that is served, by the name on its certificate; empty: the
    listener does not tell its clients apart so.
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
        return self.speaks not in CLEAR

    @property
    def public(self) -> bool:
        """Whether strangers are its clients."""
        return self.published in ("https", "proxy_protocol")

    def __str__(self) -> str:
        return f"{self.service}:{self.port}"


def parse_listeners(text: str, listens: Mapping[str, Mapping[str, str]]) -> tuple[Listener, ...]:
    """Read the file, whose placeholders have been filled.

    Parameters
    ----------
    listens: service -> port -> how TLS begins there, by compose.yaml.

    Raises UsageProblem for what cannot be meant.
    """
    found = {
        (name, int(port)): Listener(name, int(port), how, name)
        for name, ports in listens.items()
        for port, how in ports.items()
    }
    for service, ports in (yaml.safe_load(text) or {}).items():
        if service not in listens:
            raise UsageProblem(f"{FILE} names {service}", did_you_mean(service, listens), f"correct {FILE}")
        for port, spec in (ports or {}).items():
            speaks = listens[service].get(str(port), "")
            if one := _listener(service, port, spec, set(listens), speaks):
                found[service, port] = one
    return tuple(found.values())


def _listener(service: str, port: Any, spec: Any, known: set[str], speaks: str) -> Listener | None:
    """None: it is not there while its port is not published."""
    where = f"{FILE}: {service}.{port}"
    if not isinstance(port, int) or not isinstance(spec, Mapping):
        raise UsageProblem(where, "it must be PORT: {…}", f"correct {FILE}")
    for key in spec:
        if key not in KEYS:
            raise UsageProblem(f"{where}.{key} is not known", did_you_mean(str(key), KEYS), f"correct {FILE}")
    clear = str(spec.get("speaks", ""))
    if speaks and clear:
        raise UsageProblem(f"{where}.speaks is {clear!r}", "compose.yaml says what is spoken there", f"correct {FILE}")
    if not speaks and not clear and "published" in spec:
        return None
    if not speaks and clear not in CLEAR:
        raise UsageProblem(
            f"{where}.speaks is {clear!r}", did_you_mean(clear, CLEAR), f"correct {FILE}, or tls.listens in compose.yaml"
        )
    clients = spec.get("clients") or {}
    for client in clients:
        if client not in known:
            raise UsageProblem(f"{where}.clients names {client}", did_you_mean(str(client), known), f"correct {FILE}")
    return Listener(
        service, port, speaks or clear, str(spec.get("name", service)), str(spec.get("published", "")),
        bool(clients or spec.get("client_certificate")), tuple(sorted((str(key), str(path)) for key, path in clients.items())),
    )  # fmt: skip


def listens_of(stack: Stack) -> dict[str, Mapping[str, str]]:
    """Service -> port -> how TLS begins there."""
    return {name: service.listens for name, service in stack.services.items()}


def switched_on(listeners: Iterable[Listener], ports: Collection[str]) -> tuple[Listener, ...]:
    """Without those that are there only while their port is published. `ports`: keys below `ports` that are not turned off."""
    return tuple(one for one in listeners if not one.published or one.published in ports)


def ports_of(listeners: Iterable[Listener], service: str) -> frozenset[int]:
    """Ports that a service may open to others."""
    return frozenset(one.port for one in listeners if one.service == service)
