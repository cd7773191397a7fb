"""Policies for what a service consists of, and how it runs: image, mounts, secrets, health, limits, dependencies."""

from __future__ import annotations

import math
import re
from collections import Counter
from collections.abc import Iterator, Mapping
from graphlib import CycleError, TopologicalSorter
from typing import Any

from pydantic import ValidationError

from ops.core.errors import did_you_mean
from ops.policies.isolation import mounts_of
from ops.policies.policy import Compose, Violation, exempt, own, policy, service_policy, services, shared, tmpfs
from ops.stack.compose_keys import ServiceKeys
from ops.stack.model import EDGE
from ops.stack.value_types import memory_bytes
from ops.stack.yaml_model import misfits

SECRETS: dict[str, set[str]] = {
    "postgres-superuser": {"postgres"}, "postgres-app": {"postgres", "backend"},
    "postgres-migration": {"postgres"}, "postgres-keycloak": {"postgres", "keycloak"},
    "postgres-grafana": {"postgres", "grafana"}, "postgres-exporter": {"postgres", "prometheus"},
    "postgres-backup": {"postgres", "backup"}, "postgres-receiver": {"postgres", "backup"},
    "redis-app": {"redis", "backend"}, "redis-exporter": {"redis", "prometheus"}, "redis-backup": {"redis", "backup"},
    "keycloak-admin": {"keycloak"}, "keycloak-ops": {"keycloak"}, "backup-cipher": {"backup"}, "backup-signing": {"backup"},
    "keycloak-grafana": {"grafana"}, "keycloak-ops-pages": {"prometheus"}, "grafana-admin": {"grafana"},
    "keycloak-backend": set(), "keycloak-keeper": set(), "keycloak-probe": set(), "keycloak-probe-user": set(),
    "operator-password": set(),
}  # fmt: skip
"""Secret -> services whose containers may mount it: those that verify it and those that use it. None: only the realm has it."""
VOLUME_READERS = {"backup"}
"""Services that may mount the volumes of others, read-only."""
SHARED = ("logs", "metrics", "backup")
"""Folders of the state that every service may mount; nginx also that of ACME challenges."""
PATHS = (".", "/", "~", "${")
"""Beginnings of a mount's source that is not a volume."""


@service_policy("1.10", "Images are pinned", why="A tag can refer to another image later, which was not tested.")
def pinned_images(name: str, service: Mapping[str, Any]) -> Iterator[tuple[str, str]]:
    image = str(service.get("image", ""))
    if "build" in service:
        if image != f"cc03/{name}" or service["build"] != f"./{name}":
            yield f"is built from {service['build']} as {image!r}", f"set image: cc03/{name} and build: ./{name}"
    elif not re.search(r"@sha256:[0-9a-f]{64}$", image):
        yield f"image {image!r} is not pinned", "append its digest: name:tag@sha256:…"


@service_policy("1.11", "Configuration is mounted as one folder, read-only",
                why="A deploy replaces the whole folder: other mounts would not be replaced, or could be altered.")  # fmt: skip
def configuration_mounts(name: str, service: Mapping[str, Any]) -> Iterator[tuple[str, str]]:
    if any(not isinstance(mount, str) for mount in service.get("volumes") or ()):
        yield "has a mount in the long form", "write source:target:ro, the form that the deployer reads"
        return
    for source, target, mode in mounts_of(service):
        if source.startswith(".") and (source, target) != (f"../config/{name}", "/etc/cc03/current"):
            yield f"mounts {source} at {target}", f"only ../config/{name}:/etc/cc03/current:ro is permitted"
        if source.startswith((".", "${CC03_STATE")) and mode != "ro":
            yield f"may write to {source}", "append :ro"
        folders = (f"certs/{name}", *(("challenges",) if name == EDGE else ()), *SHARED)
        pattern = rf"\$\{{CC03_STATE:-\./state\}}/({'|'.join(folders)})"
        if source.startswith("${CC03_STATE") and not re.fullmatch(pattern, source):
            yield f"mounts {source}", f"of the state folder only {', '.join(folders)} are permitted"


@policy("1.12", "Volumes are declared, and used",
        why="An undeclared volume is anonymous: its data are lost with the container, and are in no backup.")  # fmt: skip
def declared_volumes(compose: Compose) -> Iterator[Violation]:
    declared = set(compose.get("volumes") or {})
    used = set()
    for name, service in services(compose):
        for source, target, _ in mounts_of(service):
            if source.startswith(PATHS) and target:
                continue
            used.add(source)
            if not target:
                yield name, f"{source} is an anonymous volume", "name a volume: name:/path"
            elif source not in declared:
                yield name, f"volume {source} is not declared", f"add {source} to volumes"
    for volume in sorted(declared - used):
        yield "volumes", f"no service uses {volume}", "remove it"


@policy(
    "1.13", "Services mount their own secrets only",
    why="Secrets are generated, rotated and mounted as files under these names; otherwise `podman inspect` shows them.",
)  # fmt: skip
def declared_secrets(compose: Compose) -> Iterator[Violation]:
    declared = compose.get("secrets") or {}
    for secret, spec in declared.items():
        if secret not in SECRETS:
            yield "secrets", f"{secret} is not on the list", "add it to SECRETS in ops/policies/services.py"
        if not isinstance(spec, Mapping) or not (spec.get("external") is True or "file" in spec):
            yield "secrets", f"{secret} is neither external nor a file", f"{secret}: {{external: true}}"
    for name, service in services(compose):
        for secret in service.get("secrets") or ():
            if not isinstance(secret, str):
                yield name, f"secret {secret} is in the long form", "write its name only; a deploy sets owner and mode"
            elif secret not in declared:
                yield name, f"secret {secret} is not declared", f"add {secret} to secrets"
            elif secret in SECRETS and name not in SECRETS[secret]:
                yield name, f"may not have the secret {secret}", "remove it, or add the service to SECRETS in that file"
        for secret in own(service).get("api_secrets") or ():
            if secret not in declared:
                yield name, f"x-cc03.api_secrets names {secret}, which is not declared", f"add {secret} to secrets"
            elif secret in (service.get("secrets") or ()):
                yield name, f"mounts {secret}, and also gets it through its API", "remove one of the two"


@service_policy("1.14", "No service has an environment file",
                why="The engine does not notice changes of the file, and `podman inspect` shows its content.")  # fmt: skip
def no_env_file(name: str, service: Mapping[str, Any]) -> Iterator[tuple[str, str]]:
    if "env_file" in service:
        yield f"reads {service['env_file']}", "put settings under environment, and secrets into files"


_NAMES = r"\w*PASS(WORD|WD|PHRASE)?|SECRET|TOKEN|CREDENTIALS?|(API|PRIVATE|ACCESS|SIGNING|ENCRYPTION)[_-]?KEY|KEY"
SECRET_NAME = re.compile(rf"(^|[_.-])({_NAMES})$", re.IGNORECASE)
SECRET_ARGUMENT = re.compile(rf"(^|[\s_.-])({_NAMES})[=\s]+(?P<value>[^\s\"']+)", re.IGNORECASE)
URL_WITH_PASSWORD = re.compile(r"[a-z][a-z0-9+]*://[^/\s:@]*:[^/\s@]+@", re.IGNORECASE)
PEM = re.compile(r"-----BEGIN [A-Z ]+-----")
RUN = re.compile(r"[A-Za-z0-9+_=]{20,}|[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}")
PLACEHOLDER = re.compile(r"\$\{[^}]*\}")


def _entropy(text: str) -> float:
    """Bits per character, by the frequency of each."""
    return -sum(count / len(text) * math.log2(count / len(text)) for count in Counter(text).values())


def _looks_random(text: str) -> bool:
    return any(
        re.search(r"\d", run) and re.search(r"[A-Za-z]", run) and _entropy(run) > 3.0
        for run in (match[0] for match in RUN.finditer(PLACEHOLDER.sub("", text)))
    )


def _secret_like(name: str, value: str) -> str | None:
    """Why a value looks like a secret; None where it does not."""
    if SECRET_NAME.search(name) and value and not value.startswith("/"):
        return f"{name} has a value"
    argument = SECRET_ARGUMENT.search(value)
    if argument and not argument["value"].startswith("/"):
        return f"{name} passes a {argument[2].lower()}"
    if URL_WITH_PASSWORD.search(value):
        return f"{name} contains a URL with a password"
    if PEM.search(value):
        return f"{name} contains a key or certificate"
    return f"{name} contains what looks like a random secret" if _looks_random(value) else None


def _pairs(value: Any) -> Iterator[tuple[str, str]]:
    """Environment or labels in either of compose's forms: a mapping, or a list of NAME=value."""
    if isinstance(value, Mapping):
        yield from ((str(name), "" if content is None else str(content)) for name, content in value.items())
    else:
        for line in value or ():
            name, _, content = str(line).partition("=")
            yield name, content


def _texts(key: str, value: Any) -> Iterator[tuple[str, str]]:
    """All text below a node that is not an environment, with its path."""
    if isinstance(value, Mapping):
        for inner, content in value.items():
            yield from _texts(f"{key}.{inner}", content)
    elif isinstance(value, list):
        yield key, " ".join(map(str, value))
    elif value is not None:
        yield key, str(value)


@service_policy(
    "1.15", "The file contains no secret",
    why="It is in the repository, and every account that can list processes sees environment and arguments.",
)  # fmt: skip
def no_literal_secret(name: str, service: Mapping[str, Any]) -> Iterator[tuple[str, str]]:
    values = [pair for key in ("environment", "labels", "annotations", "sysctls") for pair in _pairs(service.get(key))]
    for key in ("command", "entrypoint", "healthcheck"):
        values += _texts(key, service.get(key))
    for key in ("health", "reload", "check"):
        values += _texts(f"x-cc03.{key}", own(service).get(key))
    values += _texts("x-cc03.migration.command", (own(service).get("migration") or {}).get("command"))
    build = service.get("build")
    values += _pairs(build.get("args")) if isinstance(build, Mapping) else ()
    for key, value in values:
        if reason := _secret_like(key, value):
            yield reason, "declare it as a secret, and have the service read /run/secrets/<name>"


@service_policy("1.16", "Every service has a health check",
                why="Without one deploys, rollbacks and alerts cannot determine whether the service works.")  # fmt: skip
def healthcheck(name: str, service: Mapping[str, Any]) -> Iterator[tuple[str, str]]:
    check = service.get("healthcheck") or {}
    if not check.get("test") or check.get("disable") or check["test"] in (["NONE"], "NONE"):
        yield "has no health check", "add healthcheck.test: a command that does what clients need"
        return
    for key in ("interval", "timeout", "retries", "start_period"):
        if key not in check:
            yield f"healthcheck.{key} is missing", f"set {key}: the defaults of engines differ"


def limits(service: Mapping[str, Any]) -> Mapping[str, Any]:
    resources = (service.get("deploy") or {}).get("resources") or {}
    return resources.get("limits") or {}


def size(value: Any) -> int | None:
    """Bytes of `512m` or the like; None for what is no amount."""
    try:
        return memory_bytes(value)
    except ValueError:
        return None


@service_policy("1.17", "Memory and CPU are limited",
                why="A single service with a leak would use up what all others need.")  # fmt: skip
def resource_limits(name: str, service: Mapping[str, Any]) -> Iterator[tuple[str, str]]:
    if size(limits(service).get("memory", "")) is None:
        yield "has no memory limit", "add deploy.resources.limits.memory, for example 512m"
    cpus = str(limits(service).get("cpus", ""))
    if not re.fullmatch(r"\d+(\.\d+)?", cpus) or float(cpus) <= 0:
        yield "has no CPU limit", 'add deploy.resources.limits.cpus, for example "0.5"'


@service_policy("1.18", "Services restart unless stopped", why="A crash at night must not need an operator.")
def restart(name: str, service: Mapping[str, Any]) -> Iterator[tuple[str, str]]:
    if service.get("restart") != "unless-stopped":
        yield f"restart is {service.get('restart')!r}", "set restart: unless-stopped"


@service_policy(
    "1.19", "Services have a grace period for stopping",
    why="After the default of ten seconds the engine kills a database, or a service with requests in progress.",
)  # fmt: skip
def stop_grace(name: str, service: Mapping[str, Any]) -> Iterator[tuple[str, str]]:
    if not re.fullmatch(r"[1-9]\d*s", str(service.get("stop_grace_period"))):
        yield "has no stop_grace_period in seconds", "set stop_grace_period to what a clean stop takes, such as 30s"


@service_policy(
    "1.20", "Every tmpfs has a size",
    why="A tmpfs counts against the memory limit: without a size one temporary file can end the service.",
)  # fmt: skip
def sized_tmpfs(name: str, service: Mapping[str, Any]) -> Iterator[tuple[str, str]]:
    total = 0
    for mount, options in tmpfs(service):
        sizes = [size(option.removeprefix("size=")) for option in options if option.startswith("size=")]
        if not any(sizes):
            yield f"tmpfs {mount} has no size", "append size=16m, or what it needs"
        total += sum(one or 0 for one in sizes)
    ceiling = size(limits(service).get("memory", ""))
    if ceiling and total > ceiling // 2:
        what = f"may use {total >> 20} MB in tmpfs, more than half of its memory"
        yield what, "lower the sizes, or raise the limit"


@service_policy(
    "1.21", "Services do not use depends_on or links",
    why="At run time they become --requires, which blocks replacing a single service, or a wait without a deadline.",
)  # fmt: skip
def no_depends_on(name: str, service: Mapping[str, Any]) -> Iterator[tuple[str, str]]:
    for key in ("depends_on", "links"):
        if key in service:
            yield f"has {key}", "list the services that must be healthy before it in x-cc03.needs"


@policy("1.22", "Needed services exist, and can be reached",
        why="Otherwise a deploy starts a service that cannot work yet, and waits until the deadline.")  # fmt: skip
def needs(compose: Compose) -> Iterator[Violation]:
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
                yield name, f"needs {other} and shares no network with it", "put both on one network, or remove the need"
    try:
        TopologicalSorter(graph).prepare()
    except CycleError as problem:
        yield str(problem.args[1][0]), f"needs are circular: {' -> '.join(problem.args[1])}", "remove one of them"


@service_policy("1.23", "The keys of x-cc03 are valid",
                why="The deployer would ignore an unknown key: a mistyped setting would have no effect.")  # fmt: skip
def deployer_keys(name: str, service: Mapping[str, Any]) -> Iterator[tuple[str, str]]:
    try:
        ready = ServiceKeys.model_validate(own(service)).health.ready or ""
    except ValidationError as refused:
        yield from ((f"x-cc03.{key} {what}", advice) for key, what, advice in misfits(ServiceKeys, refused))
        return
    if ready.startswith("http:"):
        yield f"x-cc03.health.ready is {ready!r}", "use https: any container on the network could answer"


@policy("1.24", "A volume belongs to one service",
        why="A volume is the data of one service: another one that mounts it can read or alter them.")  # fmt: skip
def own_volumes(compose: Compose) -> Iterator[Violation]:
    mounted = (
        (source, name) for name, service in services(compose) for source, _, mode in mounts_of(service)
        if not source.startswith(PATHS) and not (name in VOLUME_READERS and mode == "ro")
    )  # fmt: skip
    for volume, names in shared(mounted):
        yield from ((name, f"mounts {volume}, the volume of {names[0]}", "give it a volume of its own") for name in names[1:])


@service_policy("1.25", "The number of processes is limited",
                why="A service without the limit can fill the host's process table.")  # fmt: skip
def processes(name: str, service: Mapping[str, Any]) -> Iterator[tuple[str, str]]:
    limit = service.get("pids_limit", limits(service).get("pids"))
    if limit is not None and (not str(limit).isdigit() or int(limit) == 0):
        yield f"may start any number of processes (pids: {limit})", "remove it: the engine's own limit is 2048"


@service_policy("1.26", "tmpfs is mounted nosuid, nodev and noexec",
                why="/tmp is the only place where an attacker can put programs and device files.")  # fmt: skip
def tmpfs_options(name: str, service: Mapping[str, Any]) -> Iterator[tuple[str, str]]:
    for mount, options in tmpfs(service):
        for option in sorted({"suid", "dev"} & options):
            yield f"tmpfs {mount} allows {option}", f"remove {option}"
        if "exec" in options and not exempt(service, "executable-tmpfs"):
            yield f"tmpfs {mount} allows exec", "remove exec, or state the reason in x-cc03.exempt.executable-tmpfs"


@policy("1.27", "Every service uses TLS",
        why="An attacker on its network could read what other services send to it, passwords and tokens included.")  # fmt: skip
def speaks_tls(compose: Compose) -> Iterator[Violation]:
    for name, service in services(compose):
        # The container that only holds another one's address has no listener.
        holds = any(other.get("network_mode") == f"service:{name}" for _, other in services(compose))
        if not holds and not (own(service).get("tls") or {}).get("ports"):
            yield name, "serves no certificate", 'declare its ports in x-cc03.tls.ports ("8000": tls)'
