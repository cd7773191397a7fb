"""Stack -> the flat compose file of one release, in which every container is spelled out. Pure.

Each slot becomes a service of its own with a fixed name, fixed addresses, and /etc/hosts entries for its neighbours, and
carries a hash of everything that went into it: a container whose hash is as wanted needs no change.
"""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import replace
from ipaddress import ip_network
from pathlib import Path
from typing import Any

from ops.stack.model import LABEL_HASH, LABEL_PROJECT, LABEL_SERVICE, LABEL_SLOT, LABEL_TLS, Allocation, Service, Stack

MIGRATE_SUFFIX = "-migrate"
CHECK_SUFFIX = "-migrate-check"
LISTEN = "CC03_LISTEN"
"""Variable with the address of a container on the network that its service binds."""
ONE_OFFS = {MIGRATE_SUFFIX: (), CHECK_SUFFIX: ("--check",), "-migrate-contracting": ("--allow-contracting",)}
"""Suffix of a one-off container -> what it adds to the service's migration command."""
_COPIED = (
    "user", "read_only", "cap_drop", "cap_add", "security_opt", "tmpfs", "environment", "restart", "stop_grace_period",
    "stop_signal", "ports", "devices", "privileged", "pid", "command", "entrypoint", "init", "shm_size",
    "group_add", "userns_mode", "oom_score_adj",
)  # fmt: skip
ENGINES_TMPFS = ("/tmp", "/run", "/var/tmp")
"""What Podman mounts over a read-only root (podman-run(1), --read-only-tmpfs)."""


NO_IPV6 = {"net.ipv6.conf.all.disable_ipv6": "1", "net.ipv6.conf.default.disable_ipv6": "1"}
"""Kernel settings of a container's network. A bridge has a link-local IPv6 address of the host, also on internal networks: a
container that speaks IPv6 reaches whatever listens on [::] of the host."""


def digest(value: Any) -> str:
    """Sixteen hexadecimal digits that change when any part of a JSON-like value does."""
    return hashlib.sha256(json.dumps(value, sort_keys=True, default=str).encode()).hexdigest()[:16]


def container_name(project: str, slot: str) -> str:
    return f"{project}-{slot}"


def network_name(project: str, network: str) -> str:
    return f"{project}-{network}"


def volume_name(project: str, volume: str) -> str:
    return f"{project}-{volume}"


def secret_name(project: str, secret: str, version: int) -> str:
    return f"{project}-{secret}-{version}"


def next_of(slot: str) -> str:
    """Name of a container that waits for the place of another one."""
    return f"{slot}-next"


def one_off(slot: str) -> bool:
    """Whether a container runs once and ends, instead of serving."""
    return slot.endswith(tuple(ONE_OFFS))


def address(allocation: Allocation, network: str, slot: str) -> str:
    return str(ip_network(allocation.subnets[network])[allocation.hosts[slot]])


def _attachment(where: str) -> dict[str, str]:
    """A fixed address, and a hardware address made from it: a container replaced at the same address would otherwise be
    unreachable for half a minute, until its neighbours forget the old hardware address (measured: 30 s against 1 s)."""
    return {"ipv4_address": where, "mac_address": ":".join(["02", "cc", *(f"{int(part):02x}" for part in where.split("."))])}


def hosts_of(stack: Stack, allocation: Allocation, service: Service) -> dict[str, str]:
    """Name -> address of every container that listens on a network of this service."""
    entries: dict[str, str] = {}
    # In the stack's order of networks, not the service's own: two neighbours then know each other by the same network, and
    # who is asked sees the address that it knows the asker by.
    for network in (name for name in stack.networks if name in service.networks):
        for other in stack.services.values():
            if network in other.listens_on:
                for slot in other.addresses():
                    entries.setdefault(slot, address(allocation, network, slot))
    return entries


def _volumes(service: Service, project: str, state: Path) -> list[str]:
    mounts = []
    for mount in (str(volume) for volume in service.definition.get("volumes", [])):
        source, _, rest = mount.partition(":")
        if source.startswith("../config/"):
            # The parent is mounted and `current` inside it is a link: new configuration is one rename, and a reload sees it.
            mounts.append(f"{state}/config/{service.name}:/etc/cc03:ro")
        elif source.startswith("/"):
            mounts.append(mount)
        else:
            mounts.append(f"{volume_name(project, source)}:{rest}")
    return mounts


def _secrets(service: Service, project: str, versions: Mapping[str, int]) -> list[dict[str, Any]]:
    owner = str(service.owner)
    return [
        {"source": secret_name(project, name, versions[name]), "target": name, "uid": owner, "gid": owner, "mode": "0400"}
        for name in service.secrets
    ]


def login_of(pair: str, version: int) -> str:
    """The role, of two that are one, that a version of their secret belongs to."""
    return pair if version % 2 else f"{pair}_2"


def environment(service: Service, versions: Mapping[str, int]) -> dict[str, str]:
    """Variables of a container, those among them that name the account of a version."""
    names = {
        variable: login_of(service.credentials[secret].name, versions[secret]) for secret, variable in service.logins.items()
    }
    return {**service.definition.get("environment", {}), **names}


def by_file(service: Mapping[str, Any], handed: Path) -> dict[str, Any]:
    """A container's mapping with its secrets mounted as files, where Podman must keep no copy of them.

    handed: folder of these files, each `UID/NAME` with the name that the secret would have in Podman.
    """
    mounts = [f"{handed}/{one['uid']}/{one['source']}:/run/secrets/{one['target']}:ro" for one in service.get("secrets", ())]
    return {**service, "volumes": [*service.get("volumes", ()), *mounts], "secrets": []}


def _healthcheck(definition: Mapping[str, Any]) -> dict[str, Any]:
    check = dict(definition["healthcheck"])
    # One health ticker on every host, with systemd or without; Podman's own timers would exist on some hosts only.
    check["interval"] = "disable"
    return check


def _tmpfs(service: Service) -> list[str]:
    """File systems in memory. None of them takes programs, unless compose.yaml says `exec`."""
    found = [str(mount) for mount in service.definition.get("tmpfs", ())]
    if service.definition.get("read_only"):
        # Podman would mount these by itself: unbounded, and with the right to execute.
        declared = {mount.partition(":")[0] for mount in found}
        found += [f"{path}:mode=1777,size=1m" for path in ENGINES_TMPFS if path not in declared]
        if service.secrets:
            # Podman 4.3 with runc cannot make the mount points of secrets on a read-only root.
            found.append("/run/secrets:mode=0755,size=64k")
    return [_without_programs(mount) for mount in found]


def _without_programs(mount: str) -> str:
    path, *options = re.split("[:,]", mount)
    options += [f"no{option}" for option in ("exec", "suid", "dev") if not {option, f"no{option}"} & set(options)]
    return f"{path}:{','.join(options)}"


def _place(stack: Stack, allocation: Allocation, service: Service, slot: str) -> dict[str, Any]:
    """Where a container stands: on networks of its own, or in the network of another one and with its /etc/hosts."""
    if service.shares:
        return {"network_mode": f"container:{container_name(stack.project, service.shares)}"}
    name = service.address_name(slot)
    attached = {network: _attachment(address(allocation, network, name)) for network in service.networks}
    return {
        "hostname": slot,
        "sysctls": {**service.definition.get("sysctls", {}), **NO_IPV6},
        "networks": {network_name(stack.project, network): one for network, one in attached.items()},
        "extra_hosts": [
            *(
                f"{other}:{where}"
                for other, where in sorted(hosts_of(stack, allocation, service).items())
                if other != name or service.listen_network
            ),
            *service.definition.get("extra_hosts", ()),
        ],
    }


def _confined(service: Service, seccomp: str) -> Service:
    """A service with a seccomp profile, where it declares none."""
    options = [str(option) for option in service.definition.get("security_opt", ())]
    if not seccomp or any(option.startswith("seccomp") for option in options):
        return service
    return replace(service, definition={**service.definition, "security_opt": [*options, f"seccomp={seccomp}"]})


def render_slot(
    stack: Stack, allocation: Allocation, service: Service, slot: str, *,
    image: str, versions: Mapping[str, int], config_hash: str, state: Path, log_megabytes: int,
) -> dict[str, Any]:  # fmt: skip
    """The compose mapping of one container.

    image: reference with the content hash as its tag. versions: secret name -> version.
    config_hash: hash of the mounted configuration; it counts where the service cannot reload.
    """
    project = stack.project
    rendered: dict[str, Any] = {key: service.definition[key] for key in _COPIED if key in service.definition}
    rendered |= {
        "image": image,
        "container_name": container_name(project, slot),
        **_place(stack, allocation, service, slot),
        "volumes": _volumes(service, project, state),
        "secrets": _secrets(service, project, versions),
        "healthcheck": _healthcheck(service.definition),
        "deploy": {"resources": {"limits": {
            "memory": str(service.limits.memory_bytes), "cpus": str(service.limits.cpus)
        }}},
        "logging": {"driver": "k8s-file", "options": {
            "path": f"{state}/logs/{slot}.log", "max-size": f"{log_megabytes}mb"
        }},
    }  # fmt: skip
    if service.logins or service.listen_network:
        rendered["environment"] = environment(service, versions)
    if service.listen_network:
        where = address(allocation, service.listen_network, service.address_name(slot))
        rendered["environment"] = {**rendered["environment"], LISTEN: where}
    if tmpfs := _tmpfs(service):
        rendered["tmpfs"] = tmpfs
    rendered["labels"] = {
        LABEL_PROJECT: project, LABEL_SERVICE: service.name, LABEL_SLOT: slot,
        LABEL_HASH: hash_of(service, project, rendered, config_hash),
        **({LABEL_TLS: "1"} if service.behind_tls else {}),
    }  # fmt: skip
    return rendered


def render_another(
    stack: Stack, allocation: Allocation, service: Service, first: Mapping[str, Any], slot: str, config_hash: str
) -> dict[str, Any]:  # fmt: skip
    """A further container of a service: as its first one was rendered, but for its name and its place."""
    place = _place(stack, allocation, service, slot)
    options = first["logging"]["options"]
    another = {
        **first, "container_name": container_name(stack.project, slot),
        **{key: place[key] for key in ("hostname", "networks", "extra_hosts")},
        "logging": {**first["logging"], "options": {**options, "path": str(Path(options["path"]).with_name(f"{slot}.log"))}},
    }  # fmt: skip
    if service.listen_network:
        another["environment"] = {**first["environment"], LISTEN: address(allocation, service.listen_network, slot)}
    label = hash_of(service, stack.project, another, config_hash)
    return {**another, "labels": {**first["labels"], LABEL_SLOT: slot, LABEL_HASH: label}}


def hash_of(service: Service, project: str, rendered: Mapping[str, Any], config_hash: str) -> str:
    """Hash of everything that a container is replaced for. `rendered`: its compose mapping; its labels do not count."""
    # What is kept takes another image when it is created anew for another reason.
    left_out = {"labels", "image"} if service.keep else {"labels"}
    decisive = {key: value for key, value in rendered.items() if key not in left_out}
    # As if these had never been rotated: the same hash whatever their version.
    late = {name: secret_name(project, name, 1) for name in service.late_secrets}
    decisive["secrets"] = [{**one, "source": late.get(one["target"], one["source"])} for one in rendered["secrets"]]
    return digest({"service": decisive, "config": None if service.reload else config_hash})


def migration_login(service: Service, slot: Mapping[str, Any], project: str, versions: Mapping[str, int]) -> dict[str, Any]:
    """Secrets and variables of a migration: those of the service, but for the accounts that `migrates_as` names.

    slot: a container of the service. versions: secret -> version.
    """

    def source(one: Mapping[str, Any]) -> str:
        other = service.migrates_as.get(one["target"], {}).get("secret")
        return secret_name(project, other, versions[other]) if other else str(one["source"])

    names = {service.logins[name]: one["account"] for name, one in service.migrates_as.items() if name in service.logins}
    found: dict[str, Any] = {"secrets": [{**one, "source": source(one)} for one in slot["secrets"]]}
    return found | ({"environment": {**slot["environment"], **names}} if "environment" in slot else {})


def render_migration(
    slot: Mapping[str, Any], service: Service, project: str, address_slot: str, suffix: str, versions: Mapping[str, int]
) -> dict[str, Any]:  # fmt: skip
    """A one-off container that prepares the database: as the service itself, another command, no restart, no health."""
    once = {key: value for key, value in slot.items() if key not in ("restart", "healthcheck", "ports")}
    name = service.name + suffix
    once |= migration_login(service, slot, project, versions)
    once |= {
        "container_name": container_name(project, name),
        "hostname": name,
        "command": [*(service.migrate or ()), *ONE_OFFS[suffix]],
        "networks": {network: {} for network in slot["networks"]},
        "labels": {**slot["labels"], LABEL_SLOT: name, LABEL_HASH: slot["labels"][LABEL_HASH]},
        "logging": {**slot["logging"], "options": {
            **slot["logging"]["options"], "path": slot["logging"]["options"]["path"].replace(address_slot, name)
        }},
    }  # fmt: skip
    return once


def render_release(
    stack: Stack, allocation: Allocation, *, images: Mapping[str, str], versions: Mapping[str, int],
    config_hashes: Mapping[str, str], state: Path, log_megabytes: int, without: frozenset[str] = frozenset(),
    seccomp: str = "",
) -> dict[str, Any]:  # fmt: skip
    """The whole flat file as a mapping.

    without: optional services whose image cannot be had. seccomp: path of the profile of all containers, which its content
    names; empty for Podman's own.
    """
    services: dict[str, Any] = {}
    for service in (_confined(service, seccomp) for service in stack.services.values() if service.name not in without):
        for slot in (*service.slots(), *((service.surge_slot,) if service.rolls else ())):
            services[slot] = render_slot(
                stack, allocation, service, slot, image=images[service.name], versions=versions,
                config_hash=config_hashes.get(service.name, ""), state=state, log_megabytes=log_megabytes,
            )  # fmt: skip
        if service.migrate:
            first = service.slots()[0]
            for suffix in ONE_OFFS:
                once = render_migration(services[first], service, stack.project, first, suffix, versions)
                services[service.name + suffix] = once
    external = {"external": True}
    used_secrets = sorted({entry["source"] for slot in services.values() for entry in slot["secrets"]})
    return {
        "name": stack.project,
        "services": services,
        "networks": {network_name(stack.project, name): dict(external) for name in stack.networks},
        "volumes": {volume_name(stack.project, name): dict(external) for name in stack.volumes},
        "secrets": {name: dict(external) for name in used_secrets},
    }


def excerpt(compose: Mapping[str, Any], slots: Iterable[str], staged: Iterable[str]) -> dict[str, Any]:
    """The part of a release's file that creating these containers needs.

    slots: containers under their own names. staged: containers that are made under the name of the next one.
    """
    services = {slot: compose["services"][slot] for slot in slots}
    for slot in staged:
        service = compose["services"][slot]
        # podman-compose knows a container by this key, whatever it is called later: it must not be that of the one in place.
        key = f"{next_of(slot)}-{service['labels'][LABEL_HASH]}"
        services[key] = {**service, "container_name": next_of(service["container_name"])}
    return {**compose, "services": services}


def by_oom_score(part: Mapping[str, Any]) -> Iterator[tuple[int | None, dict[str, Any]]]:
    """An excerpt in parts, each with the one oom_score_adj of its containers; first those that name none, such as `edge`, in
    whose network others are created."""
    services = part["services"]
    for score in sorted({one.get("oom_score_adj") for one in services.values()}, key=lambda score: (score is not None, score)):
        yield score, {**part, "services": {key: one for key, one in services.items() if one.get("oom_score_adj") == score}}


def without_ipv6_settings(service: Mapping[str, Any]) -> dict[str, Any]:
    """A container's mapping for a kernel without IPv6, which does not know these settings and refuses to start with them."""
    sysctls = {key: value for key, value in service.get("sysctls", {}).items() if key not in NO_IPV6}
    return {**service, "sysctls": sysctls} if "sysctls" in service else dict(service)


def excerpt_by_file(part: Mapping[str, Any], handed: Path) -> dict[str, Any]:
    """An excerpt in which no container asks Podman for a secret."""
    return {**part, "services": {key: by_file(one, handed) for key, one in part["services"].items()}, "secrets": {}}
