"""How a service runs: health, limits, restarts, order, and what the deployer is told about it."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Mapping
from graphlib import CycleError, TopologicalSorter
from typing import Any

from ops.core.errors import did_you_mean
from ops.security_audit.policies.core import Compose, Finding, executable, exempt, limits, own, policy, services, size
from ops.stack.model import FROM_START


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


def _words(value: Any) -> bool:
    return isinstance(value, list) and bool(value) and all(isinstance(word, str) for word in value)


def _sentence(value: Any) -> bool:
    return isinstance(value, str) and len(value.split()) >= 3


def _listeners(value: Any) -> bool:
    known = "(role|pair|redis|client|signer|cipher) [a-z0-9-]+"
    return isinstance(value, Mapping) and all(re.fullmatch(known, str(to)) for to in value.values())


def _positive(value: Any) -> bool:
    return type(value) is int and value > 0


def _trusts(value: Any) -> Any:
    return value == FROM_START or _words(value)


def _certificate(value: Any) -> bool:
    """Where one is shown, how it and the roots are taken up, which of the ports strangers reach, and who reads the key."""
    known = {"listens": None, "takes_up": _words, "trusts": _trusts, "public": None, "owner": _positive}
    if not isinstance(value, Mapping) or not {"listens"} <= value.keys() <= known.keys():
        return False
    ports = value["listens"]
    if not isinstance(ports, Mapping) or not ports or not set(ports.values()) <= {"tls", "postgres"}:
        return False
    public = value.get("public") is None or str(value["public"]) in ports
    # As words: a release keeps them as JSON, which knows no other keys.
    return (
        all(isinstance(port, str) and port.isdigit() for port in ports)
        and public
        and all(good is None or good(value[key]) for key, good in known.items() if key in value)
    )


def _logins(value: Any) -> bool:
    found = value.values() if isinstance(value, Mapping) else (None,)
    return all(isinstance(one, Mapping) and set(one) == {"secret", "account"} for one in found)


OWN_KEYS: dict[str, tuple[Callable[[Any], Any], str]] = {
    "probe": (lambda value: isinstance(value, str) and re.match(r"https://[a-z-]+:\d+/", value), "a URL such as https://redis:1234/health"),
    "live": (lambda value: re.match(r"https://[a-z-]+:\d+/|/", str(value)), "a URL, or the path of a program in the container"),
    "socket": (lambda value: isinstance(value, str) and value.startswith("/run/"), "a path such as /run/probe.sock"),
    "keep": (lambda value: value is True, "true, or absent"),
    "binds": (lambda value: isinstance(value, str) and value, "one of its networks"),
    "reload": (_words, "a list of words: the command and its arguments"),
    "check": (_words, "a list of words: the command and its arguments"),
    "migrate": (_words, "a list of words: the command and its arguments"),
    "migrates_as": (_logins, "a mapping of secret: {secret: NAME, account: NAME}"),
    "needs": (lambda value: isinstance(value, list), "a list of services"),
    "outlives": (lambda value: isinstance(value, list), "a list of services"),
    "applies": (_words, "a list of secrets"),
    "optional": (_sentence, "a sentence: why the stack is complete without it, and the cure"),
    "smoke": (lambda value: isinstance(value, str) and value.startswith("/"), "a path such as /api/v1/health/ready"),
    "late_secrets": (lambda value: isinstance(value, list), "a list of secrets"),
    "hands": (_listeners, "a mapping of secret: role NAME, pair NAME, redis NAME, client NAME, signer NAME or cipher NAME"),
    "logins": (lambda value: isinstance(value, Mapping), "a mapping of secret: VARIABLE"),
    "proves": (_words, "a list of words: the command and its arguments"),
    "reconnect": (_words, "a list of words: the command and its arguments"),
    "hold": (_words, "a list of words: the command and its arguments"),
    "backup": (_words, "a list of words: the command and its arguments"),
    "tls": (_certificate, "listens: {PORT: tls or postgres}; takes_up, trusts: words, or trusts: start; public: PORT; owner"),
    "gap_seconds": (lambda value: type(value) in (int, float) and 0 < value <= 3600, "a number of seconds up to 3600"),
    "interrupts": (_sentence, "who notices while it is replaced, in words"),
    "start_seconds": (lambda value: type(value) is int and 0 < value <= 3600, "a number of seconds up to 3600"),
    "exempt": (lambda value: isinstance(value, Mapping), "a mapping of subject: reason"),
}  # fmt: skip
"""Keys below x-cc03: how each is recognised, and its form in words."""


@policy("whoever gets onto its network would read what its neighbours tell it, passwords and tokens included")
def speaks_tls(compose: Compose) -> Iterator[Finding]:
    for name, service in services(compose):
        # What holds the address of another has no program that listens.
        holds = any(other.get("network_mode") == f"service:{name}" for _, other in services(compose))
        if not holds and not (own(service).get("tls") or {}).get("listens"):
            yield name, "shows no certificate", 'name its ports in x-cc03.tls.listens ("8000": tls)'


@policy("what the deployer does not know it ignores: a mistyped key would look like a setting and be none")
def deployer_keys(compose: Compose) -> Iterator[Finding]:
    for name, service in services(compose):
        for key, value in own(service).items():
            if key not in OWN_KEYS:
                yield name, f"x-cc03.{key} is not known", did_you_mean(key, OWN_KEYS)
                continue
            fits, form = OWN_KEYS[key]
            if not fits(value):
                yield name, f"x-cc03.{key} is {value!r}", f"it must be {form}"
