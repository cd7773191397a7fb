"""Facts of the stack of this checkout in which no control finds anything, and changes of them."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from functools import cache
from typing import Any

import yaml

from ops.host.accounts import Account, Taken
from ops.security_audit import listeners
from ops.security_audit.controls.http import REQUESTS
from ops.security_audit.controls.network import allowed
from ops.security_audit.facts import (  # fmt: skip
    Answer,
    BurstResult,
    ClientRequest,
    Connection,
    ContainerFacts,
    Facts,
    Handshakes,
    HostFacts,
    Mount,
    Process,
    Reach,
)
from ops.security_audit.listeners import Listener, listens_of, parse_listeners, ports_of, switched_on
from ops.stack.compose import fill, parse_stack, placeholders
from ops.stack.model import Service, Stack
from tests.unit.builders import PORTS, REPOSITORY, STATE, settings

TEXT = (REPOSITORY / "compose" / "compose.yaml").read_text()
COMPOSE: Mapping[str, Any] = yaml.safe_load(TEXT)
SITE = "https://localhost"
PAGE = Answer(200, {
    "strict-transport-security": "max-age=31536000", "x-content-type-options": "nosniff", "server": "nginx",
    "content-security-policy": "default-src 'self'; object-src 'none'; frame-ancestors 'none'",
}, "<html>")  # fmt: skip
GOOD = Handshakes(frozenset({"TLSv1.2", "TLSv1.3"}), frozenset(), "", "EC 256", "sha256", 60.0, True)
REFUSED = ClientRequest("cadvisor", "logs", 9428, "/metrics", shows=True, status=403)
REALM: Mapping[str, Any] = {
    "bruteForceProtected": True, "failureFactor": 5, "sslRequired": "external", "passwordPolicy": "length(12)",
    "accessTokenLifespan": 300, "revokeRefreshToken": True, "eventsEnabled": True, "adminEventsEnabled": True,
    "clients": [{
        "clientId": "cc03-frontend", "standardFlowEnabled": True, "redirectUris": [f"{SITE}/"], "webOrigins": [SITE],
        "attributes": {"pkce.code.challenge.method": "S256"},
    }],
}  # fmt: skip


@cache
def declared_stack() -> Stack:
    return parse_stack(TEXT, settings(), PORTS, REPOSITORY, STATE)


@cache
def declared_listeners() -> tuple[Listener, ...]:
    text = (REPOSITORY / listeners.FILE).read_text()
    found = parse_listeners(fill(text, placeholders(settings(), PORTS), listeners.FILE), listens_of(declared_stack()))
    return switched_on(found, PORTS)


def _mounts(service: Service) -> tuple[Mount, ...]:
    found = [Mount("", "/tmp", True, frozenset({"rw", "noexec", "nosuid", "nodev"}))]
    if service.has_config:
        found.append(Mount(f"{STATE}/config/{service.name}", "/etc/cc03", False))
    for mount in map(str, service.definition.get("volumes") or ()):
        source, target, *mode = mount.split(":")
        if target != "/etc/cc03/current":
            name = source if source.startswith("/") else f"{declared_stack().project}-{source}"
            found.append(Mount(name, target, "ro" not in mode))
    return tuple(found)


def _container(slot: str, service: Service) -> ContainerFacts:
    ports = ports_of(declared_listeners(), service.holds or service.name)
    published = (("8080/tcp", "", 80), ("8443/tcp", "0.0.0.0", 443), ("9443/tcp", "127.0.0.1", 9443))  # noqa: S104
    return ContainerFacts(
        slot, service.name, f"cc03/{service.name}:1", (Process(service.name, frozenset({service.owner})),), _mounts(service),
        networks=frozenset(service.networks), listens=ports, published=published if service.holds else (),
        memory_bytes=service.limits.memory_bytes, cpus=service.limits.cpus, pids=2048,
        secrets=dict.fromkeys(service.secrets, (service.owner, 256)),
    )  # fmt: skip


def _reach() -> Reach:
    stack = declared_stack()
    tried = frozenset(
        Connection(source, target, network, "10.0.0.1", 1)
        for source in stack.slots() for target in stack.slots() if source != target
        for network in stack.service_of(target).networks
    )  # fmt: skip
    return Reach(tried, frozenset(way for way in tried if allowed(stack, way)))


def _answers() -> dict[str, Answer]:
    special = {
        "plain": Answer(308, {"location": f"{SITE}/some/path"}), "another name": Answer(308, {"location": f"{SITE}/page"}),
        "ops by another name": Answer(421, {}), "probe by a neighbour": Answer(404, {}), "trace": Answer(405, {}),
        "page /api/v1/items": replace(PAGE, status=401), "another origin": Answer(401, {}), "preflight": Answer(405, {}),
        "unsigned token": Answer(401, {}), "login for another site": Answer(400, {}),
        "login page": Answer(200, {"set-cookie": "AUTH_SESSION_ID=x; Secure; HttpOnly\nKC_RESTART=y; Secure; HttpOnly"}),
    }  # fmt: skip
    by_kind = {
        "page": PAGE, "hidden": Answer(404, {}), "monitoring": PAGE, "operator": PAGE, "garbled": Answer(422, {}),
        "ops": Answer(403, {}),
        "foreign": Answer(403, {}), "readable": Answer(200, {}),
    }  # fmt: skip
    return {name: special.get(name) or by_kind[name.partition(" ")[0]] for name in REQUESTS}


@cache
def clean() -> Facts:
    """Facts without a finding, except those that the repository's own exceptions accept."""
    stack = declared_stack()
    return Facts(
        stack=stack, compose=COMPOSE, listeners=declared_listeners(), ports=PORTS, site=SITE,
        images={name: f"localhost/cc03/{name}:1" for name in stack.services}, image_days={"nginx": 1.0},
        containers={slot: _container(slot, stack.service_of(slot)) for slot in stack.slots()}, dependencies_down={}, owned=(),
        reach=_reach(), client_requests=frozenset({REFUSED}),
        handshakes={one: GOOD for one in declared_listeners() if one.encrypted}, answers=_answers(),
        bursts={"API": BurstResult(300, 1.0, True), "login": BurstResult(22, 0.5, True)}, realm=REALM,
        host=HostFacts(listens=frozenset({("0.0.0.0", 80), ("0.0.0.0", 443), ("127.0.0.1", 9443)})), leaks=(),  # noqa: S104
        debian={}, python=(), javascript={},
    )  # fmt: skip


def with_container(slot: str, **changes: Any) -> Facts:
    facts = clean()
    return replace(facts, containers={**facts.containers, slot: replace(facts.containers[slot], **changes)})


def with_process(slot: str, **changes: Any) -> Facts:
    process = replace(clean().containers[slot].processes[0], **changes)
    return with_container(slot, processes=(process,))


def with_mount(slot: str, mount: Mount) -> Facts:
    return with_container(slot, mounts=(*clean().containers[slot].mounts, mount))


def with_handshakes(**changes: Any) -> Facts:
    facts = clean()
    first = next(one for one in facts.listeners if one.encrypted)
    return replace(facts, handshakes={first: replace(GOOD, **changes)})


def with_answer(name: str, **changes: Any) -> Facts:
    facts = clean()
    assert isinstance(facts.answers, dict)
    return replace(facts, answers={**facts.answers, name: replace(facts.answers[name], **changes)})


def with_header(name: str, header: str, value: str) -> Facts:
    answers = clean().answers
    assert isinstance(answers, dict)
    return with_answer(name, headers={**answers[name].headers, header: value})


def with_realm(**changes: Any) -> Facts:
    return replace(clean(), realm={**REALM, **changes})


def with_client(**changes: Any) -> Facts:
    return with_realm(clients=[{**REALM["clients"][0], **changes}])


def with_host(**changes: Any) -> Facts:
    facts = clean()
    assert isinstance(facts.host, HostFacts)
    return replace(facts, host=replace(facts.host, **changes))


def with_taken() -> Facts:
    """An account of the host has the id of Redis."""
    return with_host(accounts=(Taken(Account("user", "ann", 60706), 60706, ("redis",)),))
