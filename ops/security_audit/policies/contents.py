"""What a service is made of and what it is given: image, mounts, volumes, secrets."""

from __future__ import annotations

import math
import re
from collections import Counter
from collections.abc import Iterator, Mapping
from typing import Any

from ops.security_audit.policies.core import Compose, Finding, own, pairs, policy, services
from ops.security_audit.policies.isolation import mounts_of
from ops.stack.model import EDGE

SECRETS: dict[str, set[str]] = {
    "postgres-superuser": {"postgres"}, "postgres-app": {"postgres", "backend"},
    "postgres-migration": {"postgres"}, "postgres-keycloak": {"postgres", "keycloak"},
    "postgres-grafana": {"postgres", "grafana"}, "postgres-exporter": {"postgres", "prometheus"},
    "postgres-backup": {"postgres", "backup"}, "postgres-receiver": {"postgres", "backup"},
    "redis-app": {"redis", "backend"}, "redis-exporter": {"redis", "prometheus"}, "redis-backup": {"redis", "backup"},
    "keycloak-admin": {"keycloak"}, "keycloak-ops": {"keycloak"}, "backup-cipher": {"backup"}, "backup-signing": {"backup"},
    "keycloak-grafana": {"grafana"}, "grafana-admin": {"grafana"},
    "keycloak-backend": set(), "keycloak-keeper": set(), "keycloak-probe": set(), "keycloak-probe-user": set(),
    "operator-password": set(),
}  # fmt: skip
"""Secret -> services whose containers may mount it: who checks it, and who shows it. None for what only the realm needs."""
VOLUME_READERS = {"backup"}
"""Services that may mount the volumes of others, read-only."""
SHARED = ("logs", "metrics", "backup")
"""Folders of the state that any service may mount; nginx has that of answers to challenges besides."""
PATHS = (".", "/", "~", "${")
"""How the source of a mount begins that is no volume."""


@policy("a tag may name other content tomorrow: what was tested would not be what runs")
def pinned_images(compose: Compose) -> Iterator[Finding]:
    for name, service in services(compose):
        image = str(service.get("image", ""))
        if "build" in service:
            if image != f"cc03/{name}" or service["build"] != f"./{name}":
                yield name, f"is built from {service['build']} as {image!r}", f"set image: cc03/{name} and build: ./{name}"
        elif not re.search(r"@sha256:[0-9a-f]{64}$", image):
            yield name, f"image {image!r} is not pinned", "append its digest: name:tag@sha256:…"


@policy("a deploy swaps the whole folder and a reload reads it: what is mounted otherwise is not swapped, or can be altered")
def configuration_mounts(compose: Compose) -> Iterator[Finding]:
    for name, service in services(compose):
        if any(not isinstance(mount, str) for mount in service.get("volumes") or ()):
            yield name, "has a mount in the long form", "write source:target:ro, the form that the deployer reads"
            continue
        for source, target, mode in mounts_of(service):
            if source.startswith(".") and (source, target) != (f"../config/{name}", "/etc/cc03/current"):
                yield name, f"mounts {source} at {target}", f"only ../config/{name}:/etc/cc03/current:ro is for it"
            if source.startswith((".", "${CC03_STATE")) and mode != "ro":
                yield name, f"may write to {source}", "append :ro"
            shared = ("challenges", *SHARED) if name == EDGE else SHARED
            allowed = "|".join((f"certs/{name}", *shared))
            if source.startswith("${CC03_STATE") and not re.fullmatch(rf"\$\{{CC03_STATE:-\./state\}}/({allowed})", source):
                yield name, f"mounts {source}", f"of the state folder only {allowed.replace('|', ', ')} are for it"


@policy("a volume that is not declared is anonymous: its data are lost with the container and in no backup")
def declared_volumes(compose: Compose) -> Iterator[Finding]:
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
        yield "volumes", f"{volume} is used by nobody", "remove it"


@policy("a volume is one service's data: who else mounts it reads or alters what is not its own")
def own_volumes(compose: Compose) -> Iterator[Finding]:
    owners: dict[str, str] = {}
    for name, service in services(compose):
        for source, _, mode in mounts_of(service):
            if source.startswith(PATHS) or (name in VOLUME_READERS and mode == "ro"):
                continue
            if (owner := owners.setdefault(source, name)) != name:
                yield name, f"mounts {source}, the volume of {owner}", "give it a volume of its own"


@policy("secrets are generated, rotated and mounted as files under these names; any other way shows in `podman inspect`")
def declared_secrets(compose: Compose) -> Iterator[Finding]:
    declared = compose.get("secrets") or {}
    for secret, spec in declared.items():
        if secret not in SECRETS:
            yield "secrets", f"{secret} is not on the list", "add it to SECRETS in ops/security_audit/policies/contents.py"
        if not isinstance(spec, Mapping) or not (spec.get("external") is True or "file" in spec):
            yield "secrets", f"{secret} is neither external nor a file", f"{secret}: {{external: true}}"
    for name, service in services(compose):
        for secret in service.get("secrets") or ():
            if not isinstance(secret, str):
                yield name, f"secret {secret} is in the long form", "write its name alone; owner and mode are set for it"
            elif secret not in declared:
                yield name, f"secret {secret} is not declared", f"add {secret} to secrets"
            elif secret in SECRETS and name not in SECRETS[secret]:
                yield name, f"may not have the secret {secret}", "take it off, or add it to SECRETS in that file on purpose"
        for secret in own(service).get("api_secrets") or ():
            if secret not in declared:
                yield name, f"x-cc03.api_secrets names {secret}, which is not declared", f"add {secret} to secrets"
            elif secret in (service.get("secrets") or ()):
                yield name, f"mounts {secret} and is given it through its API", "drop one of the two"


@policy("the engine does not see that the file's contents have changed, and everything in it shows in `podman inspect`")
def no_env_file(compose: Compose) -> Iterator[Finding]:
    for name, service in services(compose):
        if "env_file" in service:
            yield name, f"reads {service['env_file']}", "write what is no secret under environment, secrets as files"


_NAMES = r"\w*PASS(WORD|WD|PHRASE)?|SECRET|TOKEN|CREDENTIALS?|(API|PRIVATE|ACCESS|SIGNING|ENCRYPTION)[_-]?KEY|KEY"
SECRET_NAME = re.compile(rf"(^|[_.-])({_NAMES})$", re.IGNORECASE)
SECRET_ARGUMENT = re.compile(rf"(^|[\s_.-])({_NAMES})[=\s]+(?P<value>[^\s\"']+)", re.IGNORECASE)
URL_WITH_PASSWORD = re.compile(r"[a-z][a-z0-9+]*://[^/\s:@]*:[^/\s@]+@", re.IGNORECASE)
PEM = re.compile(r"-----BEGIN [A-Z ]+-----")
RUN = re.compile(r"[A-Za-z0-9+_=]{20,}|[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}")
PLACEHOLDER = re.compile(r"\$\{[^}]*\}")


def _entropy(text: str) -> float:
    """Bits a character, by how often each occurs."""
    return -sum(count / len(text) * math.log2(count / len(text)) for count in Counter(text).values())


def _looks_random(text: str) -> bool:
    return any(
        re.search(r"\d", run) and re.search(r"[A-Za-z]", run) and _entropy(run) > 3.0
        for run in (match[0] for match in RUN.finditer(PLACEHOLDER.sub("", text)))
    )


def _is_path(value: str) -> bool:
    return value.startswith("/")


def _judge(name: str, value: str) -> str | None:
    """Why a value looks like a secret; None where it does not."""
    if SECRET_NAME.search(name) and value and not _is_path(value):
        return f"{name} has a value"
    argument = SECRET_ARGUMENT.search(value)
    if argument and not _is_path(argument["value"]):
        return f"{name} passes a {argument[2].lower()}"
    if URL_WITH_PASSWORD.search(value):
        return f"{name} holds a URL with a password"
    if PEM.search(value):
        return f"{name} holds a key or certificate"
    return f"{name} holds what looks like a random secret" if _looks_random(value) else None


def _texts(key: str, value: Any) -> Iterator[tuple[str, str]]:
    """Every text below a node that is no environment, with the place where it stands."""
    if isinstance(value, Mapping):
        for inner, content in value.items():
            yield from _texts(f"{key}.{inner}", content)
    elif isinstance(value, list):
        yield key, " ".join(map(str, value))
    elif value is not None:
        yield key, str(value)


@policy("the file is in the repository, and environment and arguments are seen by everybody who can list processes")
def no_literal_secret(compose: Compose) -> Iterator[Finding]:
    for name, service in services(compose):
        values = [pair for key in ("environment", "labels", "annotations", "sysctls") for pair in pairs(service.get(key))]
        for key in ("command", "entrypoint", "healthcheck"):
            values += _texts(key, service.get(key))
        for key in ("health", "reload", "check"):
            values += _texts(f"x-cc03.{key}", own(service).get(key))
        values += _texts("x-cc03.migration.command", (own(service).get("migration") or {}).get("command"))
        build = service.get("build")
        values += pairs(build.get("args")) if isinstance(build, Mapping) else ()
        for key, value in values:
            if reason := _judge(key, value):
                yield name, reason, "keep it as a secret, and have the service read /run/secrets/<name>"
