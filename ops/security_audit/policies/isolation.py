"""What a service may reach: the host, the kernel, the networks. Every exception stands in x-cc03.exempt with its reason."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from typing import Any

from ops.security_audit.policies.core import Compose, Finding, executable, exempt, own, policy, services

NETWORKS = {
    "web": {"edge"},
    "frontend": {"edge", "frontend"},
    "app": {"edge", "backend", "keycloak", "prometheus", "grafana"},
    "data": {"backend", "keycloak", "postgres", "redis", "backup", "prometheus", "grafana"},
    "monitoring": {"edge", "prometheus", "grafana", "alertmanager", "cadvisor", "logs"},
}
"""Who may stand on which network; all but `web` are internal."""

SHARED = {"nginx": "edge"}
"""Who stands in the network of whom, and so has the networks and the published ports of that one."""

PORTS = {
    "${CC03_HTTP_PORT:-80}:8080",
    "${CC03_HTTPS_PORT:-443}:8443",
    "127.0.0.1:${CC03_OPS_PORT:-9443}:9443",
}
"""All that the host publishes, by what holds nginx' address; the operator's pages on the host itself only."""

OWN_NAMESPACES = ("pid", "ipc", "userns_mode", "cgroup", "uts", "cgroup_parent")


@policy("the networks are the firewall: who can be reached by whom is decided here, and data must have no way out")
def networks(compose: Compose) -> Iterator[Finding]:
    declared = compose.get("networks") or {}
    for network in sorted(set(declared) ^ set(NETWORKS)):
        yield "networks", f"{network} is declared and not known, or known and not declared", f"declare {', '.join(NETWORKS)}"
    for network, spec in declared.items():
        if network != "web" and not (spec or {}).get("internal"):
            yield "networks", f"{network} is not internal", f"{network}: {{internal: true}}"
    for name, service in services(compose):
        if "network_mode" in service and service["network_mode"] == f"service:{SHARED.get(name)}":
            if service.get("networks") or service.get("ports"):
                yield name, f"shares the network of {SHARED[name]} and names its own", "leave networks and ports to that one"
        elif "network_mode" in service:
            yield name, f"network_mode is {service['network_mode']}", "name its networks instead"
        elif not service.get("networks"):
            yield name, "is on the engine's default network", "name its networks"
        for network in service.get("networks") or ():
            if network not in NETWORKS:
                yield name, f"is on {network}, which is not known", f"known are {', '.join(NETWORKS)}"
            elif name not in NETWORKS[network]:
                yield name, f"may not be on {network}", "take it off, or widen NETWORKS in policies/isolation.py"


@policy("what is published is attacked: nginx alone faces the world, and the operator's pages only the host itself")
def published_ports(compose: Compose) -> Iterator[Finding]:
    for name, service in services(compose):
        ports = service.get("ports") or ()
        if ports and name not in SHARED.values():
            yield name, f"publishes {', '.join(map(str, ports))}", "remove ports; let nginx proxy to it"
            continue
        for port in ports:
            if port not in PORTS:
                yield name, f"publishes {port}", f"declared are {', '.join(sorted(PORTS))}"


@policy("an intruder who cannot write cannot stay, and a file that only the container knows is lost with it")
def read_only_root(compose: Compose) -> Iterator[Finding]:
    for name, service in services(compose):
        if service.get("read_only") is not True and not exempt(service, "read-only"):
            yield name, "can write to its root", "set read_only: true; give it a tmpfs or a volume where it must write"


@policy("each capability is a part of root's power over the host")
def capabilities(compose: Compose) -> Iterator[Finding]:
    for name, service in services(compose):
        if service.get("cap_drop") != ["ALL"]:
            yield name, "keeps capabilities", "set cap_drop: [ALL]"
        reason = str((own(service).get("exempt") or {}).get("capabilities", ""))
        for capability in service.get("cap_add") or ():
            if not re.search(rf"\b{capability}\b", reason):
                yield (
                    name,
                    f"adds {capability} without a reason",
                    f"drop it, or say in x-cc03.exempt.capabilities what needs {capability}",
                )


@policy("without no-new-privileges one set-uid program makes its user root; without seccomp every system call is open")
def privilege_escalation(compose: Compose) -> Iterator[Finding]:
    for name, service in services(compose):
        options = [str(option).replace("=", ":") for option in service.get("security_opt") or ()]
        if not {"no-new-privileges:true", "no-new-privileges"} & set(options):
            yield name, "can gain privileges", 'set security_opt: ["no-new-privileges:true"]'
        for option in options:
            if not option.startswith("no-new-privileges") and not exempt(service, "security-options"):
                yield name, f"loosens {option}", "drop it, or say why in x-cc03.exempt.security-options"


@policy("root in the container is root on the host once it gets out; a shared uid reads the other's secrets and volumes")
def user(compose: Compose) -> Iterator[Finding]:
    taken: dict[str, str] = {}
    for name, service in services(compose):
        given = str(service.get("user", ""))
        uid = given.split(":", maxsplit=1)[0]
        if not re.fullmatch(r"\d+:\d+", given):
            yield name, f"user is {given!r}", 'set user: "uid:gid" in numbers, as the image creates it'
        elif int(uid) == 0:
            if not exempt(service, "root"):
                yield name, "runs as root", "give it a user of its own, or say why in x-cc03.exempt.root"
        elif uid in taken:
            yield name, f"has the uid of {taken[uid]}", "give each service a uid of its own"
        taken.setdefault(uid, name)


@policy("a privileged container, or one in the host's namespaces, is a process on the host by another name")
def host_namespaces(compose: Compose) -> Iterator[Finding]:
    for name, service in services(compose):
        if service.get("privileged") and not exempt(service, "privileged"):
            yield name, "is privileged", "name the capabilities it needs, or say why in x-cc03.exempt.privileged"
        for key in OWN_NAMESPACES:
            if key in service and not exempt(service, "host-namespaces"):
                yield name, f"{key} is {service[key]}", "drop it, or say why in x-cc03.exempt.host-namespaces"


def mounts_of(service: Mapping[str, Any]) -> Iterator[tuple[str, str, str]]:
    """(source, target, mode) of each mount and device. An anonymous volume has no target: the path in the container alone is
    given. A colon also stands in ${NAME:-default}."""
    devices = (device if ":" in str(device) else f"{device}:{device}" for device in service.get("devices") or ())
    for mount in [*(service.get("volumes") or ()), *devices]:
        if isinstance(mount, Mapping):
            mode = "ro" if mount.get("read_only") else ""
            yield str(mount.get("source", "")), str(mount.get("target", "")), mode
        else:
            source, target, mode = [*re.split(r":(?![^{]*\})", str(mount)), "", ""][:3]
            yield source, target, mode


def _of_host(source: str) -> bool:
    """Whether a mount is of the host itself: neither a volume, nor of the checkout, nor of the project's state folder."""
    return source.startswith(("/", "~", "${")) and not source.startswith("${CC03_STATE")


def _whole_host(source: str) -> bool:
    return source == "/" or source.endswith(".sock")


@policy("a path of the host is a way out of the container; the engine's socket is the whole host")
def host_paths(compose: Compose) -> Iterator[Finding]:
    for name, service in services(compose):
        for source, mode in ((source, mode) for source, target, mode in mounts_of(service) if target and _of_host(source)):
            subject = "whole-host" if _whole_host(source) else "host-mounts"
            if not exempt(service, subject):
                yield name, f"mounts {source} of the host", f"drop it, or say why in x-cc03.exempt.{subject}"
            elif mode != "ro" and not source.startswith("/dev/"):
                yield name, f"may write to {source} of the host", "append :ro"


def _used(service: Mapping[str, Any]) -> Iterator[str]:
    """The exemptions that a service needs."""
    if service.get("cap_add"):
        yield "capabilities"
    if any(not str(option).startswith("no-new-privileges") for option in service.get("security_opt") or ()):
        yield "security-options"
    if any(key in service for key in OWN_NAMESPACES):
        yield "host-namespaces"
    if service.get("privileged"):
        yield "privileged"
    if service.get("read_only") is not True:
        yield "read-only"
    if any(executable(mount) for mount in service.get("tmpfs") or ()):
        yield "executable-tmpfs"
    if re.match(r"0+(:|$)", str(service.get("user", ""))):
        yield "root"
    sources = [source for source, target, _ in mounts_of(service) if target and _of_host(source)]
    yield from ("whole-host" if _whole_host(source) else "host-mounts" for source in sources)


@policy("an exemption without a reason cannot be judged, and one that is no longer used opens a door unseen")
def exemptions(compose: Compose) -> Iterator[Finding]:
    for name, service in services(compose):
        given = own(service).get("exempt") or {}
        for subject, reason in given.items() if isinstance(given, Mapping) else ():
            if len(str(reason or "").split()) < 4:
                yield name, f"the exemption of {subject} has no reason", "say in a sentence what needs it"
            if subject not in set(_used(service)):
                yield name, f"the exemption of {subject} is not used", "remove it"
