"""Policies for a service's access to the host, the kernel and the networks. x-cc03.exempt declares exceptions with reasons."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from typing import Any

from ops.policies.policy import Compose, Violation, exempt, own, policy, service_policy, services, shared, tmpfs

NETWORKS = {
    "web": {"edge"},
    "frontend": {"edge", "frontend"},
    "app": {"edge", "backend", "keycloak", "prometheus", "grafana"},
    "data": {"backend", "keycloak", "postgres", "redis", "backup", "prometheus", "grafana"},
    "monitoring": {"edge", "prometheus", "grafana", "alertmanager", "cadvisor", "logs"},
}
"""Network -> services that may join it. All but `web` are internal."""
SHARED = {"nginx": "edge"}
"""Service -> the one whose network namespace it shares, and so its networks and published ports."""
EVERYWHERE = "0.0.0.0"  # noqa: S104  (compared with, never listened on)
PUBLISHED = {
    "8080/tcp": ("http", EVERYWHERE, "${CC03_HTTP_PORT:-80}:8080"),
    "8443/tcp": ("https", EVERYWHERE, "${CC03_HTTPS_PORT:-443}:8443"),
    "8444/tcp": ("proxy_protocol", EVERYWHERE, ""),
    "9443/tcp": ("ops", "127.0.0.1", "127.0.0.1:${CC03_OPS_PORT:-9443}:9443"),
}
"""Port of nginx -> (key below `ports` in stack.yaml, address of the host, entry in compose.yaml; none: a setting adds it)."""
PORTS = {declared for _, _, declared in PUBLISHED.values() if declared}
OWN_NAMESPACES = ("pid", "ipc", "userns_mode", "cgroup", "uts", "cgroup_parent")


@policy("1.1", "Services are on their networks only, and all networks but the public one are internal",
        why="The networks are the firewall between the tiers, and databases must have no route out.")  # fmt: skip
def networks(compose: Compose) -> Iterator[Violation]:
    declared = compose.get("networks") or {}
    for network in sorted(set(declared) ^ set(NETWORKS)):
        yield "networks", f"{network} is declared and not known, or known and not declared", f"declare {', '.join(NETWORKS)}"
    for network, spec in declared.items():
        if network != "web" and not (spec or {}).get("internal"):
            yield "networks", f"{network} is not internal", f"{network}: {{internal: true}}"
    for name, service in services(compose):
        if "network_mode" in service and service["network_mode"] == f"service:{SHARED.get(name)}":
            if service.get("networks") or service.get("ports"):
                what = f"shares the network of {SHARED[name]} and declares its own"
                yield name, what, f"declare networks and ports at {SHARED[name]} only"
        elif "network_mode" in service:
            yield name, f"network_mode is {service['network_mode']}", "declare its networks instead"
        elif not service.get("networks"):
            yield name, "is on the engine's default network", "declare its networks"
        for network in service.get("networks") or ():
            if network not in NETWORKS:
                yield name, f"is on {network}, which is not known", f"known are {', '.join(NETWORKS)}"
            elif name not in NETWORKS[network]:
                yield name, f"may not be on {network}", "remove it, or extend NETWORKS in policies/isolation.py"


@service_policy("1.2", "Only the ports of nginx are published, the operator's on loopback",
                why="Every published port is exposed to attacks.")  # fmt: skip
def published_ports(name: str, service: Mapping[str, Any]) -> Iterator[tuple[str, str]]:
    ports = service.get("ports") or ()
    if ports and name not in SHARED.values():
        yield f"publishes {', '.join(map(str, ports))}", "remove ports; let nginx proxy to it"
        return
    for port in ports:
        if port not in PORTS:
            yield f"publishes {port}", f"declared are {', '.join(sorted(PORTS))}"


@service_policy("1.3", "Root file systems are read-only",
                why="An attacker who can write there can persist, and data there are lost with the container.")  # fmt: skip
def read_only_root(name: str, service: Mapping[str, Any]) -> Iterator[tuple[str, str]]:
    if service.get("read_only") is not True and not exempt(service, "read-only"):
        yield "can write to its root", "set read_only: true; add a tmpfs or a volume where it must write"


@service_policy("1.4", "Containers have no capabilities", why="Each capability is a part of root's privileges on the host.")
def capabilities(name: str, service: Mapping[str, Any]) -> Iterator[tuple[str, str]]:
    if service.get("cap_drop") != ["ALL"]:
        yield "keeps capabilities", "set cap_drop: [ALL]"
    reason = str((own(service).get("exempt") or {}).get("capabilities", ""))
    for capability in service.get("cap_add") or ():
        if not re.search(rf"\b{capability}\b", reason):
            advice = f"remove it, or state in x-cc03.exempt.capabilities what needs {capability}"
            yield f"adds {capability} without a reason", advice


def _security_options(service: Mapping[str, Any]) -> list[str]:
    return [str(option).replace("=", ":") for option in service.get("security_opt") or ()]


def _loosening(service: Mapping[str, Any]) -> list[str]:
    return [option for option in _security_options(service) if not option.startswith("no-new-privileges")]


@service_policy(
    "1.5", "Processes cannot gain privileges, and keep the seccomp filter",
    why="Otherwise a single set-uid program would make its user root, and every system call would be allowed.",
)  # fmt: skip
def privilege_escalation(name: str, service: Mapping[str, Any]) -> Iterator[tuple[str, str]]:
    if not {"no-new-privileges:true", "no-new-privileges"} & set(_security_options(service)):
        yield "can gain privileges", 'set security_opt: ["no-new-privileges:true"]'
    for option in _loosening(service) if not exempt(service, "security-options") else ():
        yield f"sets {option}", "remove it, or state the reason in x-cc03.exempt.security-options"


@policy(
    "1.6", "Every service has a user of its own, other than root",
    why="Root in a container is root on the host if it escapes; a shared uid can read the other's secrets and volumes.",
)  # fmt: skip
def user(compose: Compose) -> Iterator[Violation]:
    uids: list[tuple[int, str]] = []
    for name, service in services(compose):
        declared = re.fullmatch(r"(\d+):\d+", str(service.get("user", "")))
        if not declared:
            yield name, f"user is {service.get('user', '')!r}", 'set user: "uid:gid" in numbers, as the image creates it'
        elif int(declared[1]):
            uids.append((int(declared[1]), name))
        elif not exempt(service, "root"):
            yield name, "runs as root", "give it a user of its own, or state the reason in x-cc03.exempt.root"
    for _, names in shared(uids):
        yield from ((name, f"has the uid of {names[0]}", "give each service a uid of its own") for name in names[1:])


@service_policy("1.7", "Containers are not privileged, and have namespaces of their own",
                why="A privileged container, or one in the host's namespaces, is not isolated from the host.")  # fmt: skip
def host_namespaces(name: str, service: Mapping[str, Any]) -> Iterator[tuple[str, str]]:
    if service.get("privileged") and not exempt(service, "privileged"):
        yield "is privileged", "add the capabilities that it needs, or state the reason in x-cc03.exempt.privileged"
    for key in OWN_NAMESPACES:
        if key in service and not exempt(service, "host-namespaces"):
            yield f"{key} is {service[key]}", "remove it, or state the reason in x-cc03.exempt.host-namespaces"


def mounts_of(service: Mapping[str, Any]) -> Iterator[tuple[str, str, str]]:
    """(source, target, mode) of each mount and device. An anonymous volume has no target: its path is the source."""
    devices = (device if ":" in str(device) else f"{device}:{device}" for device in service.get("devices") or ())
    for mount in [*(service.get("volumes") or ()), *devices]:
        if isinstance(mount, Mapping):
            yield str(mount.get("source", "")), str(mount.get("target", "")), "ro" if mount.get("read_only") else ""
        else:
            # ${NAME:-default} contains a colon too.
            source, target, mode = [*re.split(r":(?![^{]*\})", str(mount)), "", ""][:3]
            yield source, target, mode


def _host_mounts(service: Mapping[str, Any]) -> Iterator[tuple[str, str, str]]:
    """(source, mode, subject of the exemption) of mounts that are no volume, and not of the checkout or the state folder."""
    for source, target, mode in mounts_of(service):
        if target and source.startswith(("/", "~", "${")) and not source.startswith("${CC03_STATE"):
            yield source, mode, "whole-host" if source == "/" or source.endswith(".sock") else "host-mounts"


@service_policy(
    "1.8", "No path of the host is mounted",
    why="A mounted path of the host is a way out of the container; the engine's socket gives full access to the host.",
)  # fmt: skip
def host_paths(name: str, service: Mapping[str, Any]) -> Iterator[tuple[str, str]]:
    for source, mode, subject in _host_mounts(service):
        if not exempt(service, subject):
            yield f"mounts {source} of the host", f"remove it, or state the reason in x-cc03.exempt.{subject}"
        elif mode != "ro" and not source.startswith("/dev/"):
            yield f"may write to {source} of the host", "append :ro"


def _needed(service: Mapping[str, Any]) -> set[str]:
    """The exemptions that a service needs."""
    needed = {
        "capabilities": service.get("cap_add"),
        "security-options": _loosening(service),
        "host-namespaces": any(key in service for key in OWN_NAMESPACES),
        "privileged": service.get("privileged"),
        "read-only": service.get("read_only") is not True,
        "executable-tmpfs": any("exec" in options for _, options in tmpfs(service)),
        "root": re.match(r"0+(:|$)", str(service.get("user", ""))),
    }
    return {subject for subject, needs in needed.items() if needs} | {subject for _, _, subject in _host_mounts(service)}


@service_policy(
    "1.9", "Exemptions have a reason, and are needed",
    why="An exemption without a reason cannot be reviewed, and an unused one permits a later change unnoticed.",
)  # fmt: skip
def exemptions(name: str, service: Mapping[str, Any]) -> Iterator[tuple[str, str]]:
    declared = own(service).get("exempt") or {}
    for subject, reason in declared.items() if isinstance(declared, Mapping) else ():
        if len(str(reason or "").split()) < 4:
            yield f"the exemption of {subject} has no reason", "state in a sentence what needs it"
        if subject not in _needed(service):
            yield f"the exemption of {subject} is not used", "remove it"
