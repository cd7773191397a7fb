"""How a service runs: health, limits, restarts, order, and what the deployer is told about it."""

from __future__ import annotations

import re
from collections.abc import Iterator
from graphlib import CycleError, TopologicalSorter

from pydantic import ValidationError

from ops.core.errors import did_you_mean
from ops.security_audit.policies.core import Compose, Finding, executable, exempt, limits, own, policy, services, size
from ops.stack.compose_keys import ServiceKeys
from ops.stack.yaml_model import misfits


@policy("a service without a health check is believed to work: deploys, rollbacks and alerts would all be guesses")
def healthcheck(compose: Compose) -> Iterator[Finding]:
    for name, service in services(compose):
        check = service.get("healthcheck") or {}
        if not check.get("test") or check.get("disable") or check["test"] in (["NONE"], "NONE"):
            yield name, "has no health check", "add healthcheck.test: a command that does what its users need"
            continue
        for key in ("interval", "timeout", "retries", "start_period"):
            if key not in check:
                yield name, f"healthcheck.{key} is missing", f"state {key}; engines differ in what they assume"


@policy("one service that leaks would take the memory and the processor of all others")
def resource_limits(compose: Compose) -> Iterator[Finding]:
    for name, service in services(compose):
        ceiling = limits(service)
        if size(ceiling.get("memory", "")) is None:
            yield name, "has no memory limit", "add deploy.resources.limits.memory, for example 512m"
        if not re.fullmatch(r"\d+(\.\d+)?", str(ceiling.get("cpus", ""))) or float(ceiling["cpus"]) <= 0:
            yield name, "has no CPU limit", 'add deploy.resources.limits.cpus, for example "0.5"'


@policy("who can start any number of processes takes the host's process table from all others")
def processes(compose: Compose) -> Iterator[Finding]:
    for name, service in services(compose):
        given = service.get("pids_limit", limits(service).get("pids"))
        if given is not None and (not str(given).isdigit() or int(given) == 0):
            yield name, f"may start any number of processes (pids: {given})", "drop it: the engine's own limit is 2048"


@policy("/tmp is the one place where an intruder can put a program: it must neither run there nor make anybody another user")
def tmpfs_options(compose: Compose) -> Iterator[Finding]:
    for name, service in services(compose):
        for mount in service.get("tmpfs") or ():
            for option in sorted({"suid", "dev"} & set(re.split("[:,]", str(mount)))):
                yield name, f"tmpfs {mount} allows {option}", f"drop {option}"
            if executable(mount) and not exempt(service, "executable-tmpfs"):
                yield name, f"tmpfs {mount} allows exec", "drop exec, or say why in x-cc03.exempt.executable-tmpfs"


@policy("a crash at night must mend itself, and a container stopped by hand must stay stopped")
def restart(compose: Compose) -> Iterator[Finding]:
    for name, service in services(compose):
        if service.get("restart") != "unless-stopped":
            yield name, f"restart is {service.get('restart')!r}", "set restart: unless-stopped"


@policy("after the default of ten seconds a database or a request in flight is killed")
def stop_grace(compose: Compose) -> Iterator[Finding]:
    for name, service in services(compose):
        if not re.fullmatch(r"[1-9]\d*s", str(service.get("stop_grace_period"))):
            yield name, "has no stop_grace_period in seconds", "set stop_grace_period to what a clean stop takes, such as 30s"


@policy("a tmpfs counts against the memory limit: unbounded, one temporary file ends the service")
def sized_tmpfs(compose: Compose) -> Iterator[Finding]:
    for name, service in services(compose):
        total = 0
        for mount in service.get("tmpfs") or ():
            match = re.search(r"[:,]size=(\w+)", str(mount))
            amount = size(match[1]) if match else None
            if amount is None:
                yield name, f"tmpfs {mount} has no size", "append size=16m, or what it needs"
            total += amount or 0
        ceiling = size(limits(service).get("memory", ""))
        if ceiling and total > ceiling // 2:
            yield (
                name,
                f"may hold {total >> 20} MB in tmpfs, more than half of its memory",
                "lower the sizes, or raise the limit",
            )


@policy("at run time it becomes --requires, which blocks the replacement of one service, or a wait without a deadline")
def no_depends_on(compose: Compose) -> Iterator[Finding]:
    for name, service in services(compose):
        for key in ("depends_on", "links"):
            if key in service:
                yield name, f"has {key}", "name what must be healthy before it in x-cc03.needs"


@policy("without it a service that cannot work yet is started, and the deploy waits for it in vain")
def needs(compose: Compose) -> Iterator[Finding]:
    known = compose.get("services") or {}
    graph: dict[str, list[str]] = {}
    for name, service in services(compose):
        for other in own(service).get("needs") or ():
            if other not in known:
                yield name, f'needs "{other}", which is no service', did_you_mean(other, known)
                continue
            graph.setdefault(name, []).append(other)
            if service.get("network_mode") == f"service:{other}":
                continue
            if not set(service.get("networks") or ()) & set(known[other].get("networks") or ()):
                yield name, f"needs {other} but shares no network with it", "put both on one network, or drop the need"
    try:
        TopologicalSorter(graph).prepare()
    except CycleError as problem:
        yield str(problem.args[1][0]), f"needs go in a circle: {' -> '.join(problem.args[1])}", "drop one of them"


@policy("whoever gets onto its network would read what its neighbours tell it, passwords and tokens included")
def speaks_tls(compose: Compose) -> Iterator[Finding]:
    for name, service in services(compose):
        # What holds the address of another has no program that listens.
        holds = any(other.get("network_mode") == f"service:{name}" for _, other in services(compose))
        if not holds and not (own(service).get("tls") or {}).get("ports"):
            yield name, "shows no certificate", 'name its ports in x-cc03.tls.ports ("8000": tls)'


@policy("what the deployer does not know it ignores: a mistyped key would look like a setting and be none")
def deployer_keys(compose: Compose) -> Iterator[Finding]:
    for name, service in services(compose):
        try:
            ready = ServiceKeys.model_validate(own(service)).health.ready or ""
        except ValidationError as refused:
            for key, what, cure in misfits(ServiceKeys, refused):
                yield name, f"x-cc03.{key} {what}", cure
            continue
        if ready.startswith("http:"):
            yield name, f"x-cc03.health.ready is {ready!r}", "whoever gets onto the network could answer: use https"
